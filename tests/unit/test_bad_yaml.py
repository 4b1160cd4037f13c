"""Wrong spaces: each is told with line, key, value, rule and way out, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import BadInput
from study.spec import load_space

HEAD = "recipe: energy\n"
LR = "search: {lr: {loguniform: [1.0e-4, 1.0e-2]}}\n"
FULL = HEAD + LR  # three lines of a good space; what follows begins on line 3
ABSOLUTE = "select: {floor: {id_accuracy: {at_least: 0.5}}}\n"
CIFAR = "recipe: cifar10\nsearch: {lr: {uniform: [0.01, 0.1]}}\n"

# (name, text, line, key, part of the value's repr or None, part of the rule, part of the way out)
Case = tuple[str, str, int | None, str, str | None, str, str]

FORM: list[Case] = [
    ("empty", "", None, "", None, "empty", "recipe"),
    ("only comments", "# nothing\n", None, "", None, "empty", "recipe"),
    ("list at top", "- a\n- b\n", None, "", None, "a list at the top", "recipe"),
    ("scalar at top", "42\n", None, "", None, "a number at the top", "recipe"),
    ("tab", HEAD + "train:\n\tlr: 0.1\n", 3, "", None, "not valid YAML", "spaces"),
    ("unclosed", HEAD + "search: {lr: [1\n", 3, "", None, "not valid YAML", "brackets"),
    ("colon", HEAD + "a: b: c\n", 2, "", None, "not valid YAML", "Quote"),
    ("undefined alias", HEAD + "train: *x\n", 2, "", None, "undefined alias", "Check"),
    ("two documents", FULL + "---\nrecipe: energy\n", 3, "", None, "one file", "---"),
    ("python tag", FULL + "data: !!python/object/apply:os.system [ls]\n", 3, "data", "os.system",
     "tags", "Take"),
    ("own tag", FULL + "data: !x {id: demo}\n", 3, "data", "!x", "tags", "Take"),
    ("binary", FULL + "model: {init: !!binary aGk=}\n", 3, "model.init", "binary", "tags", "Take"),
    ("equal keys", FULL + "train:\n  epochs: 3\n  epochs: 4\n", 5, "train.epochs", "4",
     "line 4 already", "Keep one"),
    ("equal sections", FULL + "tune: {seed: 1}\ntune: {seed: 2}\n", 4, "tune", None,
     "line 3 already", "Keep one"),
    ("equal search", HEAD + "search:\n  lr: {uniform: [1, 2]}\n  lr: {uniform: [1, 3]}\n", 4,
     "search.lr", None, "line 3", "Keep"),
    ("1e-4", FULL + "train:\n  weight_decay: 1e-4\n", 4, "train.weight_decay", "1e-4",
     "reads this number as text", "Write 0.0001"),
    ("1.0e5", FULL + "train: {weight_decay: 1.0e5}\n", 3, "train.weight_decay", "1.0e5", "as text",
     "Write 100000.0"),
    ("1e-4 in range", HEAD + "search: {lr: {loguniform: [1e-6, 1.0]}}\n", 2,
     "search.lr.loguniform[0]", "1e-6", "as text", "Write 1.0e-06"),
    ("nan", FULL + "train: {weight_decay: .nan}\n", 3, "train.weight_decay", ".nan", "finite",
     "finite"),
    ("bare nan", FULL + "train: {weight_decay: nan}\n", 3, "train.weight_decay", "nan", "finite",
     "finite"),
    ("inf", FULL + "train: {weight_decay: -.inf}\n", 3, "train.weight_decay", "inf", "finite",
     "finite"),
    ("overflow", FULL + "train: {weight_decay: 1.0e+999}\n", 3, "train.weight_decay", "999",
     "finite", "finite"),
    ("octal", FULL + "tune: {seed: 010}\n", 3, "tune.seed", "010", "plain decimal", "octal"),
    ("base 60", FULL + "tune: {time_budget_s: 1:30}\n", 3, "tune.time_budget_s", "1:30",
     "plain decimal", "base 60"),
    ("off", FULL + "train: {augment: off}\n", 3, "train.augment", "off", "true or false", "quote"),
    ("date", FULL + "data: {id: 2020-01-01}\n", 3, "data.id", "2020", "date", "Quote"),
    ("number key", FULL + "train: {1: 2}\n", 3, "train", "1", "keys are text", "Rename"),
    ("null key", FULL + "~: 2\n", 3, "", "~", "keys are text", "Rename"),
    ("control character", FULL + 'data: {id: "a\\0b"}\n', 3, "data.id", "a", "printable", "Take"),
    ("bad escape", FULL + 'data: {id: "\\UFFFFFFFF"}\n', None, "", None, "no character", "Write"),
    ("raw control character", FULL + "data: {id: \x01}\n", 3, "", None, "not allowed", "Take"),
    ("merge of a word", FULL + "train: {<<: word}\n", 3, "train", "word", "mappings only",
     "alias"),
    ("alias into itself", HEAD + "train: &a {x: *a}\n", None, "", None, "at most", "Aliases"),
    ("deep", "a: " + "[" * 300 + "]" * 300, None, "", None, "deep", "file"),
]

SECTIONS: list[Case] = [
    ("no recipe", LR, None, "recipe", None, "names its recipe", "recipe: energy"),
    ("unknown recipe", "recipe: enrgy\n" + LR, 1, "recipe", "enrgy", "no recipe", "'energy'"),
    ("recipe a list", "recipe: [energy]\n" + LR, 1, "recipe", "energy", "no recipe", "energy"),
    ("unknown section", FULL + "traim: {}\n", 3, "traim", "{}", "no such section", "'train'"),
    ("key at top", FULL + "num_trials: 3\n", 3, "num_trials", "3", "no such section", "`tune`"),
    ("ablate", FULL + "ablate: {}\n", 3, "ablate", "{}", "no such section", "Known"),
    ("section a word", FULL + "train: fast\n", 3, "train", "fast", "mapping", "indented"),
    ("section null", FULL + "tune:\n", 3, "tune", "None", "mapping", "take the section out"),
    ("unknown key", FULL + "train: {epoch: 3}\n", 3, "train.epoch", "3", "no such key",
     "'epochs'"),
    ("key elsewhere", FULL + "train: {num_trials: 3}\n", 3, "train.num_trials", "3", "no such key",
     "belongs in `tune`"),
    ("margin in cifar10", CIFAR + "train: {m_in: -23}\n" + ABSOLUTE, 3, "train.m_in", "-23",
     "no such key", "recipe energy"),
    ("confirm", FULL + "select: {confirm: {top: 3}}\n", 3, "select.confirm", "top", "no such key",
     "Known"),
    ("word for number", FULL + "train: {epochs: many}\n", 3, "train.epochs", "many",
     "whole number", "without quotes"),
    ("quoted number", FULL + "train: {epochs: '3'}\n", 3, "train.epochs", "'3'", "whole number",
     "without quotes"),
    ("float for int", FULL + "train: {epochs: 3.5}\n", 3, "train.epochs", "3.5", "whole number",
     "10"),
    ("bool for number", FULL + "train: {epochs: true}\n", 3, "train.epochs", "True",
     "whole number", "10"),
    ("number for bool", FULL + "train: {nesterov: 1}\n", 3, "train.nesterov", "1", "true or false",
     "True"),
    ("null for number", FULL + "train: {epochs: null}\n", 3, "train.epochs", "None",
     "whole number", "10"),
    ("zero epochs", FULL + "train: {epochs: 0}\n", 3, "train.epochs", "0", "at least 1", "Raise"),
    ("negative seed", FULL + "tune: {seed: -1}\n", 3, "tune.seed", "-1", "at least 0", "Raise"),
    ("negative base seed", FULL + "base: {seed: -1}\n", 3, "base.seed", "-1", "at least 0",
     "Raise"),
    ("momentum 1", FULL + "train: {momentum: 1}\n", 3, "train.momentum", "1", "below 1", "Lower"),
    ("batch of 1", FULL + "train: {batch_size: 1}\n", 3, "train.batch_size", "1", "at least 2",
     "Raise"),
    ("unknown schedule", FULL + "train: {schedule: cosin}\n", 3, "train.schedule", "cosin",
     "must be one of", "'cosine'"),
    ("searcher", FULL + "tune: {searcher: gp}\n", 3, "tune.searcher", "gp", "tpe, random, grid",
     "Known"),
    ("no trials", FULL + "tune: {num_trials: 0}\n", 3, "tune.num_trials", "0", "at least 1",
     "Raise"),
    ("gpus a word", FULL + "tune: {gpus_per_trial: many}\n", 3, "tune.gpus_per_trial", "many",
     "`auto`", "0.25"),
    ("gpus 1.5", FULL + "tune: {gpus_per_trial: 1.5}\n", 3, "tune.gpus_per_trial", "1.5", "share",
     "0.5"),
    ("reduction 1", FULL + "tune: {reduction_factor: 1}\n", 3, "tune.reduction_factor", "1",
     "at least 2", "Raise"),
    ("backbone", FULL + "model: {backbone: resnet200}\n", 3, "model.backbone", "resnet200",
     "no backbone", "'resnet20'"),
    ("init", FULL + "model: {init: cifar}\n", 3, "model.init", "cifar", "no such file",
     "'cifar10'"),
    ("metric", FULL + "select: {metric: val/fpr}\n", 3, "select.metric", "val/fpr", "no metric",
     "'val/fpr95'"),
    ("floor a number", FULL + "select: {floor: 0.9}\n", 3, "select.floor", "0.9", "id_accuracy",
     "below_base"),
    ("floor percent", FULL + "select: {floor: {id_accuracy: {at_least: 90}}}\n", 3, "select.floor",
     "90", "fractions", "Not percent"),
    ("floor unknown", FULL + "select: {floor: {id_accuracy: {above: 1}}}\n", 3, "select.floor",
     "above", "below the base or absolute", "Write"),
    ("val_fraction", FULL + "data: {val_fraction: 1}\n", 3, "data.val_fraction", "1", "below 1",
     "Lower"),
    ("ID set", FULL + "data: {id: cifar11}\n", 3, "data.id", "cifar11", "no ID set", "'cifar10'"),
    ("OOD set", FULL + "data: {ood_val: [svhm]}\n", 3, "data.ood_val[0]", "svhm", "no set",
     "'svhn'"),
    ("sets a word", FULL + "data: {ood_val: svhn}\n", 3, "data.ood_val", "svhn", "a list",
     "[svhn]"),
    ("sets empty", FULL + "data: {ood_val: []}\n", 3, "data.ood_val", "[]", "at least one",
     "auto"),
    ("sets of numbers", FULL + "data: {ood_val: [1]}\n", 3, "data.ood_val", "1", "text", "Quote"),
    ("image size", FULL + "data: {image_size: 4}\n", 3, "data.image_size", "4", "at least 8",
     "Raise"),
]

SEARCH: list[Case] = [
    ("no search", HEAD, None, "search", "None", "at least one parameter", "lr"),
    ("empty search", HEAD + "search: {}\n", 2, "search", "{}", "at least one", "lr"),
    ("search a list", HEAD + "search: [lr]\n", 2, "search", "lr", "at least one", "lr"),
    ("unknown parameter", HEAD + "search: {lrr: {uniform: [0, 1]}}\n", 2, "search.lrr", "uniform",
     "no such parameter", "'lr'"),
    ("train prefix", HEAD + "search: {train.lr: {uniform: [1, 2]}}\n", 2, "search.train.lr", None,
     "bare", "Write lr"),
    ("bare dropout", HEAD + "search: {dropout: {uniform: [0, 0.5]}}\n", 2, "search.dropout", None,
     "dotted", "model.dropout"),
    ("searched seed", HEAD + "search: {tune.seed: {int: [0, 5]}}\n", 2, "search.tune.seed", None,
     "cannot be searched", "model.dropout"),
    ("a number", HEAD + "search: {lr: 0.1}\n", 2, "search.lr", "0.1", "a domain", "`train`"),
    ("a list", HEAD + "search: {batch_size: [64, 128]}\n", 2, "search.batch_size", "64",
     "a domain", "{choice: [64, 128]}"),
    ("null", HEAD + "search: {lr: null}\n", 2, "search.lr", "None", "a domain", "`train`"),
    ("unknown domain", HEAD + "search: {lr: {logunifrm: [1, 2]}}\n", 2, "search.lr", "logunifrm",
     "one kind", "'loguniform'"),
    ("two kinds", HEAD + "search: {lr: {uniform: [1, 2], int: [1, 2]}}\n", 2, "search.lr", "int",
     "one kind", "Write"),
    ("when", HEAD + "search: {lr: {uniform: [1, 2], when: {nesterov: true}}}\n", 2,
     "search.lr.when", "nesterov", "no key 'when'", "Keys here"),
    ("one end", HEAD + "search: {lr: {uniform: [1]}}\n", 2, "search.lr.uniform", "[1]", "two ends",
     "[0, 6]"),
    ("reversed", HEAD + "search: {lr: {uniform: [2, 1]}}\n", 2, "search.lr.uniform", "[2, 1]",
     "below the high", "[1, 2]"),
    ("empty range", HEAD + "search: {lr: {uniform: [1, 1]}}\n", 2, "search.lr.uniform", "[1, 1]",
     "below the high", "`train`"),
    ("words as ends", HEAD + "search: {lr: {uniform: [low, high]}}\n", 2, "search.lr.uniform[0]",
     "low", "must be a number", "without quotes"),
    ("bool end", HEAD + "search: {lr: {uniform: [false, 1]}}\n", 2, "search.lr.uniform[0]",
     "False", "must be a number", "quotes"),
    ("loguniform from 0", HEAD + "search: {lr: {loguniform: [0, 1]}}\n", 2, "search.lr.loguniform",
     "[0, 1]", "above 0", "uniform"),
    ("int of floats", HEAD + "search: {batch_size: {int: [2.0, 4.0]}}\n", 2,
     "search.batch_size.int[0]", "2.0", "whole number", "without a point"),
    ("uniform for int", HEAD + "search: {batch_size: {uniform: [64, 128]}}\n", 2,
     "search.batch_size", "64.0", "whole number", "128"),
    ("bad step", HEAD + "search: {lr: {uniform: [0.1, 1], step: 0.4}}\n", 2, "search.lr.step",
     "0.4", "exactly", "Move"),
    ("negative step", HEAD + "search: {epochs: {int: [1, 3], step: -1}}\n", 2,
     "search.epochs.step", "-1", "above 0", "positive"),
    ("step of a log", HEAD + "search: {lr: {loguniform: [1, 2], step: 1}}\n", 2, "search.lr.step",
     "1", "no key 'step'", "Keys"),
    ("choice of one", HEAD + "search: {batch_size: {choice: [64]}}\n", 2,
     "search.batch_size.choice", "64", "at least two", "`train`"),
    ("choice a word", HEAD + "search: {batch_size: {choice: 64}}\n", 2, "search.batch_size.choice",
     "64", "a list", "[a, b]"),
    ("duplicate choice", HEAD + "search: {batch_size: {choice: [64, 64]}}\n", 2,
     "search.batch_size.choice[1]", "64", "once", "Take"),
    ("duplicate as float", HEAD + "search: {lr: {choice: [1, 1.0]}}\n", 2, "search.lr.choice[1]",
     "1.0", "once", "Take"),
    ("choice of lists", HEAD + "search: {lr: {choice: [[1], [2]]}}\n", 2, "search.lr.choice[0]",
     "[1]", "plain values", "numbers"),
    ("end not allowed", HEAD + "search: {momentum: {uniform: [0.5, 1.5]}}\n", 2, "search.momentum",
     "1.5", "below 1", "Lower"),
    ("choice not allowed", HEAD + "search: {schedule: {choice: [cosine, cosinus]}}\n", 2,
     "search.schedule.choice[1]", "cosinus", "must be one of", "'cosine'"),
    ("choice of wrong type", HEAD + "search: {batch_size: {choice: [64, big]}}\n", 2,
     "search.batch_size.choice[1]", "big", "whole number", "quotes"),
    ("fixed and searched", FULL + "train: {lr: 0.1}\n", 3, "train.lr", "0.1", "searched in",
     "=null"),
    ("dropout twice",
     HEAD + "search: {model.dropout: {uniform: [0, 0.5]}}\nmodel: {dropout: 0.1}\n", 3,
     "model.dropout", "0.1", "searched in", "=null"),
    ("backbone under a base", HEAD + "search: {model.backbone: {choice: [resnet20, resnet32]}}\n",
     2, "search.model.backbone", None, "cannot be searched", "model.dropout"),
    ("unknown searched backbone",
     "recipe: cifar10\nsearch: {model.backbone: {choice: [resnet20, wrn_40]}}\n" + ABSOLUTE, 2,
     "search.model.backbone.choice[1]", "wrn_40", "no backbone", "'wrn_40_2'"),
    ("margin a word", FULL + "train: {m_in: low}\n", 3, "train.m_in", "low", "a number",
     "below: id_energy"),
    ("margin without sd", FULL + "train: {m_in: {below: id_energy}}\n", 3, "train.m_in", "below",
     "and `sd`", "sd: 2"),
    ("margin of a number", FULL + "train: {m_in: {below: -7, sd: 1}}\n", 3, "train.m_in", "-7",
     "reference", "-7"),
    ("margin both ways", FULL + "train: {m_in: {below: id_energy, above: id_energy, sd: 1}}\n", 3,
     "train.m_in", "above", "one of", "sd: 2"),
    ("margin unknown key", FULL + "train: {m_in: {beneath: id_energy, sd: 1}}\n", 3, "train.m_in",
     "beneath", "no key 'beneath'", "below"),
    ("searched margin fixed", HEAD + "search: {m_in: {below: id_energy, sd: 2}}\n", 2,
     "search.m_in.sd", "2", "nothing to search", "`train`"),
    ("searched margin a number", HEAD + "search: {m_in: -23}\n", 2, "search.m_in", "-23", "domain",
     "absolute"),
    ("searched margin of words", HEAD + "search: {m_in: {absolute: {choice: [low, high]}}}\n", 2,
     "search.m_in.absolute.choice[0]", "low", "numbers", "one form"),
    ("searched margin reference",
     HEAD + "search: {m_in: {below: energy, sd: {uniform: [0, 1]}}}\n", 2, "search.m_in", "energy",
     "reference", "absolute"),
    ("searched margin extra key",
     HEAD + "search: {m_in: {absolute: {uniform: [-9, -8]}, sd: 1}}\n", 2, "search.m_in.sd", "1",
     "no key 'sd'", "absolute"),
]

TOGETHER: list[Case] = [
    ("margins cross", FULL + "train: {m_in: -5, m_out: -23}\n", 3, "train.m_in", None,
     "-5 must stay below train.m_out: -23", "Lower m_in"),
    ("margins equal", FULL + "train: {m_in: -5, m_out: -5}\n", 3, "train.m_in", None,
     "must stay below", "Lower m_in"),
    ("ranges cross",
     HEAD + "search:\n  m_in: {absolute: {uniform: [-12, -4]}}\n"
     "  m_out: {absolute: {uniform: [-8, -3]}}\n",
     3, "search.m_in", None, "high -4 must stay below search.m_out: low -8",
     "the paper used -23 and -5"),
    ("fixed in a range",
     HEAD + "search:\n  m_out: {absolute: {uniform: [-8, -3]}}\ntrain: {m_in: -7}\n", 4,
     "train.m_in", None, "-7 must stay below search.m_out: low -8", "Lower"),
    ("one reference",
     HEAD + "search:\n  m_in: {below: id_energy, sd: {uniform: [0, 6]}}\n"
     "  m_out: {above: id_energy, sd: {uniform: [-1, 2]}}\n",
     3, "search.m_in", None,
     "0 standard deviations from id_energy must stay below search.m_out: low -1", "raise m_out"),
    ("warm-up", FULL + "train: {epochs: 3, warmup_epochs: 3}\n", 3, "train.warmup_epochs", "3",
     "warm-up must end", "raise epochs"),
    ("warm-up searched", HEAD + "search: {epochs: {int: [2, 9]}}\ntrain: {warmup_epochs: 2}\n", 3,
     "train.warmup_epochs", "2", "warm-up must end", "raise epochs"),
    ("min_lr", HEAD + LR + "train: {min_lr: 0.001}\n", 3, "train.min_lr", "0.001", "min_lr <= lr",
     "Lower"),
    ("min_lr constant", FULL + "train: {min_lr: 1.0e-6, schedule: constant}\n", 3, "train.min_lr",
     "1e-06", "no effect", "Take min_lr out"),
    ("nesterov", FULL + "train: {momentum: 0}\n", 3, "train.momentum", "0", "Nesterov",
     "nesterov: false"),
    ("epoch_images", FULL + "train: {epoch_images: 64}\n", 3, "train.epoch_images", "64",
     "one batch", "Raise"),
    ("base warm-up", FULL + "base: {epochs: 1, warmup_epochs: 1}\n", 3, "base.warmup_epochs", "1",
     "warm-up must end", "raise epochs"),
    ("grace", FULL + "train: {epochs: 2}\ntune: {grace_epochs: 3}\n", 4, "tune.grace_epochs", "3",
     "must not exceed", "Lower"),
    ("grace without ASHA", FULL + "tune: {scheduler: none, grace_epochs: 3}\n", 3,
     "tune.grace_epochs", "3", "no effect", "Take it out"),
    ("grid of a range", FULL + "tune: {searcher: grid}\n", 2, "search.lr", "loguniform",
     "continuous", "a step"),
    ("grid too small",
     HEAD + "search: {batch_size: {choice: [64, 128]}}\ntune: {searcher: grid}\n", None,
     "tune.num_trials", "32", "2 points", "Write 2"),
    ("grid too large",
     HEAD + "search: {epoch_images: {int: [999, 9999999]}}\ntune: {searcher: grid}\n", 2, "search",
     None, "beyond", "random"),
    ("base with cifar10", CIFAR + "base: {epochs: 3}\n" + ABSOLUTE, 3, "base", None, "no effect",
     "out"),
    ("init of cifar10", CIFAR + "model: {init: cifar10}\n" + ABSOLUTE, 3, "model.init", "cifar10",
     "no base", "random"),
    ("floor without base", CIFAR + "select: {floor: {id_accuracy: {below_base: 0.01}}}\n", 3,
     "select.floor", "below_base", "needs a base", "at_least"),
    ("no floor", CIFAR, None, "select.floor", None, "needs a floor", "at_least"),
    ("floor null", FULL + "select: {floor: null}\n", 3, "select.floor", "None", "needs a floor",
     "at_least"),
    ("base not used",
     FULL + "model: {init: random}\ntrain: {m_in: -9, m_out: -5}\nbase: {epochs: 3}\n" + ABSOLUTE,
     5, "base", None, "no effect", "out"),
    ("measured without base", FULL + "model: {init: random}\ntrain: {m_in: -9}\n" + ABSOLUTE, None,
     "train.m_out", None, "needs a trained base", "nats"),
    ("dropout without effect", CIFAR + "model: {backbone: resnet18, dropout: 0.1}\n" + ABSOLUTE, 3,
     "model.dropout", "0.1", "resnet18 has no dropout", "Take it out"),
    ("dropout searched with a base",
     HEAD + "search: {model.dropout: {uniform: [0, 0.5]}}\n" "base: {epochs: 3}\n", 3,
     "base.dropout", None, "needs its own", "dropout: 0.0"),
    ("outliers without use", CIFAR + "data: {outliers: [svhn]}\n" + ABSOLUTE, 3, "data.outliers",
     "svhn", "no effect", "out"),
    ("one set, two roles", FULL + "data: {ood_val: [svhn], ood_test: [svhn]}\n", 3,
     "data.ood_test[0]", "svhn", "also in data.ood_val", "Pick another"),
    ("one set twice", FULL + "data: {ood_val: [svhn, svhn]}\n", 3, "data.ood_val[1]", "svhn",
     "in this list", "Pick"),
    ("synthetic test", FULL + "data: {ood_test: [jigsaw]}\n", 3, "data.ood_test[0]", "jigsaw",
     "ood_val only", "Move"),
]

CASES = [*FORM, *SECTIONS, *SEARCH, *TOGETHER]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_load_space_wrong_file_told_with_place_and_way_out(case: Case, tmp_path: Path) -> None:
    _, text, line, key, value, rule, way_out = case
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_space(str(file))
    matching = [f for f in caught.value.faults if f.key == key and rule in f.rule]
    assert matching, str(caught.value)
    fault = matching[0]
    assert fault.place == str(file)
    if line is not None:
        assert fault.line == line
    if value is not None:
        assert value in repr(fault.value)
    assert way_out in fault.way_out
    assert str(fault) in str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_load_space_one_mistake_gives_few_faults(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(case[1], encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_space(str(file))
    twice = {"choice of lists", "dropout twice"}  # two mistakes each
    assert len(caught.value.faults) == (2 if case[0] in twice else 1), str(caught.value)


def test_load_space_many_faults_all_told_in_order_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "recipe: energy\n"
        "model: {backbone: resnet2O}\n"
        "train:\n  epochs: 0\n  epochs: 2\n  lrr: 1\n  weight_decay: 1e-4\n"
        "search:\n  lr: {loguniform: [0, 1]}\n  batch_size: {choice: [64]}\n"
        "select: {metric: fpr95}\n"
    )
    with pytest.raises(BadInput) as caught:
        load_space(str(file))
    lines = [fault.line for fault in caught.value.faults]
    assert lines == [2, 4, 5, 6, 7, 9, 10, 11]


def test_load_space_not_utf8_told_with_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"recipe: energy\n# caf\xe9\n")
    with pytest.raises(BadInput, match=r"latin\.yaml:2: the file must be UTF-8.*0xe9"):
        load_space(str(file))


def test_load_space_folder_told(tmp_path: Path) -> None:
    folder = tmp_path / "x.yaml"
    folder.mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        load_space(str(folder))


def test_load_space_missing_file_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_space(str(tmp_path / "x.yaml"))


def test_load_space_unknown_name_suggests() -> None:
    with pytest.raises(BadInput, match="Did you mean 'energy'"):
        load_space("enery")


def test_load_space_aliases_that_explode_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(rows))
    with pytest.raises(BadInput, match="at most"):
        load_space(str(file))
