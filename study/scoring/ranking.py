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
_PART: Final = 16  # rows that are added up before any is looked at


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

    The positives are the set whose scores should be lower: ID, or OOD with scores negated. What a
    metric does not ask for is not ranked.

    Attributes:
        own: scores of the positives, (N,).
        others: of the negatives, (M,).
    """

    own: Floats
    others: Floats

    @cached_property
    def positives(self) -> Rows:
        """Rows of the positives by rising score, (N,)."""
        return np.argsort(self.own)

    @cached_property
    def negatives(self) -> Rows:
        """Rows of the negatives by rising score, (M,)."""
        return np.argsort(self.others)

    @cached_property
    def negatives_before(self) -> Rows:
        """Negatives that score below each sorted positive, (N,)."""
        return np.searchsorted(self.others[self.negatives], self.own[self.positives], "left")

    @cached_property
    def negatives_up_to(self) -> Rows:
        """Negatives that score at most as much as each sorted positive, (N,)."""
        return np.searchsorted(self.others[self.negatives], self.own[self.positives], "right")

    @cached_property
    def positives_up_to(self) -> Rows:
        """Positives that score at most as much as each sorted one, itself among them, (N,)."""
        own = self.own[self.positives]
        return np.searchsorted(own, own, "right")

    def worst(self, num: int) -> tuple[Rows, Rows]:
        """Rows of the ``num`` highest positives, the highest first, and their negatives_up_to."""
        least = len(self.own) - num
        rows = np.argpartition(self.own, least)[least:] if least else np.arange(num)
        rows = rows[np.argsort(self.own[rows])[::-1]]
        return rows, np.searchsorted(self.others[self.negatives], self.own[rows], "right")


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
        num = len(self.ranking.own)
        # Where the threshold lies among the worst positives, give or take what resampling does.
        size = min(num, int((1.03 - recall) * num) + 64)
        while True:
            worst, up_to = self.ranking.worst(size)
            place = _passed(self.positives.rows[worst], spared)
            if size == num or bool((place < size).all()):
                break
            size = min(num, 2 * size)
        at = up_to[place]
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


def _passed(rows: Sums, most: Floats) -> Rows:
    """How many of the first rows (N, B) add up to ``most`` (B,) or less in each column, (B,).

    Sums over parts first, then the rows of the part where each column is passed.
    """
    num, width = rows.shape
    parts = np.cumsum(np.add.reduceat(rows, np.arange(0, num, _PART), axis=0), axis=0)
    part = (parts <= most).sum(axis=0)
    columns = np.arange(width)
    before = np.where(part > 0, parts[part - 1, columns], 0.0)
    which = _PART * part + np.arange(_PART)[:, None]
    inside = np.cumsum(rows[np.minimum(which, num - 1), columns], axis=0)
    few = (before + inside <= most) & (which < num)
    return np.asarray(np.minimum(_PART * part, num) + few.sum(axis=0), dtype=np.intp)


def _cumulative(rows: Sums) -> Sums:
    cumulative = np.zeros((len(rows) + 1, rows.shape[1]), np.float32)
    np.cumsum(rows, axis=0, out=cumulative[1:])
    return cumulative
