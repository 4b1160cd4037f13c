"""Training and evaluation batches: gathered, augmented and converted without a loop over images.

Rules, the same on every device (the draws are made on the CPU, so a GPU sees the same batches):

- An epoch draws its ID images without replacement: the stream ("order", epoch).
- The last batch is kept where it has at least 2 ID images (batch norm cannot train on one), else
  left out. Each batch has all its outliers, the last one too: the losses take means by group.
- Outliers ``shuffled``: a permutation from the stream ("outliers", epoch); where the epoch needs
  more than there are, further permutations of the same stream follow.
  ``window``: consecutive rows from a random offset, wrapping around (the habit of the public
  energy and Outlier Exposure code, whose loader does not shuffle).
- ``crop_flip``: zero pixels are put around the image (4, and an eighth of the edge where that is
  more), a random crop of the old size is taken, and half of the crops are mirrored.
  ``resized_crop_flip`` takes torchvision's RandomResizedCrop in its place. Both may follow a
  RandomRotation (`study.data.warp`). ID and outliers draw from ("augment", "id", epoch) and
  ("augment", "outliers", epoch), so that the ID images see the same whatever the outliers are.
- A batch holds the ID images first, then the outliers.

The sets stay uint8 in NumPy arrays, which may be read-only views of memory shared by processes;
only a batch is ever copied. On a GPU each set is put there once (:class:`DeviceImages`), and what
an epoch draws travels there in one copy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from study.data.images import ImageSet, Pixels, Rows
from study.data.order import Augment, EpochRows, Sampling
from study.data.pairs import chain
from study.data.warp import draw_boxes, resized_crops, rotated
from study.device import upload
from study.seeding import numpy_generator

Take = Callable[[slice], Tensor]
"""Positions of an epoch -> what training takes of a set there, on the device."""

_LEAST_PAD = 4
_UPLOAD_CHUNK = 8192
_MOST_UPLOADED = 8 * 2**30  # bytes of sets that a process keeps on a GPU, which trials share


@dataclass(frozen=True)
class Batch:
    """Images of one training step.

    Attributes:
        images: float32 in [0, 1], shape (num_id + outliers, 3, H, W); features, shape
            (num_id + outliers, D), where the last layer alone is trained.
        labels: int64, shape (num_id,).
        num_id: the first ``num_id`` images are ID, the rest outliers.
        pairs: positions in the batch, int64, shape (P, 2), where a recipe compares images.
    """

    images: Tensor
    labels: Tensor
    num_id: int
    pairs: Tensor | None = None


@dataclass(frozen=True)
class Draws:
    """What is drawn for a run of images, by position in the epoch: arrays, or tensors on a GPU.

    Attributes:
        rows: rows of the set, shape (N,).
        tops: first row of each crop in the padded image, 0 .. 2 pad, shape (N,).
        lefts: first column of each crop, likewise.
        mirrored: whether the crop is mirrored, bool, shape (N,).
        augmented: False where there is nothing to crop or mirror.
        boxes: of resized crops, shape (N, 4), in place of tops and lefts; None for others.
        angles: in degrees, shape (N,); None where nothing is turned.
    """

    rows: Any
    tops: Any
    lefts: Any
    mirrored: Any
    augmented: bool
    boxes: Any = None
    angles: Any = None

    def columns(self) -> list[npt.NDArray[np.int64]]:
        """All that was drawn, each of 8 bytes an image: what one copy to a GPU is made of."""
        boxes = [] if self.boxes is None else list(self.boxes.T)
        angles = [] if self.angles is None else [self.angles.view(np.int64)]
        return [self.rows, self.tops, self.lefts, self.mirrored.astype(np.int64), *boxes, *angles]

    def of_columns(self, columns: Sequence[Tensor]) -> Draws:
        """The same draws, from tensors of its `columns`."""
        rows, tops, lefts, mirrored, *warped = columns
        angles = warped.pop().view(torch.float64) if self.angles is not None else None
        boxes = torch.stack(warped, dim=1) if warped else None
        return Draws(rows, tops, lefts, mirrored.bool(), self.augmented, boxes, angles)

    def part(self, part: slice) -> Draws:
        """The draws of these positions."""
        return Draws(
            self.rows[part],
            self.tops[part],
            self.lefts[part],
            self.mirrored[part],
            self.augmented,
            None if self.boxes is None else self.boxes[part],
            None if self.angles is None else self.angles[part],
        )


class DeviceImages:
    """A set where batches are made: shared NumPy memory on the CPU, a uint8 tensor on a GPU.

    Attributes:
        num_images: N.
        size: edge of the images, pixels.
        device: where its batches are.
        num_bytes: of its pixels.
    """

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        self.num_images = len(images)
        self.size = int(images.pixels.shape[1])
        self.device = device
        self.num_bytes = images.pixels.nbytes
        self._pixels = images.pixels
        self._tensor: Tensor | None = None
        if device.type != "cpu":
            self._tensor = torch.empty(images.pixels.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(images), _UPLOAD_CHUNK):
                # np.array copies: torch warns when it wraps read-only memory
                chunk = np.array(images.pixels[start : start + _UPLOAD_CHUNK])
                self._tensor[start : start + len(chunk)].copy_(torch.from_numpy(chunk))

    def stretch(self, part: slice) -> Tensor:
        """The images there, in their order, as `gather` gives them."""
        if self._tensor is not None:
            return self._tensor[part]
        return torch.from_numpy(np.array(self._pixels[part]))

    def gather(self, draws: Draws) -> Tensor:
        """Images as uint8, shape (N, H, W, 3), on the device; augmented as drawn."""
        if draws.boxes is not None or draws.angles is not None:
            return self._warped(draws)
        if self._tensor is not None:
            return _gather_on_device(self._tensor, draws)
        return torch.from_numpy(_gather(self._pixels, draws))

    def _warped(self, draws: Draws) -> Tensor:
        """Turned, then cropped and mirrored."""
        plain = Draws(draws.rows, draws.tops, draws.lefts, draws.mirrored, augmented=False)
        images = self.gather(plain)
        if draws.angles is not None:
            images = rotated(images, _sent(draws.angles, self.device))
        if draws.boxes is not None:
            images = resized_crops(images, _sent(draws.boxes, self.device))
            mirrored = _sent(draws.mirrored, self.device)
            return torch.where(mirrored[:, None, None, None], images.flip(2), images)
        every = torch.arange(len(images), device=self.device)
        crops = Draws(every, draws.tops, draws.lefts, draws.mirrored, draws.augmented)
        return _gather_on_device(images, crops)


@dataclass(frozen=True, eq=False)
class EpochDraws:
    """All that is drawn for an epoch, a function of (seed, epoch) alone.

    Attributes:
        rows: of both sets.
        id: of the ID images.
        labels: theirs, shape (N,).
        outliers: of the outliers; None without any.
    """

    rows: EpochRows
    id: Draws
    labels: Any
    outliers: Draws | None

    def on(self, device: torch.device) -> EpochDraws:
        """The same where batches are made; one copy takes all of it to a GPU."""
        if device.type == "cpu":
            return self
        columns = [self.labels, *self.id.columns()]
        own = len(columns)
        columns += self.outliers.columns() if self.outliers is not None else []
        sizes = [len(column) for column in columns]
        labels, *sent = torch.split(upload(np.concatenate(columns), device), sizes)
        outliers = self.outliers and self.outliers.of_columns(sent[own - 1 :])
        return EpochDraws(self.rows, self.id.of_columns(sent[: own - 1]), labels, outliers)


def draw_epoch(
    train: ImageSet, sampling: Sampling, outliers: ImageSet | None = None, *, seed: int, epoch: int
) -> EpochDraws:
    """Draw an epoch; arguments and errors as of `training_batches`."""
    num_outliers = len(outliers) if outliers and sampling.outlier_batch_size else 0
    rows = sampling.rows(train.labels, num_outliers, seed=seed, epoch=epoch)

    def drawn(of: Rows, role: str, images: ImageSet) -> Draws:
        return draw(
            of,
            sampling.augment,
            numpy_generator(seed, "augment", role, epoch),
            int(images.pixels.shape[1]),
            rotation=sampling.rotation,
            least_area=sampling.least_area,
        )

    of_outliers = None
    if outliers is not None and rows.outliers is not None:
        of_outliers = drawn(rows.outliers, "outliers", outliers)
    return EpochDraws(rows, drawn(rows.id, "id", train), train.labels[rows.id], of_outliers)


def epoch_batches(
    rows: EpochRows, images: Take, labels: Take, outliers: Take | None = None
) -> Iterator[Batch]:
    """The batches of one epoch, of images or of what stands for them.

    Args:
        rows: what the epoch draws.
        images: the drawn ID images by position.
        labels: theirs.
        outliers: the drawn outliers by position; None for none.
    """
    for part, out_part in rows.parts():
        taken, of_id = images(part), labels(part)
        if outliers is not None:
            taken = torch.cat([taken, outliers(out_part)])
        paired = rows.sampling.same_share is not None
        pairs = chain(len(of_id), taken.device) if paired else None
        yield Batch(taken, of_id, len(of_id), pairs)


def training_batches(
    train: ImageSet,
    sampling: Sampling,
    *,
    outliers: ImageSet | None = None,
    seed: int,
    epoch: int,
    device: torch.device | None = None,
    channels_last: bool = False,
    drawn: EpochDraws | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch; the module's docstring has the rules.

    Args:
        train: labelled ID images.
        sampling: how they and the outliers are drawn.
        outliers: auxiliary outliers of the same image size; None for none.
        seed: of the trial.
        epoch: number of the epoch; part of every stream's name.
        device: where batches are wanted; the CPU where none is given.
        channels_last: memory format of the images.
        drawn: what `draw_epoch` gives for the same arguments; None draws it.

    Yields:
        Batches; of pairs, (B - 1, 2): (0, 1), (1, 2) ..., the labels tell which are different.

    Raises:
        ValueError: for sizes that allow no batch, an impossible ``same_share``, or an unknown
            ``augment`` or ``outlier_order``.
    """
    device = device or torch.device("cpu")
    if drawn is None:
        drawn = draw_epoch(train, sampling, outliers, seed=seed, epoch=epoch)
    here = drawn.on(device)

    def taken(images: ImageSet, draws: Draws) -> Take:
        held = on_device(images, device)
        return lambda part: held.gather(draws.part(part))

    def labels(part: slice) -> Tensor:
        return _sent(here.labels[part], device)

    out_take = None
    if outliers is not None and here.outliers is not None:
        out_take = taken(outliers, here.outliers)
    for batch in epoch_batches(here.rows, taken(train, here.id), labels, out_take):
        # uint8 until here: joining floats would move four times the bytes
        yield replace(batch, images=to_float(batch.images, channels_last))


def evaluation_batches(
    images: ImageSet | DeviceImages,
    batch_size: int,
    device: torch.device | None = None,
    channels_last: bool = False,
) -> Iterator[Tensor]:
    """All images in their order, as float32 in [0, 1], shape (<= batch_size, 3, H, W).

    Raises:
        ValueError: if ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    images = on_device(images, device or torch.device("cpu"))
    for start in range(0, images.num_images, batch_size):
        yield to_float(images.stretch(slice(start, start + batch_size)), channels_last)


def padding(size: int) -> int:
    """Zero pixels around an image of this edge before it is cropped: 4 at 32 pixels."""
    return max(_LEAST_PAD, size // 8)


def draw(
    rows: npt.NDArray[np.int64],
    augment: Augment,
    generator: np.random.Generator,
    size: int,
    *,
    rotation: float = 0.0,
    least_area: float = 0.08,
) -> Draws:
    """Crops, mirrors and angles for ``rows``, all of an epoch at once.

    Args:
        rows: of the set.
        augment: as in `Sampling`, with ``rotation`` and ``least_area``.
        generator: of this epoch's augmentation.
        size: edge of the images, pixels.
        rotation: see ``augment``.
        least_area: likewise.

    Raises:
        ValueError: for an unknown augmentation.
    """
    if augment not in (known := get_args(Augment)):
        raise ValueError(f"augment must be {' or '.join(known)}, got {augment!r}")
    num, pad = len(rows), padding(size)
    middle, plain = np.full(num, pad), np.zeros(num, dtype=bool)
    drawn = Draws(rows, middle, middle, plain, augmented=False)
    if augment == "crop_flip":
        tops, lefts = generator.integers(0, 2 * pad + 1, size=(2, num))
        drawn = Draws(rows, tops, lefts, generator.random(num) < 0.5, augmented=True)
    elif augment == "resized_crop_flip":
        boxes = draw_boxes(num, size, least_area, generator)
        mirrored = generator.random(num) < 0.5
        drawn = Draws(rows, middle, middle, mirrored, augmented=True, boxes=boxes)
    if rotation:
        drawn = replace(drawn, angles=generator.uniform(-rotation, rotation, num))
    return drawn


def _gather(pixels: Pixels, draws: Draws) -> Pixels:
    """A fresh array of the drawn images, (N, H, W, 3), from memory that may be read-only."""
    if not draws.augmented:
        plain: Pixels = pixels[draws.rows]
        return plain
    num, (height, width) = len(draws.rows), pixels.shape[1:3]
    pad = padding(height)
    padded = np.zeros((num, height + 2 * pad, width + 2 * pad, 3), dtype=np.uint8)
    padded[:, pad:-pad, pad:-pad] = pixels[draws.rows]
    # (num, 2 pad + 1, 2 pad + 1, height, 3, width): every crop of every image, as a view
    crops = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    crops = crops.transpose(0, 1, 2, 4, 5, 3)
    result: Pixels = crops[np.arange(num), draws.tops, draws.lefts]
    result[draws.mirrored] = result[draws.mirrored, :, ::-1]
    return result


def _gather_on_device(pixels: Tensor, draws: Draws) -> Tensor:
    """The same on a GPU."""
    device = pixels.device
    chosen = pixels[_sent(draws.rows, device)]
    if not draws.augmented:
        return chosen
    num, height, width, _ = chosen.shape
    padded = torch.nn.functional.pad(chosen, (0, 0, *[padding(height)] * 4))
    rows = _sent(draws.tops, device)[:, None] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(num, width)
    columns = torch.where(_sent(draws.mirrored, device)[:, None], columns.flip(1), columns)
    columns = columns + _sent(draws.lefts, device)[:, None]
    images = torch.arange(num, device=device)
    return padded[images[:, None, None], rows[:, :, None], columns[:, None, :]]


def _sent(values: Any, device: torch.device) -> Tensor:
    """What was drawn, on the device: it is there, or goes there."""
    return values if isinstance(values, Tensor) else upload(values, device)


def to_float(pixels: Tensor, channels_last: bool) -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W) in [0, 1]."""
    # memory of (N, H, W, 3) seen as (N, 3, H, W) already is the channels-last format
    images = pixels.permute(0, 3, 1, 2)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    return images.to(torch.float32, memory_format=wanted).div_(255)


class Uploads:
    """Sets on GPUs by their content, kept within so many bytes; the least recently used go first.

    The newest stays, however large it is: training needs it.
    """

    def __init__(self, most_bytes: int) -> None:
        """Keep ``most_bytes`` of images."""
        self._most = most_bytes
        self._kept: OrderedDict[tuple[str, str], DeviceImages] = OrderedDict()

    def of(self, images: ImageSet, device: torch.device) -> DeviceImages:
        """The set on the device, put there where it is not."""
        key = (images.fingerprint, str(device))
        if key not in self._kept:
            sizes = [one.num_bytes for one in self._kept.values()]
            while sizes and sum(sizes) + images.pixels.nbytes > self._most:
                self._kept.popitem(last=False)
                sizes.pop(0)
            self._kept[key] = DeviceImages(images, device)
        self._kept.move_to_end(key)
        return self._kept[key]


_uploads = Uploads(_MOST_UPLOADED)


def on_device(images: ImageSet | DeviceImages, device: torch.device) -> DeviceImages:
    """The set where batches are made; on a GPU once a process."""
    if isinstance(images, DeviceImages):
        return images
    return DeviceImages(images, device) if device.type == "cpu" else _uploads.of(images, device)
