"""Which trial: the stated rule, its floor, and how sure the winning number is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.bootstrap import (
    NUM_RESAMPLES,
    Interval,
    Resampler,
    percentile_interval,
    resampled_accuracy,
    resampled_metrics,
)
from analysis.tables import BASE, Records, direction_of
from study.errors import BadInput, Fault, StudyFailed
from study.metrics import OOD_METRICS, RECALL, threshold_at_recall
from study.records import VAL_ID, SetScores, ValidationScores

ID_ACCURACY = "val/id_accuracy"
TIE_BREAK = "val/auroc"


class NoSelection(StudyFailed):
    """No trial may be chosen; the message says why. Exit code 1."""


@dataclass(frozen=True)
class Selection:
    """A choice, and the numbers behind it.

    Attributes:
        trial_id: the chosen trial.
        epoch: its epoch, by the checkpoint rule.
        rule: the rule as one sentence.
        metric: what was ranked by, such as ``val/fpr95``.
        value: the chosen trial's value, a fraction.
        interval: of ``value``, over images by source group; None where the per-image scores are
            missing or the metric is none that follows from them.
        score: name of the OOD score.
        threshold: of the score, at 95 % ID recall on validation ID; None without scores.
        candidates: finished trials, best first; columns trial_id, epoch, the metric, val/auroc,
            val/id_accuracy (fractions), passes_floor (bool), rank (1 = chosen; missing under
            the floor).
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    trial_id: str
    epoch: int
    rule: str
    metric: str
    value: float
    interval: Interval | None
    score: str
    threshold: float | None
    candidates: pd.DataFrame
    num_resamples: int
    seed: int


def select(
    study: Records, *, num_resamples: int = NUM_RESAMPLES, seed: int | None = None
) -> Selection:
    """Choose a trial by the study's own rule.

    Finished trials above the floor are ranked by the metric, then AUROC, then trial id.

    Args:
        study: its records.
        num_resamples: of the interval.
        seed: of the interval's draws; the study's own where None.

    Raises:
        NoSelection: if nothing finished, or nothing reaches the floor.
        BadInput: if the metric is unknown or was not recorded.
    """
    candidates = rank_candidates(study)
    best = candidates.iloc[0]
    if not best["passes_floor"]:
        raise NoSelection(_shortfall(study, candidates))
    seed = study_seed(study) if seed is None else seed
    trial_id, epoch = str(best["trial_id"]), int(best["epoch"])
    interval = threshold = None
    if study.has_scores(trial_id):
        scores = scores_at(study, trial_id, epoch)
        interval = metric_interval(study, scores, study.metric, num_resamples, seed)
        threshold = float(threshold_at_recall(scores[VAL_ID].scores[study.own_score][0], RECALL))
    return Selection(
        trial_id=trial_id,
        epoch=epoch,
        rule=describe_rule(study),
        metric=study.metric,
        value=float(best[study.metric]),
        interval=interval,
        score=study.own_score,
        threshold=threshold,
        candidates=candidates,
        num_resamples=num_resamples,
        seed=seed,
    )


def study_seed(study: Records) -> int:
    """The seed of the study, 0 where the spec has none."""
    return int(study.spec.get("tune", {}).get("seed") or 0)


def describe_rule(study: Records) -> str:
    """The selection rule as one sentence that a paper could print."""
    extreme = "lowest" if direction_of(study.metric) == "min" else "highest"
    floor = study.floor
    where = ""
    if floor:
        name = f" ({floor.how})" if floor.how else ""
        where = f" with {ID_ACCURACY} >= {floor.value:.4f}{name}"
    epoch = (
        "its last epoch"
        if study.checkpoint_rule == "last"
        else "the epoch with the lowest val/objective, the earliest of equals"
    )
    return (
        f"The {extreme} {study.metric} among finished trials{where}, each taken at {epoch}; "
        f"ties go to the higher {TIE_BREAK}, then to the smaller trial id."
    )


def rank_candidates(study: Records) -> pd.DataFrame:
    """Finished trials, best first by the study's rule.

    Returns:
        trial_id, epoch (int), the metric, val/auroc, val/id_accuracy (fractions), passes_floor
        (bool), rank (Int64, missing under the floor).

    Raises:
        NoSelection: if no trial finished.
        BadInput: if the metric is unknown or absent.
    """
    sign = 1.0 if direction_of(study.metric) == "min" else -1.0
    finished = _finished(study)
    columns = list(dict.fromkeys([study.metric, TIE_BREAK, ID_ACCURACY]))
    _require_columns(study, columns)
    table = finished[["trial_id", "checkpoint_epoch", *columns]].copy()
    table = table.rename(columns={"checkpoint_epoch": "epoch"})
    floor = study.floor
    table["passes_floor"] = table[ID_ACCURACY] >= (floor.value if floor else -np.inf)
    keys = pd.DataFrame(
        {
            "out": ~table["passes_floor"],
            # Under the floor the nearest miss comes first.
            "miss": np.where(table["passes_floor"], 0.0, -table[ID_ACCURACY]),
            "metric": sign * table[study.metric],
            "tie": -table[TIE_BREAK],
            "trial_id": table["trial_id"],
        }
    )
    table = table.loc[keys.sort_values(list(keys.columns), kind="stable").index]
    table = table.reset_index(drop=True)
    table["rank"] = pd.Series(range(1, len(table) + 1), dtype="Int64")
    table.loc[~table["passes_floor"], "rank"] = pd.NA
    return table


def _finished(study: Records) -> pd.DataFrame:
    if not len(study.trials):
        raise NoSelection(f"{study.folder.path}: the study has no trials, so nothing to choose.")
    finished = study.trials[study.trials["status"] == "finished"]
    if finished.empty:
        counts = ", ".join(f"{n} {name}" for name, n in study.status_counts().items())
        raise NoSelection(
            f"{study.folder.path}: no trial finished ({counts}), so nothing to choose. "
            "Only finished trials are candidates."
        )
    return finished


def _require_columns(study: Records, columns: list[str]) -> None:
    have = [c for c in study.trials.columns if c.startswith("val/") and c.count("/") == 1]
    faults = [
        Fault(
            str(study.folder.trials),
            column,
            f"this metric was not recorded; the table has {', '.join(have) or 'none'}",
            "Name one of these as select.metric.",
        )
        for column in columns
        if column not in study.trials.columns
    ]
    if faults:
        raise BadInput(faults)


def _shortfall(study: Records, candidates: pd.DataFrame) -> str:
    best, floor = candidates.iloc[0], study.floor
    assert floor is not None, "only a floor can fail a candidate"
    points = 100 * (floor.value - best[ID_ACCURACY])
    return (
        f"{study.folder.path}: none of the {len(candidates)} finished trials reaches the floor on "
        f"ID accuracy, {floor.value:.4f}{f' ({floor.how})' if floor.how else ''}. "
        f"The nearest is trial {best['trial_id']} with {best[ID_ACCURACY]:.4f}, {points:.2f} "
        "points short. Run more trials, search gentler margins, or lower the floor on purpose."
    )


def scores_at(study: Records, trial_id: str, epoch: int) -> dict[str, SetScores]:
    """The scores file of a trial cut to one epoch: every (E, N) array has one row.

    Raises:
        BadInput: if the file is missing, broken, or lacks the epoch.
    """
    scores = study.scores(trial_id)
    try:
        row = scores.at(epoch)
    except KeyError as error:
        place = str(study.folder.trial_scores(trial_id))
        raise BadInput(Fault(place, "epochs", str(error.args[0]))) from error
    return one_epoch(scores, row)


def one_epoch(scores: ValidationScores, row: int) -> dict[str, SetScores]:
    """Keep one row of every (E, N) array."""
    return {
        name: SetScores(
            {key: values[row : row + 1] for key, values in one.scores.items()},
            one.prediction[row : row + 1],
            one.label,
            one.image,
            one.group,
        )
        for name, one in scores.sets.items()
    }


def base_scores(study: Records) -> dict[str, SetScores] | None:
    """Scores of the base on the validation sets, its one epoch; None where none were kept."""
    if not study.has_scores(BASE):
        return None
    scores = study.scores(BASE)
    return one_epoch(scores, len(scores.epochs) - 1)


def metric_interval(
    study: Records,
    scores: dict[str, SetScores],
    metric: str,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """95 % percentile interval of a summary metric of one model.

    The metric is the mean over the OOD validation sets of the study's own score; ID images are
    drawn once a resample for all sets.

    Returns:
        None where the metric does not follow from the per-image scores (``val/objective``).
    """
    name = metric.removeprefix("val/")
    resampler = Resampler.of(scores, num_resamples, seed)
    if name == "id_accuracy":
        one = scores[VAL_ID]
        correct = {"model": one.prediction[0] == one.label}
        return percentile_interval(resampled_accuracy(correct, resampler)["model"])
    parts = name.split("/")
    set_name, score = (parts[0], parts[1]) if len(parts) == 3 else (None, study.own_score)
    if parts[-1] not in OOD_METRICS:
        return None
    values = {s: one.scores[score][0] for s, one in scores.items() if s in (VAL_ID, set_name)}
    if set_name is None:
        values = {s: one.scores[score][0] for s, one in scores.items()}
    drawn = resampled_metrics({"model": values}, resampler, metrics=[parts[-1]])["model"]
    return percentile_interval(np.mean([one[parts[-1]] for one in drawn.values()], axis=0))


def summary_row(selection: Selection) -> dict[str, Any]:
    """The choice as plain values, as ``--json`` prints it."""
    low_high = list(selection.interval) if selection.interval else None
    return {
        "trial_id": selection.trial_id,
        "epoch": selection.epoch,
        "rule": selection.rule,
        "metric": selection.metric,
        "value": selection.value,
        "interval": low_high,
        "score": selection.score,
        "threshold": selection.threshold,
    }
