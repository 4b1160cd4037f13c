"""Which trial: the stated rule, its floor, and how sure the winning number is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.bases import base_name
from analysis.choice.cells import NoScores, cells_of_study, configurations, numbered
from analysis.choice.corrected import mean_interval
from analysis.statistics.bootstrap import (
    NUM_RESAMPLES,
    Resampler,
    interval_of,
    metrics_of_models,
    resampled_accuracy,
)
from analysis.tables import Records, alphas_of, direction_of, require_metrics
from study.errors import BadInput, Fault, StudyFailed
from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.intervals import Interval
from study.scoring.measuring import OOD_METRICS, ood_metric, threshold_at_recall
from study.scoring.objective import ALPHA, FLOOR_HOLDS, ID_ACCURACY
from study.scoring.ranking import RECALL

TIE_BREAK = "val/auroc"
FEW_CANDIDATES = 5  # under which a choice says how few it was made among
NOTHING_BEAT_THE_BASE = "Nothing beat the base: the chosen state is the base itself (alpha 0)"
Place = tuple[str, int, float]
"""A state of a trial: its id, an epoch, and the place on the path from the base; 1 as trained."""


class NoSelection(StudyFailed):
    """No trial may be chosen. Exit code 1.

    Attributes:
        why: as sentences; the message has the run's folder before them.
    """

    def __init__(self, study: Records, why: str) -> None:
        super().__init__(f"{study.folder.path}: {why}")
        self.why = why


@dataclass(frozen=True)
class Selection:
    """A choice, and the numbers behind it.

    Attributes:
        trial_id: the chosen trial; of a configuration with several seeds its median one.
        epoch: its epoch, by the checkpoint rule.
        alpha: place on the path from the base to that epoch's weights; 1 as trained, 0 the base.
        rule: the rule as one sentence.
        metric: what was ranked by, such as ``val/fpr95``.
        value: the chosen trial's value, a fraction; the mean over ``seed_trials``.
        interval: of ``value``, over images by source group; None where the per-image scores are
            missing or the metric is none that follows from them.
        score: name of the OOD score.
        threshold: of the score, at 95 % ID recall on validation ID; None without scores.
        candidates: see ``rank_candidates``.
        num_resamples: of the bootstrap.
        seed: of the bootstrap.
        seed_trials: finished trials of the chosen configuration, itself among them.
    """

    trial_id: str
    epoch: int
    alpha: float
    rule: str
    metric: str
    value: float
    interval: Interval | None
    score: str
    threshold: float | None
    candidates: pd.DataFrame
    num_resamples: int
    seed: int
    seed_trials: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """The chosen state."""
        return self.trial_id, self.epoch, self.alpha

    @property
    def is_base(self) -> bool:
        """Whether the chosen state is the base's own, the beginning of the path."""
        return self.alpha == 0

    @property
    def few(self) -> str:
        """That a search had very few candidates to choose among, as a sentence; else empty."""
        num = int(self.candidates["passes_floor"].sum())
        if num >= FEW_CANDIDATES or self.candidates["arm"].notna().any():
            return ""
        one = "one candidate" if num == 1 else f"{num} candidates"
        return (
            f"Chosen among {one} only: with fewer than {FEW_CANDIDATES} a search has hardly "
            "begun, and what it would find is not known. More trials: --extend, or a larger "
            "tune.finish."
        )

    @property
    def compared(self) -> list[str]:
        """Every trial that had a part in the selection."""
        return sorted(name for names in self.candidates["seed_trials"] for name in names)


def select(
    study: Records, num_resamples: int = NUM_RESAMPLES, *, seed: int | None = None
) -> Selection:
    """Choose a trial by the study's own rule.

    Finished trials above the floor are ranked by the metric, then AUROC, then trial id. Trials
    with the same parameters and other seeds are one candidate, with the means over its seeds:
    the luckiest seed wins nothing, and the median one is exported.

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
        raise NoSelection(study, _shortfall(study, candidates))
    seed = study.seed if seed is None else seed
    trial_id, epoch, alpha = str(best["trial_id"]), int(best["epoch"]), float(best["alpha"])
    interval = threshold = None
    if study.has_scores(trial_id):
        scores = scores_at(study, trial_id, epoch, alpha)
        if len(best["seed_trials"]) > 1:
            interval = _mean_interval(study, best["seed_trials"], num_resamples, seed)
        else:
            interval = metric_interval(study, scores, study.metric, num_resamples, seed)
        threshold = float(threshold_at_recall(scores[VAL_ID].scores[study.own_score][0], RECALL))
    return Selection(
        trial_id=trial_id,
        epoch=epoch,
        alpha=alpha,
        rule=describe_rule(study),
        metric=study.metric,
        value=float(best[study.metric]),
        interval=interval,
        score=study.own_score,
        threshold=threshold,
        candidates=candidates,
        num_resamples=num_resamples,
        seed=seed,
        seed_trials=best["seed_trials"],
    )


def best_trial(study: Records) -> str | None:
    """The trial that ranks first above the floor, None where there is none."""
    try:
        first = rank_candidates(study).iloc[0]
    except NoSelection:
        return None
    return str(first["trial_id"]) if first["passes_floor"] else None


def place_in(row: pd.Series) -> Place:
    """The state that stands for a trial, from its row of trials.parquet."""
    alpha = row.get(ALPHA, 1.0)
    epoch = int(row["checkpoint_epoch"])
    return str(row["trial_id"]), epoch, 1.0 if pd.isna(alpha) else float(alpha)


def place_of(study: Records, trial_id: str | None, epoch: int | None = None) -> Place:
    """A state: of the trial and the epoch named, else of the chosen ones.

    Of the epoch that stands for a trial it is the one that does; of others the trained weights.

    Raises:
        NoSelection: where none is named, and none chosen.
        BadInput: where the trial named has no checkpoint, and no epoch is named.
    """
    if trial_id is None:
        chosen = select(study, 1)
        trial_id, epoch = chosen.trial_id, chosen.epoch if epoch is None else epoch
    rows = study.trials[study.trials["trial_id"] == trial_id]
    own = rows[rows["checkpoint_epoch"].notna()]
    if epoch is None and own.empty:
        rule = f"trial {trial_id} has no checkpoint"
        raise BadInput(Fault(str(study.folder.trials), "trial_id", rule, "Name an epoch."))
    if epoch is None or (own["checkpoint_epoch"] == epoch).any():
        return place_in(own.iloc[0])
    return trial_id, epoch, 1.0


def _mean_interval(
    study: Records, trial_ids: tuple[str, ...], num_resamples: int, seed: int
) -> Interval | None:
    """Of the mean over the seeds; None where their scores do not allow it."""
    try:
        cells = cells_of_study(study, trial_ids)
    except NoScores:
        return None
    rows = study.trials.set_index("trial_id").loc[list(cells.trial_ids)]
    epochs, alphas = rows["checkpoint_epoch"].to_numpy(np.int64), alphas_of(rows).to_numpy()
    here = (cells.epoch == epochs[cells.trial]) & np.isclose(cells.alpha, alphas[cells.trial])
    one = cells.only(np.flatnonzero(here))
    return mean_interval(one, num_resamples=num_resamples, seed=seed)


def describe_rule(study: Records) -> str:
    """The selection rule as one sentence that a paper could print."""
    extreme = "lowest" if direction_of(study.metric) == "min" else "highest"
    floor, where = study.floor, ""
    if floor:
        name = f" ({floor.how})" if floor.how else ""
        sure = f", {floor.sure}" if floor.sure else ""
        where = f" with {ID_ACCURACY} >= {floor.value:.4f}{name}{sure}"
    last = study.checkpoint_rule == "last"
    epoch = "its last epoch" if last else "its best epoch"
    by = (
        "above the floor, then the lowest val/objective, "
        if floor
        else "the lowest val/objective, "
    )
    if study.has_path:
        epoch += " and the best place there on the path from the base to its weights"
    if study.has_path or not last:
        epoch += f" ({by}the earliest of equals)"
    who, exported = "among finished trials", ""
    if study.section("ablate"):
        who = "of the means over seeds, among arms that finished at more than half of their seeds"
        exported = " The arm's median seed is exported, among its seeds that hold the floor."
    return (
        f"The {extreme} {study.metric} {who}{where}, each taken at {epoch}; "
        f"ties go to the higher {TIE_BREAK}, then to the smaller trial id.{exported}"
    )


def rank_candidates(study: Records) -> pd.DataFrame:
    """Finished trials, best first by the study's rule.

    Returns:
        One row a configuration: trial_id (of several seeds the median one's), epoch (int), alpha
        (place on the path from the base, 1 as trained), the metric, val/auroc, val/id_accuracy
        and, where the floor has a confidence, val/floor_holds (fractions, means over its seeds),
        passes_floor (of the mean, bool), rank (Int64, missing under the floor), num_seeds,
        seed_trials (tuple of trial ids), arm (of an ablation, else missing).

    Raises:
        NoSelection: if no trial finished, or no arm at more than half of its seeds.
        BadInput: if the metric is unknown or absent.
    """
    sign = 1.0 if direction_of(study.metric) == "min" else -1.0
    finished = _finished(study)
    sure = [FLOOR_HOLDS] if study.floor and study.floor.confidence is not None else []
    columns = list(dict.fromkeys([study.metric, TIE_BREAK, ID_ACCURACY, *sure]))
    way_out = "Name one of these as select.metric."
    require_metrics(study, [*columns, "checkpoint_epoch"], way_out)
    table = _by_configuration(study, _with_numbers(study, finished, columns), columns, sign)
    floor = study.floor
    passes = table[ID_ACCURACY] >= (floor.value if floor else -np.inf)
    if floor and floor.confidence is not None:
        passes = table[FLOOR_HOLDS] >= floor.confidence
    table["passes_floor"] = passes
    # Under the floor the nearest miss comes first.
    miss = np.where(passes, 0.0, -table[ID_ACCURACY])
    keys = [~passes, miss, sign * table[study.metric], -table[TIE_BREAK], table["trial_id"]]
    order = pd.DataFrame(dict(enumerate(keys))).sort_values([*range(len(keys))], kind="stable")
    table = table.loc[order.index].reset_index(drop=True)
    ranks = pd.Series(range(1, len(table) + 1), dtype="Int64")
    table["rank"] = ranks.where(table["passes_floor"])
    last = ["passes_floor", "rank", "num_seeds", "seed_trials", "arm"]
    return table[["trial_id", "epoch", "alpha", *columns, *last]]


def _with_numbers(study: Records, finished: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Without the trials that lack a number to be ranked by."""
    whole = np.isfinite(finished[columns].to_numpy(dtype=np.float64)).all(axis=1)
    whole &= finished["checkpoint_epoch"].notna().to_numpy(dtype=bool)
    if not whole.any():
        raise NoSelection(
            study,
            f"none of the {len(finished)} finished trials has numbers for "
            f"{', '.join(columns)}, so nothing to choose.",
        )
    kept: pd.DataFrame = finished.loc[whole]
    return kept


def _by_configuration(
    study: Records, finished: pd.DataFrame, columns: list[str], sign: float
) -> pd.DataFrame:
    """One row for all trials that differ in their seed alone."""
    planned = len(study.section("ablate").get("seeds") or ())
    number = numbered(configurations(study, finished))
    if planned < 2 and len(set(number)) == len(finished):  # thousands, each its own
        epoch, alpha = finished["checkpoint_epoch"].astype("int64"), alphas_of(finished)
        table = finished[["trial_id"]].assign(epoch=epoch, alpha=alpha, **finished[columns])
        alone = pd.Series([(str(name),) for name in table["trial_id"]], table.index)
        arm = finished["arm"] if planned and "arm" in finished.columns else None
        table = table.assign(num_seeds=1, seed_trials=alone, arm=arm)
        return table.reset_index(drop=True)
    rows: list[dict[str, Any]] = []
    for _, group in finished.groupby(number, sort=True):
        if 2 * len(group) <= planned:
            continue  # the mean of few seeds is lucky more easily than that of many
        one = _median_seed(study, group, sign)
        row: dict[str, Any] = dict(zip(("trial_id", "epoch", "alpha"), place_in(one), strict=True))
        row |= {name: float(group[name].mean()) for name in columns}
        row |= {"num_seeds": len(group), "seed_trials": tuple(group["trial_id"])}
        rows.append(row | {"arm": one.get("arm") if planned else None})
    if not rows:
        raise NoSelection(
            study,
            f"no arm finished at more than half of its {planned} seeds, so "
            "nothing to choose. Go on with it: run_study.py --resume.",
        )
    return pd.DataFrame(rows)


def _median_seed(study: Records, group: pd.DataFrame, sign: float) -> pd.Series:
    """The trial of the median metric, of an even number the worse of the middle two.

    Among those that hold the floor, where any does: no trial under it is ever exported.
    """
    floor = study.floor
    above = group[group[ID_ACCURACY] >= floor.value] if floor else group
    group = group if above.empty else above
    order = (sign * group[study.metric]).argsort(kind="stable")
    return group.iloc[int(order.iloc[len(order) // 2])]


def _finished(study: Records) -> pd.DataFrame:
    if not len(study.trials):
        raise NoSelection(study, "the study has no trials, so nothing to choose.")
    finished = study.trials[study.trials["status"] == "finished"]
    if finished.empty:
        counts = ", ".join(study.counts_told())
        raise NoSelection(
            study,
            f"no trial finished ({counts}), so nothing to choose. "
            "Only finished trials are candidates.",
        )
    return finished


def _shortfall(study: Records, candidates: pd.DataFrame) -> str:
    best, floor = candidates.iloc[0], study.floor
    assert floor is not None, "only a floor can fail a candidate"
    points = 100 * (floor.value - best[ID_ACCURACY])
    what = "arms" if study.section("ablate") else "finished trials"
    how, near = f" ({floor.how})" if floor.how else "", f"{points:.2f} points short"
    if floor.confidence is not None:
        how += f" with a probability of {floor.confidence:.4g}"
        near = f"{best[FLOOR_HOLDS]:.2f} likely to hold it"
    return (
        f"none of the {len(candidates)} {what} reaches the floor on "
        f"ID accuracy, {floor.value:.4f}{how}. "
        f"The nearest is trial {best['trial_id']} with {best[ID_ACCURACY]:.4f}, {near}. "
        "Run more trials, search gentler margins, or lower the floor on purpose."
    )


def scores_at(
    study: Records, trial_id: str, epoch: int, alpha: float = 1.0
) -> dict[str, SetScores]:
    """The scores of a trial cut to one state: every (S, N) array has one row.

    Raises:
        BadInput: if they are missing, broken, or lack the state.
    """
    scores, place = study.scores(trial_id, epochs=[epoch]), study.folder.trial_scores(trial_id)
    if epoch not in scores.epochs:
        scores = study.scores(trial_id)  # to say which ones there are
    try:
        row = scores.at(epoch, alpha)
    except KeyError as error:
        raise BadInput(Fault(str(place), "epochs", str(error.args[0]))) from error
    cut = {name: one.cut(slice(row, row + 1)) for name, one in scores.sets.items()}
    for name, one in cut.items():
        for score, values in one.scores.items():
            if bad := int((~np.isfinite(values)).sum()):
                rule = f"epoch {epoch}: {bad} of {values.size} scores of {name} are no numbers"
                raise BadInput(Fault(str(place), score, rule, "Restore the file."))
    return cut


def base_scores(study: Records, trial_id: str) -> dict[str, SetScores] | None:
    """Validation scores of a trial's base, its one epoch; None where none were kept."""
    name = base_name(study, trial_id)
    if not study.has_scores(name):
        return None
    return {key: one.cut(slice(-1, None)) for key, one in study.scores(name).sets.items()}


def metric_interval(
    study: Records,
    scores: dict[str, SetScores],
    metric: str,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """95 % interval of a summary metric of one model; see ``interval_of``.

    The metric is the mean over the OOD validation sets of the study's own score; ID images are
    drawn once a resample for all sets.

    Returns:
        None where the metric does not follow from the per-image scores (``val/objective``).
    """
    *place, name = metric.removeprefix("val/").split("/")
    resampler = Resampler.of(scores, num_resamples, seed)
    if name == "id_accuracy":
        one = scores[VAL_ID]
        right = one.prediction[0] == one.label
        drawn_right = resampled_accuracy({"model": right}, resampler)["model"]
        sources = resampler.num_sources(VAL_ID)
        return interval_of(name, float(right.mean()), drawn_right, sources)
    if name not in OOD_METRICS:
        return None
    set_name, score = place or (None, study.own_score)
    values = {
        key: one.scores[score][0]
        for key, one in scores.items()
        if set_name is None or key in (VAL_ID, set_name)
    }
    drawn = metrics_of_models({"model": values}, resampler, metrics=[name])["model"]
    point = np.mean([ood_metric(name, values[VAL_ID], values[one]) for one in drawn])
    sources = resampler.num_sources(VAL_ID, list(drawn))
    means = np.mean([one[name] for one in drawn.values()], axis=0)
    return interval_of(name, float(point), means, sources)


def summary_row(selection: Selection) -> dict[str, Any]:
    """The choice as plain values, as ``--json`` prints it."""
    names = ("trial_id", "epoch", "alpha", "rule", "metric", "value", "interval", "score")
    row = {name: getattr(selection, name) for name in (*names, "threshold")}
    row["interval"] = list(selection.interval) if selection.interval else None
    return row | {"seed_trials": list(selection.seed_trials)}
