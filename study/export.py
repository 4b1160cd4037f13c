"""The exporter: the frozen winner as a folder of its own, to be used without the run.

``python -m analysis export DIR --model OUT`` starts this in a process of its own, and hands in
the part of the card that the records tell.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from study import __version__, ending
from study.bases.saved_models import SavedModel, base_name_of, load_model, read_trial_json
from study.data.classes import names_of, with_classes
from study.data.decode import rule_of
from study.data.file_formats import read_source
from study.errors import BadInput, Fault, exit_code
from study.models.names import declaration
from study.plugins import keep, with_plugins_of
from study.records.files import (
    BASE,
    TRIAL_JSON,
    VAL_ID,
    WEIGHTS,
    RunFolder,
    write_bytes,
    write_json,
)
from study.records.frozen import (
    SELECTED,
    file_hash,
    frozen_models,
    read_frozen,
    refuse_unfrozen,
    seal,
)
from study.records.ledger import RecordedLedger
from study.records.manifest import manifest_entry
from study.records.scores import has_scores, read_scores
from study.run_folder import recorded_plan
from study.scoring.conformal import Conformal, conformal_threshold
from study.scoring.scores import OF_LOGITS
from study.terminal import Parser, visible
from study.winner import CARD, CONFORMAL, MODEL_JSON, NETWORK, RECALL, SCHEMA, WINNER

RANDOM, IMAGENET = "random", "imagenet"
_TRIED = (4, 2)  # images in a batch on which network.pt is compared with the model
_CLOSE = 1e-5  # in the unit of the score; a trace of the same operations differs by rounding


def export_model(folder: Path, out: Path, card: str) -> None:
    """Write the winner with all that it takes to use it.

    Args:
        folder: of the run.
        out: does not exist yet; it is there whole or not at all.
        card: what the records tell of the model, Markdown; how it is used is added.

    Raises:
        BadInput: without an intact frozen choice, or where ``out`` exists or cannot be written.
    """
    if os.path.lexists(out):
        rule = "exists already, and an export replaces nothing"
        raise BadInput(Fault("--model", "", rule, "Name a folder that is new.", str(out)))
    run = RunFolder(folder)
    frozen = read_frozen(folder)
    refuse_unfrozen(run, frozen, RecordedLedger(run.ledger).events(SELECTED))
    trial = next(iter(frozen_models(frozen)))
    half = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        half.mkdir(parents=True)
        _write(run, frozen, trial, RunFolder(half), card)
        half.rename(out)
    except OSError as error:
        rule = f"cannot be written: {error.strerror or error}"
        raise BadInput(Fault("--model", "", rule, "Name another place.", str(out))) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _write(
    run: RunFolder, frozen: Mapping[str, Any], trial: str, out: RunFolder, card: str
) -> None:
    plan = recorded_plan(run)
    classes = plan.classes or names_of(with_classes(read_source(plan.id))[0])
    rule = rule_of(plan.id)
    shutil.copytree(run.trial_checkpoints(trial), out.trial_checkpoints(WINNER), ignore=_epochs)
    saved = load_model(run, trial, len(classes), rule.size)
    if saved.recipe.scores_with_base:
        base = base_name_of(run, trial)
        shutil.copytree(run.trial_checkpoints(base), out.trial_checkpoints(base), ignore=_epochs)
    score = str(manifest_entry(run, "own_score"))
    plugins = keep(out.path)
    network = trace_network(saved, score, rule.size, out.path / NETWORK)
    conformal = _conformal(run, frozen, trial, score)
    told = {"promise": conformal.promise()} if conformal else {}
    facts = {
        "schema": SCHEMA,
        "made_with": f"ood-study {__version__}, torch {torch.__version__}",
        "study": run.path.resolve().name,
        "choice": frozen["sha256"],
        "trial": trial,
        "recipe": saved.recipe_name,
        "plugins": [{"name": one["name"], "sha256": one["sha256"]} for one in plugins],
        "score": score,
        "classes": list(classes),
        "rule": asdict(rule),
        "thresholds": {
            RECALL: frozen["threshold"],
            CONFORMAL: conformal.threshold if conformal else None,
        },
        "conformal": {**asdict(conformal), **told} if conformal else None,
        "network": network,
    }
    told_of = f"## Initialisation\n\n{initialisation(run, trial)}"
    text = visible(f"{card.rstrip()}\n\n{told_of}\n\n{_use(facts)}")
    write_bytes(out.path / CARD, text.encode())
    files = sorted(path for path in out.path.rglob("*") if path.is_file() and path.name != CARD)
    seals = {path.relative_to(out.path).as_posix(): file_hash(path) for path in files}
    write_json(out.path / MODEL_JSON, seal({**facts, "files": seals}))


def _epochs(_: str, names: list[str]) -> list[str]:
    """What a trial keeps to go on training, which nobody needs to use it."""
    return [name for name in names if name not in (TRIAL_JSON, WEIGHTS)]


def _conformal(
    run: RunFolder, frozen: Mapping[str, Any], trial: str, score: str
) -> Conformal | None:
    """From the recorded scores of validation ID, of the part that is kept where there is one."""
    for kept in (True, False):
        if not has_scores(run, trial, kept=kept):
            continue
        scores = read_scores(run, trial, kept=kept)
        row = scores.at(int(frozen["winner_epoch"]), float(frozen.get("winner_alpha", 1.0)))
        return conformal_threshold(scores.sets[VAL_ID].scores[score][row])
    return None


def initialisation(run: RunFolder, trial: str) -> str:
    """What the winner's training began with, and under which licence; a sentence or two."""
    told = read_trial_json(run.trial_checkpoints(trial) / TRIAL_JSON)["model"]
    init, backbone = str(told.get("init", RANDOM)), str(told["backbone"])
    before = ""
    if init in (BASE, "cifar10"):  # the base's name in older runs
        name = base_name_of(run, trial)
        entry = ("base",) if name == BASE else ("other_bases", name)
        base = manifest_entry(run, *entry)
        file = base.get("from_file") or {}
        init = str(file.get("file") or base.get("spec", {}).get("init") or RANDOM)
        before = f"The trial began with the study's base model ({base['key']}). "
    if init == RANDOM:
        return f"{before}Training began with fresh weights: no other model's licence is touched."
    if init == IMAGENET:
        return f"{before}Training began with ImageNet weights of {backbone}: {_licence(backbone)}"
    return (
        f"{before}Training began with the weights of the file {Path(init).name}. Its licence is "
        "not known here: whoever hands the model on has to look at it."
    )


def _licence(backbone: str) -> str:
    library, name = str(declaration(backbone).pretrained).split("/", 1)
    data = "ImageNet's own terms (non-commercial research) may bind what was trained on it"
    if library == "timm":
        import timm

        cfg = timm.get_pretrained_cfg(name)
        licence = getattr(cfg, "license", None) or "not stated"
        return f"timm's {name}, licence of the weights: {licence}; {data}."
    return f"torchvision's {name}, whose code is BSD 3-clause; {data}."


class _Scored(nn.Module):
    """Images in [0, 1] to class and score, as one graph."""

    def __init__(self, model: nn.Module, score: str, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.formula = OF_LOGITS[score]
        self.temperature = temperature

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(images)
        return logits.argmax(dim=1), self.formula(logits.to(torch.float64), self.temperature)


def trace_network(saved: SavedModel, score: str, size: int, path: Path) -> str:
    """Write network and score as TorchScript, where the score is a formula of the logits.

    Args:
        saved: the model.
        score: the one that selects.
        size: side of its images, pixels.
        path: of the file.

    Returns:
        What the file takes and gives, or why there is none; a sentence.
    """
    temperature = saved.recipe.logit_temperature(score)
    if temperature is None:
        return (
            f"There is no {path.name}: the score {score} needs more than the network's outputs "
            "(fitted statistics, a bank of features, gradients or the mean of several scores); "
            "load_winner computes it."
        )
    network = _Scored(saved.model, score, temperature).eval()
    with warnings.catch_warnings(), torch.no_grad():
        # torch.export is to follow it; LibTorch and phones read this one
        warnings.simplefilter("ignore")
        first, other = (torch.rand(n, 3, size, size) for n in _TRIED)
        torch.jit.trace(network, first, check_trace=False).save(str(path))  # type: ignore[no-untyped-call]
        loaded = torch.jit.load(path)  # type: ignore[no-untyped-call]
        for images in (first, other):
            ours, theirs = network(images)[1].numpy(), loaded(images)[1].numpy()
            if not np.allclose(ours, theirs, rtol=0, atol=_CLOSE):
                path.unlink()
                return f"There is no {path.name}: as TorchScript this network scores otherwise."
    return (
        f"{path.name} is TorchScript: RGB images in [0, 1], float32 (N, 3, {size}, {size}), to "
        f"class (N,) and score {score} (N,); what brings a picture to that size is not in it."
    )


def _use(facts: Mapping[str, Any]) -> str:
    """How the model is used, Markdown."""
    rule, thresholds = facts["rule"], facts["thresholds"]
    refused = ", which training refused"
    grey, small = (refused * (not rule[key]) for key in ("grey", "enlarge"))
    side = "the shorter side is brought to size, then the centred square is cut"
    fit = side if rule["shorter_side"] else "the largest centred square is brought to size"
    conformal = facts["conformal"]
    promise = "There are no recorded scores to calibrate one by."
    if conformal:
        value = thresholds[CONFORMAL]
        told = "accept everything" if value is None else f"accept a score of at most {value!r}"
        promise = (
            f"{told}; {conformal['promise']}. Calibrated on validation ID images, which also "
            "served to choose the model: the promise holds as far as that choice did not fit them."
        )
    return f"""## Use

    python -m study.score OUT FOLDER > scores.csv

    from study.winner import load_winner
    winner = load_winner("OUT")

A score is higher the more a picture looks OOD. Pictures are brought to
{rule["size"]}x{rule["size"]} RGB by the rule of the training images: {fit}; smaller pictures are
enlarged{small}; grey ones are taken with equal channels{grey}.

- **95 % threshold**: accept a score of at most {thresholds[RECALL]!r}. It accepts 95 % of the
  validation ID images, and promises nothing of others.
- **Conformal threshold** (`--threshold conformal`): {promise}

{facts["network"]}

The weights are safetensors, in `checkpoints/`; `model.json` holds the hashes of all files.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m study.export DIR OUT [--card FILE]``; exit codes as everywhere."""
    parser = Parser(prog="python -m study.export", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--card", type=Path, help="what the records tell, Markdown")
    arguments = parser.parse_args(argv)
    card = arguments.card.read_text(encoding="utf-8") if arguments.card else "# Model\n"
    run = partial(export_model, arguments.directory, arguments.out, card)
    answer = partial(exit_code, run, failed="The export failed: {}")
    return with_plugins_of([arguments.directory], "study.export", argv, answer)


if __name__ == "__main__":
    ending.open_standard()
    raise SystemExit(main())
