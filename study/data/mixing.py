"""Which outliers training draws from: all, a fixed part of them, or several sources by weight.

Rules:

- ``max_outliers``: the first so many of one permutation (the stream "outlier cap" of seed 0), so
  that all trials and studies have the same ones and a smaller part lies in every larger one. Rows
  keep their order, so that a window stays one.
- ``outlier_weights``: each position of an epoch gets its source at random, by weight, from the
  epoch's stream "outliers"; within a source the order is what ``outlier_order`` says, shuffled
  or a window, with further rounds where the source is smaller than what is drawn from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from study.data.images import ImageSet
from study.data.order import OutlierOrder, Rows, outlier_rows
from study.seeding import numpy_generator

_MAX_SOURCES = 20


@dataclass(frozen=True, eq=False)
class OutlierPool:
    """The rows of an outlier set that training uses.

    Attributes:
        sources: rows of each source, shape (N_s,), N_s >= 1; one source where nothing is mixed.
        shares: of the draws, one a source; they sum to 1.
    """

    sources: tuple[Rows, ...]
    shares: tuple[float, ...] = (1.0,)

    def draw(self, total: int, order: OutlierOrder, generator: np.random.Generator) -> Rows:
        """Rows of the set for an epoch of ``total`` draws, in their order, shape (total,)."""
        if len(self.sources) == 1:
            rows = self.sources[0]
            return rows[outlier_rows(len(rows), total, order, generator)]
        chosen = generator.choice(len(self.sources), size=total, p=self.shares)
        drawn = np.empty(total, dtype=np.int64)
        for number, rows in enumerate(self.sources):
            places = np.flatnonzero(chosen == number)
            if len(places):
                drawn[places] = rows[outlier_rows(len(rows), len(places), order, generator)]
        return drawn


def make_pool(
    images: ImageSet, *, max_outliers: int | None, weights: Mapping[str, float] | None
) -> OutlierPool | None:
    """The pool that the parameters ask for; None where it is every image alike.

    Args:
        images: the outliers; a union of several sets has each image's set in its id.
        max_outliers: so many at most; None for all.
        weights: source -> weight above 0; None for no mixing.

    Raises:
        ValueError: if the weights do not name the sources that there are, each once, have no
            finite sum, or the cap leaves none of one.
    """
    num_images = len(images)
    rows: Rows = np.arange(num_images, dtype=np.int64)
    if max_outliers is not None and max_outliers < num_images:
        order = numpy_generator(0, "outlier cap").permutation(num_images)
        rows = np.sort(order[:max_outliers])
    if weights is None:
        return OutlierPool((rows,)) if len(rows) < num_images else None
    source_of = np.char.partition(images.ids, b"/")[:, 0]
    _check_names(set(np.unique(source_of)), weights)
    sources = tuple(rows[source_of[rows] == name.encode()] for name in weights)
    if empty := [name for name, part in zip(weights, sources, strict=True) if not len(part)]:
        raise ValueError(
            f"max_outliers: {max_outliers} of {num_images} outliers leave none of "
            f"{', '.join(empty)}; raise it"
        )
    sum_of_weights = sum(weights.values())
    if not math.isfinite(sum_of_weights):
        raise ValueError(f"outlier_weights: {dict(weights)} have no finite sum; lower them")
    return OutlierPool(sources, tuple(weight / sum_of_weights for weight in weights.values()))


def _check_names(found: set[bytes], weights: Mapping[str, float]) -> None:
    there = sorted(name.decode() for name in found)
    if set(there) == set(weights):
        return
    told = f"the sources of data.outliers are {', '.join(there)}"
    if not 1 < len(there) <= _MAX_SOURCES:  # ids of a single set name no source
        told = "data.outliers is a single set"
    raise ValueError(
        f"outlier_weights names {', '.join(weights)}, and {told}; give each source one weight, or "
        "take outlier_weights out"
    )
