"""What can be had at once: OOD detection against ID accuracy (and time), and how sure that is.

Where trials are paths from the base, every recorded state of a finished one counts; else each
trial as it stands at its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.choice.selection import Place, best_trial, place_of, scores_at
from analysis.statistics.bootstrap import Resampler, metrics_of_models, resampled_accuracy
from analysis.tables import Records, alphas_of, direction_of, require_metrics
from study.errors import BadInput
from study.records.files import VAL_ID
from study.scoring.intervals import percentile_interval
from study.scoring.measuring import OOD_METRICS
from study.scoring.objective import ALPHA, ID_ACCURACY

Floats = NDArray[np.float64]
TIME = "time_s"
BAND_RESAMPLES = 200
_MOST = 40  # states whose scores are resampled: the front and the layers right behind it
_STATE = ["trial_id", "epoch", "alpha"]
_LAYERS = 3


def pareto(study: Records, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
    """States of finished trials that no other one beats in everything.

    Args:
        study: its records.
        metrics: what counts; the study's detection metric and ID accuracy where None. ``time_s``
            (seconds, less is better) may be among them.

    Returns:
        trial_id, epoch, alpha (place on the path from the base, 1 as trained) and the metrics
        (fractions), by rising ID accuracy. Equal points are all kept; of one trial's the last,
        and the base, where all paths begin, once. Empty if nothing finished.

    Raises:
        BadInput: for a metric that is unknown or was not recorded.
    """
    metrics = metrics or (study.detection_metric, ID_ACCURACY)
    states = states_of(study, metrics)
    front = states[efficient(_costs(states, metrics))].drop_duplicates(
        ["trial_id", *metrics], keep="last"
    )
    front = front[[*_STATE, *metrics]].sort_values([metrics[-1], "trial_id"])
    again = (front["alpha"] == 0) & front.duplicated(["alpha", *metrics])
    return front[~again].reset_index(drop=True)


def states_of(study: Records, metrics: Sequence[str]) -> pd.DataFrame:
    """Every state of the finished trials that has the metrics.

    Returns:
        trial_id, epoch, alpha and the metrics; ``time_s`` is of the whole trial.
    """
    trials = _finished(study, metrics)
    own = trials[["trial_id", *metrics]]
    own = own.assign(epoch=trials["checkpoint_epoch"], alpha=alphas_of(trials))
    per_state = [metric for metric in metrics if metric != TIME]
    if not set(per_state) <= set(study.states.columns):
        return own[[*_STATE, *metrics]]
    whole = trials[["trial_id", *(metric for metric in metrics if metric == TIME)]]
    states = study.states.rename(columns={ALPHA: "alpha"})[[*_STATE, *per_state]]
    states = states.merge(whole, on="trial_id")
    pathless = own[~own["trial_id"].isin(states["trial_id"])]
    return pd.concat([states, pathless[[*_STATE, *metrics]]], ignore_index=True)


def _finished(study: Records, metrics: Sequence[str]) -> pd.DataFrame:
    if not len(study.trials):
        columns = ["trial_id", "checkpoint_epoch", *metrics]
        return pd.DataFrame(columns=columns).astype(dict.fromkeys(metrics, "float64"))
    require_metrics(study, metrics)
    rows: pd.DataFrame = study.trials[study.trials["status"] == "finished"]
    whole = np.isfinite(rows[list(metrics)].to_numpy(dtype=np.float64)).all(axis=1)
    whole_rows: pd.DataFrame = rows.loc[whole]
    return whole_rows


def _signs(metrics: Sequence[str]) -> Floats:
    lower = [metric == TIME or direction_of(metric) == "min" for metric in metrics]
    return np.where(lower, 1.0, -1.0)


def _costs(rows: pd.DataFrame, metrics: Sequence[str]) -> Floats:
    return np.asarray(rows[list(metrics)].to_numpy(dtype=np.float64) * _signs(metrics))


def efficient(costs: Floats) -> NDArray[np.bool_]:
    """Which points are not dominated.

    Args:
        costs: (N, D), lower is better in each column.

    Returns:
        (N,) True where no other point is at most as costly everywhere and cheaper somewhere.
    """
    left = np.ones(len(costs), dtype=np.bool_)
    # The cheapest in sum is on the front; then the cheapest of what it leaves, and so on.
    for one in np.lexsort((*costs.T, costs.sum(axis=1))):
        if left[one]:
            own = costs[one]
            left &= ~((own <= costs).all(axis=1) & (own < costs).any(axis=1))
    return left


def dominators(study: Records, trial_id: str) -> list[str]:
    """Finished trials above the floor that beat a trial in detection and ID accuracy alike.

    Empty for a trial that may be recommended.
    """
    metrics = (study.detection_metric, ID_ACCURACY)
    rows = _finished(study, metrics)
    if study.floor:
        rows = rows[(rows[ID_ACCURACY] >= study.floor.value) | (rows["trial_id"] == trial_id)]
    costs, names = _costs(rows, metrics), rows["trial_id"].astype(str).tolist()
    if trial_id not in names:
        return []
    own = costs[names.index(trial_id)]
    beats = (costs <= own).all(axis=1) & (costs < own).any(axis=1)
    return [name for name, better in zip(names, beats, strict=True) if better]


def hypervolume(costs: Floats, reference: Floats) -> float:
    """Volume that points dominate, up to a reference point; 0 where none is better than it.

    By slicing along the last axis (Zitzler, 1999), exact in any dimension.

    Args:
        costs: (N, D), lower is better in each column.
        reference: (D,), the worst that counts.
    """
    points = costs[(costs < reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[np.argsort(points[:, -1], kind="stable")]
    edges = np.append(points[:, -1], reference[-1])
    volume = 0.0
    for i, thickness in enumerate(np.diff(edges)):
        if thickness > 0:
            volume += thickness * hypervolume(points[: i + 1, :-1], reference[:-1])
    return float(volume)


@dataclass(frozen=True)
class Front:
    """The front of a study with what the bootstrap over images says of it.

    Attributes:
        table: ``pareto``'s columns; for each resampled metric ``<metric>_low`` and
            ``<metric>_high`` (95 %); on_front, the share of resamples in which the state is on
            the front (missing without scores); chosen, whether the study's rule picks it.
        metrics: the two or three that count.
        reference: the point from which the hypervolume is measured, one value a metric.
        hypervolume: of the front, as a share of the box between the reference and the best
            possible point (FPR95 0, ID accuracy 1, time 0), so it lies in [0, 1].
        low: of the hypervolume, 95 % interval; NaN where no scores were kept.
        high: the same.
        accuracy: (G,) a grid of ID accuracy.
        band_low: (G,) 2.5 % quantile of the best detection metric among states with at least that
            ID accuracy, over the resamples where some state has it; NaN where that is less than
            half of them. Empty without scores.
        band_high: (G,) 97.5 % quantile.
        num_resampled: states whose scores were resampled.
        note: a sentence on what could not be done; empty where all could.
    """

    table: pd.DataFrame
    metrics: tuple[str, ...]
    reference: tuple[float, ...]
    hypervolume: float
    low: float
    high: float
    accuracy: Floats
    band_low: Floats
    band_high: Floats
    num_resampled: int
    note: str = ""


def front_of(
    study: Records, *, with_time: bool = False, num_resamples: int = BAND_RESAMPLES
) -> Front:
    """The front with its bootstrap band and its hypervolume.

    Images are resampled by source group, ID and OOD apart, the same for all states, from the
    stored scores; the states of the first three layers of dominance take part, at most 40. The
    reference point is the worst that there can be: FPR95 = 1 (0 for a metric to be raised), ID
    accuracy = 0, and the longest time of a finished trial.

    Args:
        study: its records.
        with_time: whether training time is a third axis (a trial's own, not resampled).
        num_resamples: of the bootstrap.

    Raises:
        BadInput: where a metric was not recorded.
    """
    metrics = (study.detection_metric, ID_ACCURACY) + ((TIME,) if with_time else ())
    finished = states_of(study, metrics)
    table = pareto(study, (metrics[0], *metrics[2:], ID_ACCURACY))
    table = table[[*_STATE, *metrics]]
    table["chosen"] = _is_chosen(study, table)
    reference = _reference(finished, metrics)
    costs = _costs(finished, metrics)
    rows = finished[_near(costs)].head(_MOST)
    values, note = _resampled(study, rows, metrics, num_resamples)
    low = high = np.nan
    grid, band = np.empty(0), (np.empty(0), np.empty(0))
    if values is None:
        table["on_front"] = np.nan
    else:
        signs = _signs(metrics)
        volumes = [_share(one * signs, metrics, reference) for one in values]
        low, high = percentile_interval(np.array(volumes))
        table = _with_intervals(table, rows, values, metrics)
        grid = _grid(table, study)
        band = _band(values, grid, signs)
    num_resampled = 0 if values is None else len(rows)
    volume = _share(costs, metrics, reference)
    return Front(
        table, metrics, reference, volume, low, high, grid, *band, num_resampled, note
    )  # fmt: skip


def _is_chosen(study: Records, states: pd.DataFrame) -> pd.Series:
    """Which of the states the study's rule picks."""
    best = best_trial(study)
    if best is None:
        return pd.Series(False, states.index)
    trial_id, epoch, alpha = place_of(study, best)
    same = (states["trial_id"] == trial_id) & (states["epoch"] == epoch)
    return same & np.isclose(states["alpha"].astype(float), alpha)


def _reference(finished: pd.DataFrame, metrics: Sequence[str]) -> tuple[float, ...]:
    worst = 1.0 if _signs(metrics[:1])[0] > 0 else 0.0
    longest = (float(finished[TIME].max()) if len(finished) else 1.0,) if TIME in metrics else ()
    return (worst, 0.0, *longest)


def _share(costs: Floats, metrics: Sequence[str], reference: tuple[float, ...]) -> float:
    signs = _signs(metrics)
    ideal = np.where(signs > 0, 0.0, 1.0) * signs
    worst = np.asarray(reference) * signs
    box = float(np.prod(worst - ideal))
    return hypervolume(costs, worst) / box if box > 0 and len(costs) else 0.0


def _near(costs: Floats) -> NDArray[np.bool_]:
    """The first layers of dominance: only they can be on the front of a resample, by and large."""
    left, near = np.ones(len(costs), dtype=bool), np.zeros(len(costs), dtype=bool)
    for _ in range(_LAYERS):
        if left.any():
            layer = np.flatnonzero(left)[efficient(costs[left])]
            near[layer], left[layer] = True, False
    return near


def _resampled(
    study: Records, rows: pd.DataFrame, metrics: Sequence[str], num: int
) -> tuple[Floats | None, str]:
    """(B, N, D) values of the resamples, or None and why not."""
    name = metrics[0].removeprefix("val/")
    if name not in OOD_METRICS:
        return None, f"No band: {metrics[0]} does not follow from the per-image scores."
    if not len(rows):
        return None, "No trial finished, so there is no front."
    score = study.own_score
    models, right, sets = {}, {}, {}
    try:
        for key in _keys(rows):
            sets = scores_at(study, *key)
            models[str(key)] = {s: one.scores[score][0] for s, one in sets.items()}
            right[str(key)] = sets[VAL_ID].prediction[0] == sets[VAL_ID].label
    except (BadInput, KeyError) as error:
        return None, f"No band: {error}"
    resampler = Resampler.of(sets, num, study.seed)
    drawn = metrics_of_models(models, resampler, metrics=[name])
    accuracy = resampled_accuracy(right, resampler)
    parts = []
    for name_of, time_s in zip(map(str, _keys(rows)), rows.get(TIME, rows.index), strict=True):
        detection = np.mean([one[name] for one in drawn[name_of].values()], axis=0)
        extra = [np.full(num, float(time_s))] if TIME in metrics else []
        parts.append(np.column_stack([detection, accuracy[name_of], *extra]))
    return np.stack(parts, axis=1), ""


def _keys(states: pd.DataFrame) -> list[Place]:
    each = zip(states["trial_id"], states["epoch"], states["alpha"], strict=True)
    return [(str(trial_id), int(epoch), float(alpha)) for trial_id, epoch, alpha in each]


def _with_intervals(
    table: pd.DataFrame, states: pd.DataFrame, values: Floats, metrics: Sequence[str]
) -> pd.DataFrame:
    on_front = np.mean([efficient(one * _signs(metrics)) for one in values], axis=0)
    index = {key: i for i, key in enumerate(_keys(states))}
    rows: list[dict[str, float]] = []
    for key in _keys(table):
        i = index.get(key)
        row = {"on_front": np.nan if i is None else float(on_front[i])}
        for d, metric in enumerate(m for m in metrics if m != TIME):
            ends = (np.nan, np.nan) if i is None else tuple(percentile_interval(values[:, i, d]))
            row |= {f"{metric}_low": ends[0], f"{metric}_high": ends[1]}
        rows.append(row)
    return table.join(pd.DataFrame(rows, index=table.index))


def _grid(table: pd.DataFrame, study: Records) -> Floats:
    low, high = float(table[ID_ACCURACY].min()), float(table[ID_ACCURACY].max())
    low = min(low, study.floor.value) if study.floor else low
    return np.linspace(low, high, 60)


def _band(values: Floats, grid: Floats, signs: Floats) -> tuple[Floats, Floats]:
    detection, accuracy = values[:, :, 0] * signs[0], values[:, :, 1]
    best = np.stack([np.where(accuracy >= x, detection, np.inf).min(axis=1) for x in grid], axis=1)
    told = np.isfinite(best).mean(axis=0) >= 0.5
    ends = np.full((2, len(grid)), np.nan)
    finite = np.where(np.isfinite(best), best, np.nan)[:, told]
    ends[:, told] = np.nanquantile(finite, [0.025, 0.975], axis=0) * signs[0]
    return ends.min(axis=0), ends.max(axis=0)
