from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study.data.section import UNWRITTEN
from study.errors import BadInput
from study.losses.margins import EnergyStats
from study.options import Override
from study.space.checks.against import (
    check_against_base,
)
from study.space.loading import SPACES, load_resolved, load_space, space_path
from study.space.points import conditions, flat, substitute
from study.space.reading.sections import FloorRule
from study.space.search.conditions import existing
from study.space.study_spec import StudySpec

SHIPPED = sorted(path.stem for path in SPACES.glob("*.yaml"))
STATS = EnergyStats(-8.0, 2.0, -5.0, 1.0)


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    return str(file)


def again(spec: StudySpec, tmp_path: Path) -> StudySpec:
    file = tmp_path / "spec.yaml"
    file.write_text(spec.dump())
    return load_resolved(file)


def corner(spec: StudySpec, which: int) -> dict[str, Any]:
    point = {name: domain.ends()[which] for name, domain in flat(spec).items()}
    return existing(point, conditions(spec))


def test_shipped_spaces_are_there() -> None:
    assert {"energy", "cifar10"} <= set(SHIPPED)


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_space_loads_and_its_dump_is_identity(
    name: str, smoke: bool, tmp_path: Path
) -> None:
    spec = load_space(name, smoke=smoke)
    assert again(spec, tmp_path) == spec
    assert again(spec, tmp_path).resolved() == spec.resolved()
    for which in (0, -1):
        substitute(spec, corner(spec, which))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_space_opens_with_its_command_and_question(name: str) -> None:
    lines = (SPACES / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith(f"# python run_study.py --space {name}")
    assert any("?" in line for line in lines[1:5])


def test_resolved_names_every_parameter(tmp_path: Path) -> None:
    spec = load_space("energy")
    plain = spec.resolved()
    named = set(plain["train"]) | set(plain["search"])
    unnamed = set(type(spec.params).model_fields) - named
    assert unnamed == spec.params.unwritten  # post-hoc detectors, of which there are none
    assert "knn_k" in unnamed
    assert "detectors" in load_space("energy", ["train.detectors=[knn]"]).resolved()["train"]
    for section in ("data", "tune", "select", "base"):
        added = UNWRITTEN if section == "data" else ()
        fields = type(getattr(spec, section)).model_fields.keys()
        assert plain[section].keys() == fields - added


def test_spec_survives_pickle() -> None:
    spec = load_space("energy")
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_load_space_by_path_and_name_agree() -> None:
    assert load_space(str(SPACES / "energy.yaml")) == load_space("energy")
    assert space_path("energy") == SPACES / "energy.yaml"


def test_reading_a_space_loads_neither_torch_nor_ray_nor_optuna() -> None:
    code = (
        "import sys; from study.space.loading import load_space; load_space('energy');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'optuna', 'pandas')))"
    )
    root = SPACES.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_override_sets_and_ends_a_search() -> None:
    spec = load_space(
        "energy", ["search.lr=null", "train.lr=0.002", "tune.num_trials=5", "train.epochs=2"]
    )
    assert spec.train["lr"] == 0.002
    assert "lr" not in spec.search
    assert (spec.tune.num_trials, spec.train["epochs"]) == (5, 2)


def test_override_reaches_into_a_domain_and_a_dotted_name() -> None:
    spec = load_space(
        "energy",
        ["search.m_in.sd.uniform=[2, 3]", "search.model.dropout={uniform: [0, 0.3]}",
         "base.dropout=0.1"],
    )  # fmt: skip
    assert flat(spec)["train.m_in.sd"].ends() == (2.0, 3.0)
    assert flat(spec)["model.dropout"].ends() == (0.0, 0.3)


def test_override_of_the_recipe_and_a_section() -> None:
    floor = "select.floor={id_accuracy: {at_least: 0.5}}"
    assert load_space("energy", [floor]).select.floor == FloorRule("at_least", 0.5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=0", r"^--set: train\.epochs: 0: must be at least 1"),
        ("train.epochs=many", r"^--set: train\.epochs: 'many': must be a whole number"),
        ("train.weight_decay=1e-4", r"^--set: train\.weight_decay: '1e-4': .* number as text"),
        ("train.epoch=3", r"^--set: train\.epoch: 3: `train` has no such key. .*'epochs'"),
        ("train.weight_decay=[1", r"^--set: train\.weight_decay: '\[1': not valid YAML"),
        ("epochs", r"^--set: 'epochs': an override has the form"),
        ("=3", r"^--set: '=3': an override has the form"),
        ("train..lr=3", r"an override has the form"),
        ("tune.num_trials.x=3", r"tune\.num_trials is no mapping"),
        ("search.momentum=null", r"only a parameter that is searched can be taken out"),
        ("train.lr=0.1", r"^--set: train\.lr: 0.1: the parameter is fixed in `train` and"),
        ("search.batch_size={choice: [64]}", r"^--set: search\.batch_size\.choice: .*least two"),
        ("train.weight_decay=", r"train\.weight_decay: None: must be a number"),
        ("recipe=energi", r"^--set: recipe: 'energi': no recipe"),
        ("x=1", r"^--set: x: 1: a space has no such section"),
    ],
)  # fmt: skip
def test_override_fault_names_set(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_space("energy", [override])


def test_override_that_undoes_one_before_it_told() -> None:
    with pytest.raises(BadInput, match=r"would undo train\.epochs"):
        load_space("energy", ["train.epochs=3", "train={epochs: 4}"])


def test_override_of_a_section_that_the_file_lacks_is_told_at_the_option() -> None:
    with pytest.raises(BadInput, match=r"^--set: trian:"):
        load_space("energy", ["trian.epochs=3"])


def test_override_same_key_twice_told() -> None:
    with pytest.raises(BadInput, match="set twice"):
        load_space("energy", ["train.epochs=2", "train.epochs=3"])


def test_override_from_an_option_names_that_option() -> None:
    with pytest.raises(BadInput, match=r"^--num-trials: tune\.num_trials: 0"):
        load_space("energy", [Override("tune.num_trials", 0, "--num-trials")])


def test_overrides_and_file_faults_in_one_message(tmp_path: Path) -> None:
    file = write(tmp_path, "recipe: energy\nsearch: {lr: {uniform: [2, 1]}}\n")
    with pytest.raises(BadInput) as caught:
        load_space(file, ["train.epochs=0"])
    assert {fault.place for fault in caught.value.faults} == {file, "--set"}


def test_smoke_is_small_and_keeps_what_was_set() -> None:
    spec = load_space("energy", ["tune.num_trials=5"], smoke=True)
    assert spec.tune.num_trials == 5
    assert spec.train["epochs"] <= 2
    assert spec.base is not None
    assert spec.base.epochs <= 2
    assert spec.train["epoch_images"] <= 256


@pytest.mark.parametrize("given", ["search.momentum={uniform: [0.5, 0.9]}", "search.m_in=null"])
def test_smoke_margins_cannot_cross_on_any_base(given: str) -> None:
    spec = load_space("energy", [given], smoke=True)
    reversed_base = EnergyStats(id_mean=-4.0, id_sd=1.5, outlier_mean=-7.0, outlier_sd=3.0)
    check_against_base(spec, reversed_base)


def test_smoke_of_searched_epochs_and_warmups(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "recipe: classifier\nsearch:\n  epochs: {int: [5, 50]}\n"
        "  warmup_epochs: {choice: [0, 2]}\n  epoch_images: {int: [1000, 2000]}\n"
        "select: {metric: val/id_accuracy}\n",
    )
    spec = load_space(file, smoke=True)
    assert flat(spec)["train.epochs"].ends() == (1, 2)
    assert "warmup_epochs" not in spec.search


def test_smoke_of_warmup_alone_still_searches(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "recipe: classifier\nsearch: {warmup_epochs: {choice: [0, 2]}}\n"
        "select: {metric: val/id_accuracy}\n",
    )
    assert load_space(file, smoke=True).search


def test_words_of_earlier_versions_are_read_and_todays_are_written(tmp_path: Path) -> None:
    classifier = (
        "recipe: cifar10\ndata: {id: cifar10}\nsearch: {lr: {uniform: [0.1, 1]}}\n"
        "select: {metric: val/id_accuracy}\n"
    )
    spec = load_space(write(tmp_path, classifier))
    assert (spec.recipe, spec.data.id) == ("classifier", "cifar10")
    energy = "recipe: energy\nmodel: {init: cifar10}\nsearch: {lr: {uniform: [0.1, 1]}}\n"
    spec = load_space(write(tmp_path, energy))
    assert spec == load_space(write(tmp_path, energy.replace("cifar10", "base")))
    assert "init: base" in spec.dump()
    assert load_space("energy", ["model.init=cifar10"]) == load_space("energy")
    assert load_space("cifar10", ["recipe=cifar10"]) == load_space("cifar10")


def test_floor_defaults_to_a_point_below_the_base_held_with_a_confidence(tmp_path: Path) -> None:
    file = write(tmp_path, "recipe: energy\nsearch: {lr: {uniform: [1, 2]}}\n")
    floor = load_space(file).select.floor
    assert floor == FloorRule("below_base", 0.01, 0.8)
    assert floor.accuracy(0.9) == pytest.approx(0.89)
    with pytest.raises(ValueError, match="needs a base"):
        floor.accuracy(None)
    assert FloorRule("at_least", 0.7).accuracy(None) == 0.7


def test_base_takes_the_models_dropout(tmp_path: Path) -> None:
    text = "recipe: energy\nmodel: {dropout: 0.2}\nsearch: {lr: {uniform: [1, 2]}}\n"
    base = load_space(write(tmp_path, text)).base
    assert base is not None
    assert base.dropout == 0.2
    assert base.train()["epochs"] == base.epochs


def test_init_from_a_file_trains_no_base(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.touch()
    text = (
        f"recipe: energy\nmodel: {{init: {weights}}}\nsearch: {{lr: {{uniform: [1, 2]}}}}\n"
        "select: {floor: {id_accuracy: {at_least: 0.5}}}\n"
    )
    spec = load_space(write(tmp_path, text))
    assert spec.base is None
    weights.unlink()
    assert again(spec, tmp_path) == spec


def test_file_that_trials_read_means_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vgg.pth").touch()
    monkeypatch.chdir(tmp_path)
    own = ["train.perceptual_network=vgg16", "train.perceptual_weights=vgg.pth"]
    spec = load_space("nordf", own, smoke=True)
    assert spec.resolved()["train"]["perceptual_weights"] == str(tmp_path / "vgg.pth")


def test_sets_of_the_data_root_are_known_by_name(tmp_path: Path) -> None:
    (tmp_path / "ood_val").mkdir()
    (tmp_path / "ood_val" / "scenes.parquet").touch()
    file = write(
        tmp_path,
        "recipe: energy\ndata: {ood_val: [scenes]}\nsearch: {lr: {uniform: [1, 2]}}\n",
    )
    assert load_space(file, data_root=tmp_path).data.ood_val == ["scenes"]
    with pytest.raises(BadInput, match="no set has this name"):
        load_space(file)


def test_has_effect_rule_lets_a_searched_schedule_be_constant(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "recipe: energy\ntrain: {min_lr: 1.0e-6}\n"
        "search: {schedule: {choice: [cosine, constant]}}\n",
    )
    spec = load_space(file)
    assert substitute(spec, {"train.schedule": "constant"})[0]["schedule"] == "constant"


def test_names_agree_with_the_registries() -> None:
    from study.data.demo import demo_names
    from study.data.names import DEMO_SETS, SYNTHETIC_SETS
    from study.data.synthetic import SYNTHETIC_NAMES

    assert set(DEMO_SETS) == set(demo_names())
    assert set(SYNTHETIC_SETS) == set(SYNTHETIC_NAMES)


@pytest.mark.parametrize(
    ("overrides", "grace"),
    [
        (["train.epochs=9"], 4),
        (["train.epochs=1"], 1),
        (
            [
                "search.epochs={int: [6, 20]}",
            ],
            3,
        ),
        (["train.epochs=9", "tune.scheduler=median"], 1),
        (["train.epochs=9", "tune.grace_epochs=1"], 1),
    ],
)
def test_grace_of_asha_fits_the_epochs_unless_it_is_said(
    tmp_path: Path, overrides: list[str], grace: int
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "recipe: classifier\nsearch: {lr: {loguniform: [1.0e-3, 1.0e-1]}}\n"
        "select: {metric: val/id_accuracy}\n"
    )
    assert load_space(str(file), overrides).tune.grace_epochs == grace


def test_recorded_parameter_of_another_loss_may_have_had_another_default(tmp_path: Path) -> None:
    spec = load_space("outlier_exposure")
    told = spec.dump().replace("prior_margin: 10.0", "prior_margin: 1.0")
    assert told != spec.dump()
    (tmp_path / "spec.yaml").write_text(told)
    assert load_resolved(tmp_path / "spec.yaml").params.model_dump()["prior_margin"] == 1.0
    with pytest.raises(BadInput, match="prior_margin has no effect"):
        load_space("outlier_exposure", ["train.prior_margin=1.0"])
