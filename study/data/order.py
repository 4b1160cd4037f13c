"""In which order an epoch takes the rows of its sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from study.seeding import numpy_generator

if TYPE_CHECKING:
    from study.data.mixing import OutlierPool

OutlierOrder = Literal["shuffled", "window"]
Rows = npt.NDArray[np.int64]

_MIN_IMAGES = 2


@dataclass(frozen=True, eq=False)
class EpochRows:
    """The rows of an epoch's batches.

    Attributes:
        id: rows of the ID set, in their order, shape (N,).
        outliers: rows of the outliers, shape (steps * outlier_batch_size,); None without any.
        steps: number of batches.
    """

    id: Rows
    outliers: Rows | None
    steps: int


def epoch_rows(
    num_train: int,
    batch_size: int,
    *,
    num_images: int | None,
    num_outliers: int,
    outlier_batch_size: int,
    outlier_order: OutlierOrder,
    pool: OutlierPool | None,
    seed: int,
    epoch: int,
) -> EpochRows:
    """Draw the rows of one epoch from the streams ("order", epoch) and ("outliers", epoch).

    Args:
        num_train: ID images in the training set.
        batch_size: ID images of a batch.
        num_images: ID images that the epoch draws; None for all.
        num_outliers: outliers that there are; 0 for none.
        outlier_batch_size: outliers of a batch; 0 for none.
        outlier_order: "shuffled" or "window".
        pool: which outliers are used; None for all of them alike.
        seed: of the trial.
        epoch: number of the epoch.

    Raises:
        ValueError: for sizes that allow no batch, or an unknown ``outlier_order``.
    """
    drawn = num_train if num_images is None else num_images
    steps = num_batches(num_train, batch_size, num_images)
    order = numpy_generator(seed, "order", epoch).permutation(num_train)[:drawn]
    if not num_outliers or not outlier_batch_size:
        return EpochRows(order, None, steps)
    generator = numpy_generator(seed, "outliers", epoch)
    total = steps * outlier_batch_size
    if pool is not None:
        return EpochRows(order, pool.draw(total, outlier_order, generator), steps)
    return EpochRows(order, outlier_rows(num_outliers, total, outlier_order, generator), steps)


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
