"""Makes the folder of a study that never ran: true to the schema, with numbers to order.

Used by tests and to look at the report without training anything. Scores are drawn so that a
trial's quality shows in them; every metric in the tables is computed from them, as in a real run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from analysis.choice.frozen import freeze_choice
from analysis.study import Study
from study.records.files import VAL_ID, RunFolder, write_bytes, write_json
from study.records.frozen import read_frozen
from study.records.ledger import Ledger
from study.records.scores import SetScores, ValidationScores, add_epoch
from study.records.sealed import SESSION_ENDED
from study.scoring.floor import Floor
from study.scoring.measuring import OOD_METRICS, ood_metrics
from study.scoring.objective import FLOOR_HOLDS, OBJECTIVE, SHORTFALL, objective, standing
from study.seeding import numpy_generator

SCORES = ("msp", "max_logit", "energy")
TRACEBACK = """Traceback (most recent call last):
  File "study/training/loop.py", line 88, in train
    raise TrialFailed(message)
study.errors.TrialFailed: loss is nan (lr 0.31, seed 3)
"""


@dataclass(frozen=True)
class Fake:
    """What the study is to look like.

    Attributes:
        statuses: one trial each.
        epochs: of a finished trial.
        num_id: validation ID images.
        ood_sets: name -> (number of images, crops of one source image).
        below_base: floor on ID accuracy under the base's; None for no floor.
        demo: whether the data is the embedded demo.
        seed: of everything.
        spec: replaces sections of the spec.
        tests: name -> (images, crops) of the OOD test sets.
        alphas: points of every trial's path beside its ends; none: trials have no path.
        confidence: of the floor.
        penalty: of the objective, see ``study.scoring.objective``.
    """

    statuses: tuple[str, ...] = ("finished",) * 6 + ("pruned", "pruned", "failed", "paused")
    epochs: int = 4
    num_id: int = 400
    ood_sets: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {"objects_val": (240, 8), "blobs": (150, 1)}
    )
    below_base: float | None = 0.01
    demo: bool = False
    seed: int = 0
    spec: Mapping[str, Any] = field(default_factory=dict)
    tests: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {"objects": (240, 8), "textures": (120, 1)}
    )
    alphas: tuple[float, ...] = ()
    confidence: float | None = None
    penalty: float | None = None


BASE_STATE = (0.80, 1.3)
"""ID accuracy and separation of the base."""


def make_run(path: Path, fake: Fake | None = None) -> RunFolder:
    """Write a whole run to ``path`` and return its folder."""
    fake = fake or Fake()
    run = RunFolder(path)
    path.mkdir(parents=True, exist_ok=True)
    base = make_scores(fake, "base", [BASE_STATE])
    base.save(run.trial_scores("base"))
    base_metrics = metrics_of(base, 0)
    floor = None
    if fake.below_base is not None:
        one = base.sets[VAL_ID]
        accuracy = base_metrics["val/id_accuracy"] - fake.below_base
        floor = Floor(accuracy, fake.confidence, one.prediction[0] == one.label)
    trials, epochs, states = _tables(fake, run, floor)
    write_table(run.trials, trials)
    write_table(run.epochs, epochs)
    if states:
        write_table(run.states, states)
    spec = make_spec(fake)
    write_bytes(run.spec, yaml.safe_dump(spec, sort_keys=False).encode())
    told = None if floor is None else floor.accuracy
    write_json(run.manifest, make_manifest(fake, base_metrics, told))
    if "failed" in fake.statuses:
        run.failures.write_text(f"1 trial: 00008\n\n{TRACEBACK}", encoding="utf-8")
    with Ledger(run.ledger) as ledger:
        ledger.append("started", command="run_study.py --space energy")
        ledger.append("finished", num_trials=len(trials))
        _tell_end(ledger, fake)
    return run


def _tell_end(ledger: Ledger, fake: Fake) -> None:
    """What was left of the search: trials wait for a time budget, or a session still runs."""
    left = [n for n, status in enumerate(fake.statuses) if status in ("running", "paused")]
    for number in left:
        ledger.append("ask", number=number, seed=number, params={})
    if "running" not in fake.statuses:
        reason = "time budget" if left else ""
        told = {"complete": not left, "reason": reason, "unfinished": len(left)}
        ledger.append(SESSION_ENDED, **told, planned=len(fake.statuses), files={})


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as Parquet, a row group and all."""
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["trial_id", "epoch", "status"])
    frame.to_parquet(path, index=False)


Rows = list[dict[str, Any]]


def _tables(fake: Fake, run: RunFolder, floor: Floor | None) -> tuple[Rows, Rows, Rows]:
    """Rows of trials, of epochs and of states."""
    trials: Rows = []
    epochs: Rows = []
    points: Rows = []
    for number, status in enumerate(fake.statuses):
        trial_id = f"{number:05d}"
        rng = numpy_generator(fake.seed, "fake-trial", number)
        params = draw_params(rng)
        length = {"finished": fake.epochs, "failed": 1}.get(status, max(1, fake.epochs // 2))
        places = _places(fake, length)
        scores = make_scores(fake, trial_id, _along(_course(params, length), places))
        states = [_judged(fake, scores, row, floor) for row in range(len(places))]
        if fake.alphas:
            scores = replace(scores, **_of_places(places))
            states = [{"val/alpha": at} | one for (_, at), one in zip(places, states, strict=True)]
            points += [
                {"trial_id": trial_id, "epoch": epoch}
                | {name: value for name, value in one.items() if name.count("/") == 1}
                for (epoch, _), one in zip(places, states, strict=True)
            ]
            for epoch in range(1, length + 1):
                add_epoch(run, trial_id, scores.cut(scores.epochs == epoch))
        else:
            scores.save(run.trial_scores(trial_id))
        rows = [_best_of(epoch, places, states) for epoch in range(1, length + 1)]
        best = min(range(length), key=lambda i: standing(rows[i]))
        shared = {"arm": None, "seed": number, "status": status}
        reason = {"failed": "epoch 2, step 118: loss is nan", "pruned": "stopped at rung 1"}
        trials.append(
            {"trial_id": trial_id, **shared, "reason": reason.get(status), "epochs": length}
            | {"time_s": 31.5 * length, "checkpoint_epoch": best + 1, **params}
            | (rows[best] if status != "failed" else {})
        )
        epochs += [
            {"trial_id": trial_id, "epoch": i + 1, **row, "train/loss": 1.0 / (i + 1)}
            | {"lr": 1e-3, "images_per_s": 800.0, "time_s": 31.5}
            for i, row in enumerate(rows)
        ]
    return trials, epochs, points


def _places(fake: Fake, length: int) -> list[tuple[int, float]]:
    """Epoch and alpha of every state of a trial."""
    each = (0.0, *fake.alphas, 1.0) if fake.alphas else (1.0,)
    return [(epoch, alpha) for epoch in range(1, length + 1) for alpha in each]


def _best_of(epoch: int, places: list[tuple[int, float]], states: Rows) -> dict[str, Any]:
    """The state that stands for an epoch: the best, of equals the one of the largest alpha."""
    own = [one for (e, _), one in zip(places, states, strict=True) if e == epoch]
    return min(reversed(own), key=standing)


def _of_places(places: list[tuple[int, float]]) -> dict[str, Any]:
    epochs, alphas = zip(*places, strict=True)
    return {"epochs": np.array(epochs, np.int32), "alphas": np.array(alphas)}


def _along(
    course: list[tuple[float, float]], places: list[tuple[int, float]]
) -> list[tuple[float, float]]:
    """ID accuracy and separation of states: from the base's to each epoch's, accuracy late."""
    ends = np.array([course[epoch - 1] for epoch, _ in places])
    share = np.array([[alpha**3, alpha] for _, alpha in places])
    found = np.array(BASE_STATE) + share * (ends - np.array(BASE_STATE))
    return [(float(accuracy), float(separation)) for accuracy, separation in found]


def _judged(
    fake: Fake, scores: ValidationScores, row: int, floor: Floor | None
) -> dict[str, float]:
    """Metrics of a state as a trial tells them."""
    metrics = metrics_of(scores, row)
    if floor is not None:
        one = scores.sets[VAL_ID]
        judged = floor.judge(one.prediction[row] == one.label, one.group)
        metrics |= {FLOOR_HOLDS: judged.holds, SHORTFALL: judged.shortfall}
    return metrics | {OBJECTIVE: objective(metrics, "val/fpr95", fake.penalty)}


def draw_params(rng: np.random.Generator) -> dict[str, Any]:
    """Parameters of one trial, searched and fixed, in the columns of the contract."""
    m_in_sd, m_out_sd = float(rng.uniform(0, 6)), float(rng.uniform(-1, 2))
    return {
        "param/train.lr": float(10 ** rng.uniform(-4, -2)),
        "param/train.energy_weight": 0.1,
        "param/train.batch_size": int(rng.choice([64, 128, 256])),
        "param/train.scheduler_step": str(rng.choice(["epoch", "batch"])),
        "param/train.m_in.sd": m_in_sd,
        "param/train.m_in.value": -7.9 - 1.8 * m_in_sd,
        "param/train.m_out.sd": m_out_sd,
        "param/train.m_out.value": -4.9 + 1.4 * m_out_sd,
        "param/model.dropout": 0.0,
    }


def _course(params: Mapping[str, Any], length: int) -> list[tuple[float, float]]:
    """(ID accuracy, separation) of each epoch: wider margins separate more and cost accuracy."""
    force = params["param/train.m_in.sd"] / 6
    course = []
    for epoch in range(1, length + 1):
        share = 1 - np.exp(-0.9 * epoch)
        course.append((0.805 - 0.025 * force**2 * share, 1.3 + 1.1 * share * (0.3 + 0.7 * force)))
    return course


def make_scores(
    fake: Fake, name: str, course: list[tuple[float, float]], *, test: bool = False
) -> ValidationScores:
    """Scores over epochs, each given as (ID accuracy, separation in sd)."""
    id_name, others = ("test_id", fake.tests) if test else (VAL_ID, fake.ood_sets)
    sizes = {id_name: (fake.num_id, 1), **others}
    sets = {}
    for set_name, (num, crops) in sizes.items():
        # Images are the same for every model: their difficulty and labels come from the set.
        image_rng = numpy_generator(fake.seed, "fake-set", set_name)
        source = image_rng.normal(size=-(-num // crops)).repeat(crops)[:num]
        hardness = 0.7 * source + 0.7 * image_rng.normal(size=num)
        label = image_rng.integers(0, 10, num) if set_name == id_name else np.full(num, -1)
        luck = image_rng.uniform(size=num)
        rng = numpy_generator(fake.seed, "fake-scores", name, set_name)
        is_ood = set_name != id_name
        scores = {
            score: np.stack(
                [_draw(rng, hardness, gain * (sep if is_ood else 0.0)) for _, sep in course]
            )
            for score, gain in zip(SCORES, (0.8, 0.95, 1.0), strict=True)
        }
        right = np.stack([luck < accuracy for accuracy, _ in course])
        prediction = np.where(right, label, (label + 1) % 10).astype(np.int16)
        image = np.array([f"{set_name}/{i // crops}/{i}" for i in range(num)], dtype=np.bytes_)
        group = np.array([f"{set_name}/{i // crops}" for i in range(num)], dtype=np.bytes_)
        sets[set_name] = SetScores(scores, prediction, label.astype(np.int16), image, group)
    return ValidationScores(np.arange(1, len(course) + 1, dtype=np.int32), sets)


def _draw(rng: np.random.Generator, hardness: np.ndarray, shift: float) -> np.ndarray:
    return np.asarray(-8.0 + 1.8 * (shift + hardness + 0.3 * rng.normal(size=len(hardness))))


def metrics_of(scores: ValidationScores, row: int) -> dict[str, float]:
    """The ``val/...`` metrics of one epoch; the study's own score is energy."""
    id_set = scores.sets[VAL_ID]
    metrics = {"val/id_accuracy": float((id_set.prediction[row] == id_set.label).mean())}
    ood = [name for name in scores.sets if name != VAL_ID]
    for name in ood:
        for score in SCORES:
            one = ood_metrics(id_set.scores[score][row], scores.sets[name].scores[score][row])
            metrics |= {f"val/{name}/{score}/{key}": value for key, value in one.items()}
    for key in OOD_METRICS:
        metrics[f"val/{key}"] = float(np.mean([metrics[f"val/{n}/energy/{key}"] for n in ood]))
    return metrics


def make_spec(fake: Fake) -> dict[str, Any]:
    """The resolved spec of the energy space."""
    floor = None
    if fake.below_base is not None:
        sure = {} if fake.confidence is None else {"confidence": fake.confidence}
        floor = {"id_accuracy": {"below_base": fake.below_base, **sure}}
    return {
        "recipe": "energy",
        "data": {"id": "auto", "outliers": "auto", "ood_val": "auto"},
        "model": {"backbone": "resnet20", "init": "base"},
        "train": {"epochs": fake.epochs, "energy_weight": 0.1},
        "search": {
            "lr": {"loguniform": [1e-4, 1e-2]},
            "m_in": {"below": "id_energy", "sd": {"uniform": [0, 6]}},
            "m_out": {"above": "outlier_energy", "sd": {"uniform": [-1, 2]}},
            "batch_size": {"choice": [64, 128, 256]},
            "scheduler_step": {"choice": ["epoch", "batch"]},
        },
        "tune": {"searcher": "tpe", "scheduler": "asha", "num_trials": 10, "seed": fake.seed},
        "select": {
            "metric": "val/fpr95",
            "floor": floor,
            "penalty": fake.penalty,
            "path": list(fake.alphas) or False,
            "checkpoint": "best",
        },
        **fake.spec,
    }


def make_manifest(
    fake: Fake, base_metrics: Mapping[str, float], floor: float | None
) -> dict[str, Any]:
    """Provenance as ``study.records.manifest`` writes it."""
    accuracy = base_metrics["val/id_accuracy"]
    return {
        "command": "python run_study.py --space energy --data demo",
        "created": "2025-01-01T12:00:00+00:00",
        "versions": {"python": "3.11.9", "numpy": np.__version__, "torch": "2.9.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "hardware": {"cpu": "2 cores", "memory_bytes": 16 * 2**30, "gpus": []},
        "threads": 1,
        "own_score": "energy",
        "data": _data(fake),
        "base": {
            "path": "bases/0123456789ab",
            "fingerprint": "0123456789ab",
            "val_id_accuracy": accuracy,
            "id_energy_mean": -7.9,
            "id_energy_sd": 1.8,
            "outlier_energy_mean": -4.9,
            "outlier_energy_sd": 1.4,
            "metrics": dict(base_metrics),
        },
        "floor": {
            "value": floor,
            "reference": "base",
            "how": f"{fake.below_base or 0:.4f} below the base's {accuracy:.4f}",
            "confidence": fake.confidence,
            "confidence_of_choice": fake.confidence,
        },
    }


def make_final_scores(run: RunFolder, fake: Fake | None = None) -> None:
    """What ``study.final_test`` leaves: the scores of the winner and of the base."""
    fake = fake or Fake()
    course = {"winner": [(0.80, 2.3)], "base": [(0.80, 1.3)]}
    for model, epochs in course.items():
        make_scores(fake, model, epochs, test=True).save(run.final_test / f"{model}.npz")


def _data(fake: Fake) -> dict[str, Any]:
    sizes = {"train_id": (45000, 1), "val_id": (fake.num_id, 1), "outliers/objects": (19440, 40)}
    sizes |= {f"ood_val/{name}": size for name, size in fake.ood_sets.items()}
    roles = {
        name: {
            "fingerprint": f"{numpy_generator(0, name).integers(2**62):016x}" * 4,
            "num_images": num,
            "num_groups": -(-num // crops),
            "provenance": f"synthetic numbers for tests ({name})",
        }
        for name, (num, crops) in sizes.items()
    }
    return {
        "demo": fake.demo,
        "notes": ["CIFAR-10 was not found; the embedded demo set is used."] * fake.demo,
        "roles": roles,
        "leak_check": {
            "collisions": [
                {"weaker": "train", "stronger": "id_test", "kind": "near", "action": "tell"}
                | {"num_weaker": 310, "num_stronger": 292, "examples": [["a", "b"]]}
            ],
            "num_images": {name: size[0] for name, size in sizes.items()},
            "dropped": {},
            "rule": "mean absolute difference of pixels below a limit",
            "time_s": 1.5,
        },
    }


def freeze(study: Study) -> dict[str, Any]:
    """Freeze the study's own choice, as the end of a study does."""
    with Ledger(study.folder.ledger) as ledger:
        freeze_choice(study, study.select(), ledger)
    return read_frozen(study.folder.path)
