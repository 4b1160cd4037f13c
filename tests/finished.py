"""A finished study of toy pictures on disk, with a frozen choice and sealed test sets: no search.

Everything that the final test and the exporter ask of a run is real: pictures in folders, weights
with what the scores need beside them, recorded validation scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from study.data.images import ImageSet
from study.data.plan import DataPlan
from study.data.sources import Source
from study.data.test_access import open_test
from study.models.registry import build_classifier
from study.recipes.registry import make_recipe
from study.records.files import TRIAL_JSON, VAL_ID, WEIGHTS, RunFolder, write_json
from study.records.frozen import file_hash, seal
from study.records.ledger import Ledger
from study.records.scores import add_epoch
from study.scoring.measuring import threshold_at_recall
from study.training.assignment import Assignment
from study.training.chosen import ChosenWeights, save_chosen
from study.training.evaluation import evaluate
from study.training.trial import fresh_model
from tests.toys import SIZE, toy_data, toy_images, train_section

TRIAL = "00002"
MODEL = {"backbone": "resnet20", "dropout": 0.0, "init": "base"}


def write_pictures(folder: Path, images: ImageSet) -> Path:
    """A set as PNG files, in sub-folders of its classes where it has labels."""
    for row, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        path = folder / (f"class{label}" if label >= 0 else "") / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


def make_finished(path: Path, recipe: str = "energy", **changes: Any) -> RunFolder:
    """A run whose winner is an untrained network with fitted statistics.

    Args:
        path: the run's folder; pictures go to ``pictures`` beside it.
        recipe: its name.
        changes: of its section ``train``.
    """
    run, pictures = RunFolder(path), path.parent / "pictures"
    sets = {
        "id": toy_images("id", 30, classes=3),
        "test": toy_images("test", 24, classes=3, seed=5),
        "scenes": toy_images("scenes", 15, seed=6),
    }
    sources = {
        name: Source(name, "folder", str(write_pictures(pictures / name, images)), image_size=SIZE)
        for name, images in sets.items()
    }
    plan = {
        **{"id": sources["id"].to_json(), "outliers": [], "ood_val": []},
        **{"test_id": sources["test"].to_json(), "ood_test": [sources["scenes"].to_json()]},
        **{"demo": False, "notes": [], "outlier_id_classes": "refuse"},
        "classes": ["class0", "class1", "class2"],
    }
    section = train_section(recipe, **changes) if recipe in ("energy", "classifier") else changes
    base = build_classifier("resnet20", 3, image_size=SIZE, seed=7)
    _keep(run, "base", "classifier", train_section(), ChosenWeights(base.state_dict(), {}, {}))
    made = make_recipe(recipe, section, lambda: base)
    told = {"number": 2, "seed": 4, "model": MODEL, "train": section}
    model = fresh_model(made, Assignment(**told), 3, SIZE)  # type: ignore[arg-type]
    found = evaluate(made, model, toy_data(), torch.device("cpu"))
    chosen = ChosenWeights(model.state_dict(), dict(found.fitted), {}, {"epoch": "1"})
    _keep(run, TRIAL, recipe, section, chosen)
    scores = found.as_epoch(1)
    add_epoch(run, TRIAL, scores)
    own = scores.sets[VAL_ID].scores[made.own_score][0]
    opened = open_test(DataPlan.from_json(plan)).fingerprints()
    data = {"plan": plan, "test_fingerprints": opened}
    told_base = {"key": "00326f8c", "spec": {"init": "random"}, "from_file": None}
    write_json(run.manifest, {"data": data, "own_score": made.own_score, "base": told_base})
    _freeze(run, float(threshold_at_recall(own, 0.95)))
    return run


def _keep(
    run: RunFolder, name: str, recipe: str, section: dict[str, Any], chosen: ChosenWeights
) -> None:
    folder = run.trial_checkpoints(name)
    folder.mkdir(parents=True)
    save_chosen(folder / WEIGHTS, chosen)
    number = int(name) if name.isdigit() else -1
    told = {"recipe": recipe, "number": number, "seed": 4, "model": MODEL, "train": section}
    write_json(folder / TRIAL_JSON, told)


def _freeze(run: RunFolder, threshold: float) -> None:
    frozen = {
        **{"trial_id": TRIAL, "winner": TRIAL, "winner_epoch": 1, "winner_alpha": 1.0},
        **{"metric": "val/fpr95", "value": 0.5, "interval": [0.4, 0.6], "threshold": threshold},
        "weights_sha256": file_hash(run.trial_checkpoints(TRIAL) / WEIGHTS),
    }
    sealed = seal(frozen)
    write_json(run.selection, sealed)
    with Ledger(run.ledger) as ledger:
        ledger.append("selected", trial_id=TRIAL, sha256=sealed["sha256"])


def accepted_by_hand(scores: np.ndarray, threshold: float) -> list[str]:
    """What the column ``accepted`` must hold."""
    return ["true" if score <= threshold else "false" for score in scores]
