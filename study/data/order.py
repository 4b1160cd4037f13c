"""Which rows of its sets an epoch takes, and in which order.

ID images come in a shuffled order, or as chains of pairs (`study.data.pairs`). Outliers are drawn
from all of them, a fixed part of them, or several sources by weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from study.data.images import ImageSet, Labels, Rows
from study.data.pairs import chain_rows
from study.seeding import numpy_generator

Augment = Literal["none", "crop_flip", "resized_crop_flip"]
OutlierOrder = Literal["shuffled", "window"]

_MIN_IMAGES = 2
_MAX_SOURCES = 20


@dataclass(frozen=True, eq=False)
class Sampling:
    """How the epochs of a training draw from its sets.

    Attributes:
        batch_size: ID images of a batch.
        num_images: ID images that an epoch draws; None for all.
        augment: "none", "crop_flip" or "resized_crop_flip", for ID images and outliers alike.
        rotation: images are turned by up to so many degrees either way before.
        least_area: smallest share of the image that a resized crop has.
        same_share: where the neighbours in a batch are pairs, the probability that the two are of
            one class; None where there are no pairs.
        outlier_batch_size: outliers of a batch; 0 for none.
        outlier_order: "shuffled" or "window".
        outlier_pool: which outliers are drawn, and how often; None for all of them alike.
    """

    batch_size: int
    num_images: int | None = None
    augment: Augment = "none"
    same_share: float | None = None
    outlier_batch_size: int = 0
    outlier_order: OutlierOrder = "shuffled"
    outlier_pool: OutlierPool | None = None
    rotation: float = 0.0
    least_area: float = 0.08

    def num_batches(self, num_train: int) -> int:
        """Steps of an epoch over so many ID images; a ValueError where it has none."""
        return num_batches(num_train, self.batch_size, self.num_images)

    def rows(self, labels: Labels, num_outliers: int, *, seed: int, epoch: int) -> EpochRows:
        """Draw the rows of one epoch.

        ID images from the stream ("order", epoch), or ("pairs", epoch); outliers from
        ("outliers", epoch).

        Args:
            labels: of the ID images.
            num_outliers: that there are; 0 for none.
            seed: of the trial.
            epoch: number of the epoch.

        Raises:
            ValueError: for sizes that allow no batch, an unknown ``outlier_order`` or an
                impossible ``same_share``.
        """
        steps = self.num_batches(len(labels))
        drawn = len(labels) if self.num_images is None else self.num_images
        if self.same_share is not None:
            generator = numpy_generator(seed, "pairs", epoch)
            id_rows = chain_rows(labels, drawn, self.same_share, generator)
        else:
            id_rows = numpy_generator(seed, "order", epoch).permutation(len(labels))[:drawn]
        total = steps * self.outlier_batch_size
        if not num_outliers or not total:
            return EpochRows(self, id_rows, None, steps)
        generator = numpy_generator(seed, "outliers", epoch)
        if self.outlier_pool is not None:
            outliers = self.outlier_pool.draw(total, self.outlier_order, generator)
        else:
            outliers = outlier_rows(num_outliers, total, self.outlier_order, generator)
        return EpochRows(self, id_rows, outliers, steps)


@dataclass(frozen=True, eq=False)
class EpochRows:
    """The rows of an epoch's batches.

    Attributes:
        sampling: by which they were drawn.
        id: rows of the ID set, in their order, shape (N,).
        outliers: rows of the outliers, shape (steps * outlier_batch_size,); None without any.
        steps: number of batches.
    """

    sampling: Sampling
    id: Rows
    outliers: Rows | None
    steps: int

    def parts(self) -> Iterator[tuple[slice, slice]]:
        """Where each batch's ID images and outliers stand among the rows."""
        size, outliers = self.sampling.batch_size, self.sampling.outlier_batch_size
        for step in range(self.steps):
            yield (
                slice(step * size, (step + 1) * size),
                slice(step * outliers, (step + 1) * outliers),
            )


def num_batches(num_train: int, batch_size: int, num_images: int | None) -> int:
    """Steps of an epoch.

    Args:
        num_train: ID images in the training set.
        batch_size: ID images of a batch.
        num_images: ID images that an epoch draws; None for all.

    Raises:
        ValueError: where no batch of at least 2 images is possible.
    """
    drawn = num_train if num_images is None else num_images
    if batch_size < _MIN_IMAGES or not _MIN_IMAGES <= drawn <= num_train:
        raise ValueError(
            f"batches of {batch_size} from {drawn} of {num_train} images: a batch and an epoch "
            f"need at least {_MIN_IMAGES} images, and an epoch no more than there are"
        )
    full, rest = divmod(drawn, batch_size)
    return full + (rest >= _MIN_IMAGES)


def outlier_rows(
    num_outliers: int, total: int, order: OutlierOrder, generator: np.random.Generator
) -> Rows:
    """Rows of the outliers that an epoch of ``total`` draws uses, in their order, shape (total,).

    Raises:
        ValueError: for an unknown order.
    """
    if order == "window":
        offset = int(generator.integers(num_outliers))
        return np.asarray((offset + np.arange(total)) % num_outliers, dtype=np.int64)
    if order != "shuffled":
        raise ValueError(f"outlier_order must be shuffled or window, got {order!r}")
    rounds = -(-total // num_outliers)
    shuffles = [generator.permutation(num_outliers) for _ in range(rounds)]
    return np.concatenate(shuffles)[:total].astype(np.int64)


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
