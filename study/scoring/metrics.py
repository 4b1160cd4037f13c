"""OOD metrics in float64, with NumPy alone: FPR at 95 % recall, AUROC, average precision.

Scores are higher for more OOD, everywhere. Each metric's name says which class is positive:

    fpr95               share of OOD accepted as ID where 95 % of ID is accepted (ID positive;
                        Liu et al. 2020, arXiv:2010.03759)
    fpr95_ood_positive  share of ID rejected where 95 % of OOD is rejected (OOD positive;
                        OpenOOD, arXiv:2306.09301)
    auroc               P(OOD score > ID score) + half of P(equal); the same for both positives
    error_auroc         the same with ID images alone: wrong predictions above right ones
    aupr_in, aupr_out   average precision with ID, with OOD as the positive class; they depend on
                        the sizes of the two sets, so report the sizes beside them

A threshold is the first that reaches the recall, over all points. Public code differs: energy_ood
takes the recall that is nearest to .95 and may lie below it, OpenOOD drops points of the curve.

All of it is counting over sorted scores, so one implementation serves a pair of sets and, with
counts in place of ones, thousands of its bootstrap resamples (`resampled_metrics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]

RECALL: Final = 0.95

METRICS: Final[dict[str, Literal["min", "max"]]] = {
    "fpr95": "min",
    "fpr95_ood_positive": "min",
    "auroc": "max",
    "aupr_in": "max",
    "aupr_out": "max",
    "id_accuracy": "max",
    "error_auroc": "max",
}
"""Every metric that a study reports, and the direction that is better."""

OOD_METRICS: Final = ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out")
"""Those that `ood_metrics` computes from the scores of an ID and an OOD set."""

_OOD_POSITIVE: Final = frozenset({"fpr95_ood_positive", "aupr_out"})
# Resamples are worked through in blocks of about this many counts (32 MB an array of int64).
_BLOCK: Final = 4_000_000


def ood_metrics(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> dict[str, float]:
    """Every metric of `OOD_METRICS` for one ID set against one OOD set.

    Args:
        id_scores: OOD scores of the ID images, shape (num_id,), higher = more OOD.
        ood_scores: OOD scores of the OOD images, shape (num_ood,).

    Returns:
        Metric name -> value, a fraction in [0, 1].

    Raises:
        ValueError: if a set is empty, not 1-D, or holds a score that is not finite.
    """
    id_, ood = _checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores")
    return {name: float(values[0]) for name, values in _evaluate(id_, ood, None, OOD_METRICS)}


def auroc(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    """Probability that an OOD image scores above an ID image, ties counted half.

    Args, errors: as for `ood_metrics`.
    """
    return _single("auroc", id_scores, ood_scores)


def aupr_in(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    """Average precision with ID as the positive class: sum of (R_n - R_(n-1)) P_n.

    Not the trapezoidal area that some libraries report. Args, errors: as for `ood_metrics`.
    """
    return _single("aupr_in", id_scores, ood_scores)


def aupr_out(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    """Average precision with OOD as the positive class. Args, errors: as for `ood_metrics`."""
    return _single("aupr_out", id_scores, ood_scores)


def fpr95_ood_positive(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    """Share of ID rejected at the first threshold that rejects 95 % of OOD.

    Args, errors: as for `ood_metrics`.
    """
    return _single("fpr95_ood_positive", id_scores, ood_scores)


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
    rank = int(_needed(np.array([scores.size]), recall)[0]) - 1
    return float(np.partition(scores, rank)[rank])


def bootstrap_counts(
    groups: npt.ArrayLike, num_resamples: int, generator: np.random.Generator
) -> npt.NDArray[np.int32]:
    """How often each image is in each bootstrap resample of its set, drawn by source group.

    A resample draws as many groups as there are, with replacement, and takes all images of each:
    crops of one source image are not independent of each other. Where each image is a group of
    its own this is the plain bootstrap.

    Args:
        groups: source group of each image, shape (N,), any type that sorts.
        num_resamples: B >= 1.
        generator: source of the draws.

    Returns:
        Counts, shape (B, N). A row sums to N only where all groups are equally large.

    Raises:
        ValueError: if ``groups`` is empty or not 1-D, or ``num_resamples`` < 1.
    """
    labels = np.asarray(groups)
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"groups: shape {labels.shape}, must be (N,) with N >= 1")
    if num_resamples < 1:
        raise ValueError(f"num_resamples: {num_resamples} must be at least 1")
    distinct, group_of_image = np.unique(labels, return_inverse=True)
    num_groups = distinct.size
    drawn = generator.integers(num_groups, size=(num_resamples, num_groups))
    drawn += num_groups * np.arange(num_resamples)[:, None]
    per_group = np.bincount(drawn.ravel(), minlength=num_resamples * num_groups)
    return per_group.astype(np.int32).reshape(num_resamples, num_groups)[:, group_of_image]


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
            see `bootstrap_counts`.
        ood_counts: the same for the OOD images, shape (B, num_ood).
        names: which of `OOD_METRICS`.

    Returns:
        Metric name -> values, shape (B,).

    Raises:
        ValueError: as `ood_metrics`, or for an unknown name, counts of another shape or type,
            negative counts, or a resample without an image.
    """
    id_, ood = _checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores")
    wanted = tuple(names)
    if unknown := [name for name in wanted if name not in OOD_METRICS]:
        raise ValueError(f"unknown metrics {unknown}; there are {list(OOD_METRICS)}")
    _check_counts(id_counts, id_, "id_counts")
    _check_counts(ood_counts, ood, "ood_counts")
    if len(id_counts) != len(ood_counts):
        raise ValueError(f"{len(id_counts)} resamples of ID, {len(ood_counts)} of OOD")
    return dict(_evaluate(id_, ood, (id_counts, ood_counts), wanted))


@dataclass(frozen=True)
class _Ranking:
    """Two sets, sorted so that the most positive image comes first, and where they interleave.

    The last four arrays have one entry for each sorted positive.
    """

    positive_order: npt.NDArray[np.intp]
    negative_order: npt.NDArray[np.intp]
    negatives_before: npt.NDArray[np.intp]
    negatives_up_to: npt.NDArray[np.intp]
    positives_up_to: npt.NDArray[np.intp]

    @classmethod
    def of(cls, positives: Floats, negatives: Floats) -> _Ranking:
        """Rank ``positives`` against ``negatives``; the lower a score, the more positive."""
        positive_order, negative_order = np.argsort(positives), np.argsort(negatives)
        sorted_positives, sorted_negatives = positives[positive_order], negatives[negative_order]
        return cls(
            positive_order,
            negative_order,
            np.searchsorted(sorted_negatives, sorted_positives, "left"),
            np.searchsorted(sorted_negatives, sorted_positives, "right"),
            np.searchsorted(sorted_positives, sorted_positives, "right"),
        )


@dataclass(frozen=True)
class _Tally:
    """Counts of a block of resamples along a ranking.

    Attributes:
        ranking: the order.
        positives: count of each sorted positive, shape (B, num_positives).
        positives_cum: images among the first j sorted positives, shape (B, num_positives + 1).
        negatives_cum: the same for the negatives.
    """

    ranking: _Ranking
    positives: Counts
    positives_cum: Counts
    negatives_cum: Counts

    @classmethod
    def of(cls, ranking: _Ranking, positives: Counts, negatives: Counts) -> _Tally:
        """Cumulate counts given in the sets' own order."""
        sorted_positives = np.take(positives, ranking.positive_order, axis=1)
        sorted_negatives = np.take(negatives, ranking.negative_order, axis=1)
        return cls(
            ranking, sorted_positives, _cumulative(sorted_positives), _cumulative(sorted_negatives)
        )

    def fpr(self) -> Floats:
        """Share of negatives at or before the first positive that reaches `RECALL`."""
        needed = _needed(self.positives_cum[:, -1], RECALL)
        first = np.count_nonzero(self.positives_cum[:, 1:] < needed[:, None], axis=1)
        accepted = self.negatives_cum[np.arange(len(first)), self.ranking.negatives_up_to[first]]
        return np.asarray(accepted / self.negatives_cum[:, -1], dtype=np.float64)

    def auroc(self) -> Floats:
        """Twice the pairs in the right order plus the tied ones, over twice all pairs."""
        total = self.negatives_cum[:, -1]
        not_after = np.take(self.negatives_cum, self.ranking.negatives_before, axis=1)
        not_after += np.take(self.negatives_cum, self.ranking.negatives_up_to, axis=1)
        lost = np.einsum(
            "bn,bn->b", self.positives, not_after, dtype=np.int64, casting="same_kind"
        )
        pairs = 2 * total * self.positives_cum[:, -1]
        return np.asarray((pairs - lost) / pairs, dtype=np.float64)

    def average_precision(self) -> Floats:
        """Mean over the positives of the precision at each one's score, ties included."""
        hits = np.take(self.positives_cum, self.ranking.positives_up_to, axis=1)
        accepted = hits + np.take(self.negatives_cum, self.ranking.negatives_up_to, axis=1)
        # A resample may lack the first images altogether; they have no weight, but no 0/0 either.
        precision = hits / np.maximum(accepted, 1)
        return np.asarray(
            np.einsum("bn,bn->b", self.positives, precision) / self.positives_cum[:, -1],
            dtype=np.float64,
        )

    def metric(self, name: str) -> Floats:
        """Values of the metric ``name``, shape (B,), this ranking's positives positive."""
        if name == "auroc":
            return self.auroc()
        return self.fpr() if name.startswith("fpr95") else self.average_precision()


def _evaluate(
    id_: Floats, ood: Floats, counts: tuple[Counts, Counts] | None, names: Iterable[str]
) -> Iterator[tuple[str, Floats]]:
    """Yield (name, values of shape (B,)); without counts each image counts once and B is 1."""
    if counts is None:
        counts = np.ones((1, id_.size), np.int64), np.ones((1, ood.size), np.int64)
    wanted = tuple(names)
    values = {name: np.empty(len(counts[0])) for name in wanted}
    step = max(1, _BLOCK // (id_.size + ood.size))
    for ood_positive in (False, True):
        here = [name for name in wanted if (name in _OOD_POSITIVE) == ood_positive]
        if not here:
            continue
        ranking = _Ranking.of(-ood, -id_) if ood_positive else _Ranking.of(id_, ood)
        for start in range(0, len(counts[0]), step):
            block = slice(start, start + step)
            id_block, ood_block = counts[0][block], counts[1][block]
            pair = (ood_block, id_block) if ood_positive else (id_block, ood_block)
            tally = _Tally.of(ranking, *pair)
            for name in here:
                values[name][block] = tally.metric(name)
    yield from values.items()


def _single(name: str, id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> float:
    id_, ood = _checked(id_scores, "id_scores"), _checked(ood_scores, "ood_scores")
    return float(next(_evaluate(id_, ood, None, (name,)))[1][0])


def _cumulative(counts: Counts) -> npt.NDArray[np.int64]:
    cumulative = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=cumulative[:, 1:])
    return cumulative


def _needed(totals: Counts, recall: float) -> npt.NDArray[np.int64]:
    """The least k with k / total >= recall, as floats compare, for each total."""
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall: {recall} must be above 0 and at most 1")
    # ceil(recall * total) may be one off either way: .95 * 20 need not be 19 in binary.
    needed: npt.NDArray[np.int64] = np.ceil(recall * totals).astype(np.int64)
    needed = np.maximum(needed, 1)
    needed -= (needed > 1) & ((needed - 1) / totals >= recall)
    needed += needed / totals < recall
    return needed


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
