"""Metrics of scores in float64, with NumPy alone: of two sets, and of their resamples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from study.errors import StudyFailed
from study.scoring.metrics import METRICS, Metric
from study.scoring.ranking import RECALL, Counts, Floats, Ranking, Tally, Weights, needed

OOD_METRICS: Final = tuple(name for name, one in METRICS.items() if one.compute)
"""Those that `ood_metrics` computes from the scores of an ID and an OOD set."""

# Resamples are worked through in blocks of about this many counts (8 MB an array of float32).
BLOCK: Final = 2_000_000


def ood_metrics(
    id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, names: Iterable[str] = OOD_METRICS
) -> dict[str, float]:
    """Metrics of one ID set against one OOD set.

    Args:
        id_scores: OOD scores of the ID images, shape (num_id,), higher = more OOD.
        ood_scores: OOD scores of the OOD images, shape (num_ood,).
        names: which of `OOD_METRICS`.

    Returns:
        Metric name -> value.

    Raises:
        ValueError: if a set is empty, not 1-D, or holds a score that is not finite, or for an
            unknown name.
        StudyFailed: naming a metric that gives no finite number.
    """
    id_, ood = _checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores")
    weights = Weights.once(id_.size), Weights.once(ood.size)
    values = weighted_metrics(id_, ood, *weights, names)
    return {name: float(one[0]) for name, one in values.items()}


def ood_metric(name: str, id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    """One metric of one ID set against one OOD set; see `ood_metrics`."""
    return ood_metrics(id_scores, ood_scores, [name])[name]


def resampled_metrics(
    id_scores: npt.ArrayLike,
    ood_scores: npt.ArrayLike,
    id_counts: Counts,
    ood_counts: Counts,
    names: Iterable[str] = ("fpr95", "auroc"),
) -> dict[str, Floats]:
    """Metrics of many resamples of one pair of sets, without building a resample.

    Equal to `ood_metrics` of ``np.repeat(scores, counts)``, row by row. To compare two models,
    pass the same counts for both.

    Args:
        id_scores: OOD scores of the ID images, shape (num_id,), higher = more OOD.
        ood_scores: OOD scores of the OOD images, shape (num_ood,).
        id_counts: how often each ID image is in each resample, integers, shape (B, num_id);
            see `study.scoring.ranking.bootstrap_counts`.
        ood_counts: the same for the OOD images, shape (B, num_ood).
        names: which of `OOD_METRICS`.

    Returns:
        Metric name -> values, shape (B,).

    Raises:
        ValueError: as `ood_metrics`, or for counts of another shape or type, negative counts, or
            a resample without an image.
    """
    id_, ood = _checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores")
    wanted = tuple(names)
    _check_counts(id_counts, id_, "id_counts")
    _check_counts(ood_counts, ood, "ood_counts")
    if len(id_counts) != len(ood_counts):
        raise ValueError(f"{len(id_counts)} resamples of ID, {len(ood_counts)} of OOD")
    step = max(1, BLOCK // (id_.size + ood.size))
    blocks = [
        weighted_metrics(
            id_,
            ood,
            Weights.of(id_counts[start : start + step]),
            Weights.of(ood_counts[start : start + step]),
            wanted,
        )
        for start in range(0, len(id_counts), step)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in wanted}


def weighted_metrics(
    id_scores: Floats,
    ood_scores: Floats,
    id_weights: Weights,
    ood_weights: Weights,
    names: Iterable[str] = OOD_METRICS,
) -> dict[str, Floats]:
    """Metrics under B weightings of the images.

    Args:
        id_scores: of the ID images, (N,), finite, higher = more OOD.
        ood_scores: of the OOD images, (M,).
        id_weights: weightings of the ID images.
        ood_weights: as many of the OOD images.
        names: which of `OOD_METRICS`.

    Returns:
        Metric name -> values, shape (B,).

    Raises:
        ValueError: for an unknown name.
        StudyFailed: naming a metric that gives no finite number a weighting.
    """
    wanted = tuple(names)
    if unknown := [name for name in wanted if name not in OOD_METRICS]:
        raise ValueError(f"unknown metrics {unknown}; there are {list(OOD_METRICS)}")
    values = dict.fromkeys(wanted, np.empty(0))
    for positive_ood in (False, True):
        here = [name for name in wanted if (METRICS[name].positive == "ood") == positive_ood]
        if not here:
            continue
        if positive_ood:
            tally = Tally(Ranking(-ood_scores, -id_scores), ood_weights, id_weights)
        else:
            tally = Tally(Ranking(id_scores, ood_scores), id_weights, ood_weights)
        values |= {name: _computed(METRICS[name], tally) for name in here}
    return values


def fpr_at_recall(
    id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, recall: float = RECALL
) -> float:
    """Share of OOD accepted at the first threshold that accepts ``recall`` of ID.

    Args:
        id_scores: OOD scores of the ID images, shape (num_id,), higher = more OOD.
        ood_scores: OOD scores of the OOD images, shape (num_ood,).
        recall: share of ID to accept, in (0, 1].

    Returns:
        A fraction in [0, 1]; `fpr95` where ``recall`` is .95.

    Raises:
        ValueError: as `ood_metrics`, or if ``recall`` is outside (0, 1].
    """
    threshold = threshold_at_recall(id_scores, recall)
    return float(np.mean(_checked(ood_scores, "ood_scores") <= threshold))


def threshold_at_recall(id_scores: npt.ArrayLike, recall: float = RECALL) -> float:
    """The lowest score t such that at least ``recall`` of ID has a score <= t.

    An image is accepted as ID where its score is <= t. The threshold needs ID images only.

    Args:
        id_scores: OOD scores of the ID images, shape (num_id,), higher = more OOD.
        recall: share of ID to accept, in (0, 1].

    Raises:
        ValueError: if ``id_scores`` is empty, not 1-D or not finite, or ``recall`` is outside
            (0, 1].
    """
    scores = _checked(id_scores, "id_scores")
    rank = int(needed(np.array([scores.size]), recall)[0]) - 1
    return float(np.partition(scores, rank)[rank])


def _computed(metric: Metric, tally: Tally) -> Floats:
    assert metric.compute is not None
    values = np.asarray(metric.compute(tally), dtype=np.float64)
    if values.shape != (tally.positives.num,):
        rule = f"gives shape {values.shape} for {tally.positives.num} weightings"
        raise StudyFailed(f"metric {metric.name}: {rule}")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        rule = f"gives {values[~np.isfinite(values)][0]} for {bad} of {values.size} weightings"
        raise StudyFailed(f"metric {metric.name}: {rule}")
    return values


def _checked(scores: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name}: shape {array.shape}, must be (N,) with N >= 1")
    if num_bad := int(np.count_nonzero(~np.isfinite(array))):
        first = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(
            f"{name}: {num_bad} of {array.size} scores are not finite, "
            f"the first at index {first}: {array[first]}"
        )
    return array


def _check_counts(counts: Counts, scores: Floats, name: str) -> None:
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] != scores.size or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: {array.dtype} of shape {array.shape}, must be integers (B, {scores.size})"
        )
    if array.size and array.min() < 0:
        raise ValueError(f"{name}: negative counts")
    if not array.any(axis=1).all():
        raise ValueError(f"{name}: a resample holds no image")
