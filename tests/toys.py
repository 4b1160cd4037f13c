"""Small things that many tests need: a toy study's data, plans over a toy ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from study.data.images import ImageSet
from study.data.roles import OODValidation, Outliers, StudyData, TrainID, ValidationID
from study.records.ledger import Ledger
from study.tune.decisions import BY_RUNG, TO_FINISH, Decisions
from study.tune.plan import SearchPlan

if TYPE_CHECKING:
    from study.space.study_spec import StudySpec
    from study.tune.setup import Setup

SIZE = 8  # pixels; the smallest that the backbones take


def toy_images(name: str, count: int, *, classes: int = 0, seed: int = 0) -> ImageSet:
    """Noise around a level that tells the class (ID) or is its own (no classes)."""
    generator = np.random.default_rng([seed, len(name)])
    labels = np.arange(count) % classes if classes else np.full(count, -1)
    level = 40 + 60 * labels if classes else np.full(count, 250)
    pixels = level[:, None, None, None] + generator.normal(0, 25, (count, SIZE, SIZE, 3))
    return ImageSet.make(name, np.clip(pixels, 0, 255).astype(np.uint8), labels=labels)


def toy_data(num_train: int = 60) -> StudyData:
    """Three classes, so many training images, and one OOD validation set."""
    return StudyData(
        TrainID(toy_images("train", num_train, classes=3)),
        ValidationID(toy_images("val", 30, classes=3, seed=1)),
        Outliers(toy_images("outliers", 40, seed=2)),
        OODValidation({"far": toy_images("far", 24, seed=3)}),
        num_classes=3,
        demo=False,
    )


def train_section(recipe: str = "classifier", **changes: Any) -> dict[str, Any]:
    """A quick section ``train:`` for toy data."""
    section: dict[str, Any] = {"epochs": 2, "lr": 0.05, "batch_size": 16, "augment": "none"}
    if recipe == "energy":
        section |= {"m_in": -4.0, "m_out": -1.0, "outlier_batch_size": 16}
    return section | changes


def toy_setup(spec: StudySpec, data: StudyData | None = None) -> Setup:
    """A study of toy images that starts from nothing; neither sources nor a leak check."""
    from study.tune.setup import Setup  # torch comes with it, and few tests need that

    nothing: Any = None
    return Setup(spec, nothing, data or toy_data(), nothing, {}, (), None, "cpu")


def toy_plan(**changes: Any) -> SearchPlan:
    """A search of two parameters over nine epochs."""
    settings: dict[str, Any] = {
        "seed": 0,
        "searcher": "tpe",
        "scheduler": "asha",
        "grace_epochs": 1,
        "reduction_factor": 3,
        "checkpoint_rule": "best",
        "distributions": {
            "x": optuna.distributions.FloatDistribution(0, 1),
            "kind": optuna.distributions.CategoricalDistribution(["a", "b", 3]),
        },
        "num_epochs": lambda point: 9,
    }
    return SearchPlan(**(settings | changes))


def toy_metrics(params: dict[str, Any], epoch: int) -> dict[str, float]:
    """Metrics of an imaginary epoch: better for x near 0.3, better with every epoch."""
    value = (params["x"] - 0.3) ** 2 + 0.5 / epoch
    others = {"val/fpr95": value, "val/auroc": 1 - params["x"], "val/id_accuracy": 0.9}
    return {"val/objective": value, "time_s": 1.0, **others}


def run_toy_search(
    path: Path,
    num_trials: int,
    *,
    stop_after: int | None = None,
    finish: int = 0,
    metrics: Callable[[dict[str, Any], int], dict[str, float]] = toy_metrics,
    **changes: Any,
) -> Decisions:
    """One trial at a time to the end, or until so many results are recorded."""
    with Ledger(path) as ledger:
        decisions = Decisions(toy_plan(**changes), ledger)
        steps = 0
        while steps != stop_after:
            left = decisions.unfinished
            if not left and (place := decisions.promotable()):
                left = [decisions.promote(place, BY_RUNG)]
            if not left and len(decisions.trials) < num_trials:
                asked = decisions.ask()
                left = [asked] if asked else []
            if not left and (place := decisions.promotable(finish)):
                left = [decisions.promote(place, TO_FINISH)]
            if not left:
                break
            epoch = len(left[0].epochs) + 1
            decisions.result(left[0].number, epoch, metrics(left[0].params, epoch))
            steps += 1
    return decisions
