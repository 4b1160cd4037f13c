"""Two sets of scores ranked against each other, counted under many weightings at once.

Everything that a metric asks of scores is counting along their order. A resample, a random half
or what a resample left out are weights on the images: the scores are sorted once, the weights lie
image by image so that one pass serves all weightings, and "each image once" is one weighting.
Counts are float32 and exact below 2^24 images; quotients are taken in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.integer]
Rows = npt.NDArray[np.intp]
Sums = npt.NDArray[np.float32]

RECALL: Final = 0.95


@dataclass(frozen=True)
class Weights:
    """Weightings of the images of one set.

    Attributes:
        rows: how often each image counts, (N, B) float32 holding integers.
        totals: sums over the images, (B,).
    """

    rows: Sums
    totals: Floats

    @classmethod
    def of(cls, counts: Counts) -> Weights:
        """From counts (B, N) as `bootstrap_counts` gives them."""
        rows = np.ascontiguousarray(counts.T, dtype=np.float32)
        return cls(rows, rows.sum(axis=0, dtype=np.float64))

    @classmethod
    def once(cls, num_images: int) -> Weights:
        """Every image once."""
        return cls(np.ones((num_images, 1), np.float32), np.array([num_images], np.float64))

    @property
    def num(self) -> int:
        """Number of weightings, B."""
        return int(self.rows.shape[1])

    def at(self, columns: Rows) -> Weights:
        """Some of the weightings."""
        return Weights(np.ascontiguousarray(self.rows[:, columns]), self.totals[columns])


@dataclass(frozen=True)
class Ranking:
    """Two sets in order, the most positive image first, and where they interleave.

    The positives are the set whose scores should be lower: ID, or OOD with scores negated. The
    last three arrays have one entry for each sorted positive.

    Attributes:
        positives: rows of the positives by rising score, (N,).
        negatives: rows of the negatives by rising score, (M,).
        negatives_before: negatives that score below it.
        negatives_up_to: negatives that score at most as much.
        positives_up_to: positives that score at most as much, itself among them.
    """

    positives: Rows
    negatives: Rows
    negatives_before: Rows
    negatives_up_to: Rows
    positives_up_to: Rows

    @classmethod
    def of(cls, positives: Floats, negatives: Floats) -> Ranking:
        """Rank scores (N,) against scores (M,)."""
        positive_order, negative_order = np.argsort(positives), np.argsort(negatives)
        own, others = positives[positive_order], negatives[negative_order]
        return cls(
            positive_order,
            negative_order,
            np.searchsorted(others, own, "left"),
            np.searchsorted(others, own, "right"),
            np.searchsorted(own, own, "right"),
        )


@dataclass(frozen=True)
class Tally:
    """What a metric is computed from: a ranking, and how often each of its images counts.

    Attributes:
        ranking: the order.
        positives: B weightings of the positives.
        negatives: as many of the negatives.
    """

    ranking: Ranking
    positives: Weights
    negatives: Weights

    def fpr(self, recall: float = RECALL) -> Floats:
        """Share of negatives accepted at the first threshold that accepts ``recall``, (B,)."""
        spared = self.positives.totals - needed(self.positives.totals, recall)
        worst_first = self.ranking.positives[::-1]
        num = len(worst_first)
        # Where the threshold lies among the worst positives, give or take what resampling does.
        size = min(num, int((1.03 - recall) * num) + 64)
        while True:
            over = np.cumsum(self.positives.rows[worst_first[:size]], axis=0)
            if size == num or bool((over[-1] > spared).all()):
                break
            size = min(num, 2 * size)
        at = self.ranking.negatives_up_to[::-1][(over <= spared).sum(axis=0)]
        # Negatives below every threshold are summed, those between two of them added up in order.
        low, high = int(at.min()), int(at.max())
        order, rows = self.ranking.negatives, self.negatives.rows
        always = np.zeros(len(order), dtype=np.float32)
        always[order[:low]] = 1.0
        count = always @ rows
        if high > low:
            band = np.cumsum(rows[order[low:high]], axis=0)
            beyond = np.flatnonzero(at > low)
            count[beyond] += band[at[beyond] - low - 1, beyond]
        return np.asarray(count / self.negatives.totals, dtype=np.float64)

    def auroc(self) -> Floats:
        """Share of the pairs in the right order, ties counted half, (B,)."""
        ranking = self.ranking
        lost = self.negatives_cum[ranking.negatives_up_to]
        lost += self.negatives_cum[ranking.negatives_before]
        twice_lost = np.einsum("nb,nb->b", self.sorted_positives, lost, dtype=np.float64)
        pairs = 2.0 * self.positives.totals * self.negatives.totals
        return np.asarray((pairs - twice_lost) / pairs, dtype=np.float64)

    def curve(self) -> tuple[Floats, Floats]:
        """Shares of positives, and of negatives, accepted at each positive's score, (N, B)."""
        positives = self.positives_cum[self.ranking.positives_up_to] / self.positives.totals
        negatives = self.negatives_cum[self.ranking.negatives_up_to] / self.negatives.totals
        return positives, negatives

    def average_precision(self) -> Floats:
        """Mean over the positives of the precision at each one's score, ties included, (B,)."""
        hits = self.positives_cum[self.ranking.positives_up_to].astype(np.float64)
        accepted = hits + self.negatives_cum[self.ranking.negatives_up_to]
        # A resample may lack the first images altogether; they have no weight, but no 0/0 either.
        precision = hits / np.maximum(accepted, 1.0)
        # Summed along each row, so that no bit depends on how many weightings go at once.
        own, each = (
            np.ascontiguousarray(self.sorted_positives.T),
            np.ascontiguousarray(precision.T),
        )
        total = np.einsum("bn,bn->b", own, each, dtype=np.float64)
        return np.asarray(total / self.positives.totals, dtype=np.float64)

    @cached_property
    def sorted_positives(self) -> Sums:
        """How often each positive counts, in order, (N, B)."""
        return self.positives.rows[self.ranking.positives]

    @cached_property
    def positives_cum(self) -> Sums:
        """Images among the first j sorted positives, (N + 1, B)."""
        return _cumulative(self.sorted_positives)

    @cached_property
    def negatives_cum(self) -> Sums:
        """Images among the first j sorted negatives, (M + 1, B)."""
        return _cumulative(self.negatives.rows[self.ranking.negatives])


def needed(totals: npt.NDArray[np.integer] | Floats, recall: float) -> Floats:
    """The least k with k / total >= recall, as floats compare, for each total.

    Raises:
        ValueError: for a ``recall`` outside (0, 1].
    """
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall: {recall} must be above 0 and at most 1")
    # ceil(recall * total) may be one off either way: .95 * 20 need not be 19 in binary.
    least: Floats = np.maximum(np.ceil(recall * totals), 1.0)
    least -= (least > 1) & ((least - 1) / totals >= recall)
    least += least / totals < recall
    return least


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


def _cumulative(rows: Sums) -> Sums:
    cumulative = np.zeros((len(rows) + 1, rows.shape[1]), np.float32)
    np.cumsum(rows, axis=0, out=cumulative[1:])
    return cumulative
