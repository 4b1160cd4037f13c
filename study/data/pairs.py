"""Batches whose neighbours are pairs: B images give B - 1 pairs in one forward.

An epoch is a stretch of a cycle of images in which a stated share of neighbours is of one class:

- The cycle holds every training image once, in runs of one class; neighbouring runs differ. n
  images in R runs have n - R same neighbours, so R is n * (1 - same_share), rounded up or down at
  random so that its mean is exactly that.
- Lengths of runs, their order and the images in them are drawn from the stream ("pairs", epoch),
  and the cycle starts at a random place. Every place of it is then alike: each pair of each
  batch, whatever the batch size, is of one class with probability ``same_share`` exactly.
- As many consecutive images as the epoch draws are taken and cut into batches, which are as in
  `study.data.batches`. Pairs do not cross from one batch to the next.

No image meets itself, and none is seen twice in an epoch, with two exceptions:

- One class may be so large that the others cannot keep its runs apart: it has more than
  (1 + same_share) / 2 of the images. The others' images are then used more often, as evenly as
  it goes, all in runs of one, and some of the large class sit the epoch out.
- Two classes take turns, so R is even. With an odd n and hardly any same-class pairs
  (same_share < 1 / n) one image sits out, and another may be met again at the epoch's end.

A class of one image is always a run of its own. Impossible are: a share other than 1 with a
single class, and a share so high that not every class has a run (above 1 - K / n for K classes).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from study.data.images import Rows

_MIXING_ROUNDS: Final = 48
_MOVED: Final = 1 / 3  # share of runs proposed to move in a round; the most that stay apart


def chain(num_images: int, device: torch.device | None = None) -> Tensor:
    """Each image with the next: (0, 1), (1, 2) ..., int64, shape (num_images - 1, 2)."""
    first = torch.arange(num_images - 1, device=device)
    return torch.stack([first, first + 1], dim=1)


def image_weights(pairs: Tensor, num_images: int) -> Tensor:
    """Weight of each image by its pairs: pairs that it is in / (2 P); the sum is 1.

    A mean of something over the images of all pairs, each pair's two images alike, is the sum of
    it over the images with these weights, with one forward of each.

    Args:
        pairs: positions in the batch, int64, shape (P, 2), P >= 1.
        num_images: B.

    Returns:
        Shape (B,), float32, on the device of ``pairs``.

    Raises:
        ValueError: if ``pairs`` is not (P, 2) with P >= 1.
    """
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"pairs: shape {tuple(pairs.shape)} must be (P, 2) with P >= 1")
    ends = pairs.flatten()
    ones = torch.ones(len(ends), device=pairs.device)
    # whole numbers: the sum is exact in any order
    counts = torch.zeros(num_images, device=pairs.device).index_add_(0, ends, ones)
    return counts / len(ends)


def check_same_share(labels: npt.NDArray[np.int64], same_share: float) -> None:
    """Refuse a share of same-class pairs that images of these labels cannot have.

    Raises:
        ValueError: naming the share and the possible ones.
    """
    num, kinds = len(labels), len(np.unique(labels))
    if kinds == 1:
        if same_share != 1:
            raise ValueError(
                f"same_share: {same_share} is impossible: all {num} images are of one class, so "
                "every pair is. Add classes"
            )
        return
    largest = 1 - kinds / num
    if not 0 <= same_share <= largest:
        raise ValueError(
            f"same_share: {same_share} must be from 0 to {largest:.4g} for {num} images of "
            f"{kinds} classes, each of which needs a run of its own. The default is 0.5"
        )


def chain_rows(
    labels: npt.NDArray[np.int64],
    num_images: int,
    same_share: float,
    generator: np.random.Generator,
) -> Rows:
    """Rows of an epoch in their order, shape (num_images,); the module's docstring has the rules.

    Args:
        labels: of all training images, shape (n,).
        num_images: to draw, 1 to n.
        same_share: probability that an image and the next are of one class.
        generator: of this epoch's pairs.

    Raises:
        ValueError: for an impossible ``same_share``.
    """
    check_same_share(labels, same_share)
    if same_share == 1:
        return generator.permutation(len(labels))[:num_images].astype(np.int64)
    _, kinds = np.unique(labels, return_inverse=True)
    length, num_runs = _sizes(len(labels), int(kinds.max()) + 1, same_share, generator)
    used = _used(kinds, length, num_runs, generator)
    starts = _run_starts(kinds[used], num_runs, generator)
    order = _arranged(kinds[used[starts]], generator)
    lengths = np.diff(starts, append=length)[order]
    # position in the cycle -> position in ``used``: each run's start, then counting on
    first = np.repeat(starts[order] - (np.cumsum(lengths) - lengths), lengths)
    cycle = used[first + np.arange(length)]
    place = int(generator.integers(length)) + np.arange(num_images)
    return np.asarray(cycle[place % length], dtype=np.int64)


def _sizes(
    num: int, num_kinds: int, same_share: float, generator: np.random.Generator
) -> tuple[int, int]:
    """Length of the cycle and its number of runs, whose mean is length * (1 - same_share)."""
    unit = 2 if num_kinds == 2 else 1  # two classes take turns on the cycle
    length = num
    if num % unit and same_share * num < 1:
        length -= 1
    mean = round((1 - same_share) * length, 9)
    return length, unit * int(np.floor(mean / unit + generator.random()))


def _used(
    kinds: npt.NDArray[np.int64], length: int, num_runs: int, generator: np.random.Generator
) -> Rows:
    """Rows that the cycle uses, sorted by class, shuffled within; each once where that can be."""
    large = np.bincount(kinds).argmax()
    of_large = generator.permutation(np.flatnonzero(kinds == large))
    others = np.flatnonzero(kinds != large)
    # Runs of the others must keep those of the large class apart.
    num_others = max(len(others), -(-num_runs // 2))
    rounds = -(-num_others // len(others))
    repeated = np.concatenate([generator.permutation(others) for _ in range(rounds)])
    used = np.concatenate([of_large[: length - num_others], repeated[:num_others]])
    return used[np.argsort(kinds[used], kind="stable")]


def _run_starts(
    kinds: npt.NDArray[np.int64], num_runs: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Where runs start in ``kinds``, which is sorted; each class has a run, none over half."""
    opens = np.diff(kinds, prepend=-1) > 0
    cuts = generator.permutation(np.flatnonzero(~opens))
    wanted = num_runs - int(opens.sum())
    runs = np.bincount(kinds[np.flatnonzero(opens)]) + np.bincount(
        kinds[cuts[:wanted]], minlength=int(kinds[-1]) + 1
    )
    large = int(runs.argmax())
    excess = max(0, int(runs[large]) - num_runs // 2)
    if excess:
        # Its last cuts give way to the first free ones of other classes.
        of_large = kinds[cuts] == large
        rank = np.where(of_large, np.cumsum(of_large), 0)
        kept = rank < int(runs[large]) - excess
        cuts = cuts[kept]
    opens[cuts[:wanted]] = True
    return np.flatnonzero(opens)


def _arranged(
    kinds: npt.NDArray[np.int64], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """An order of runs on a cycle, no two neighbours of one class; none has more than half.

    From an order that is right by construction (the largest class on the even places, then on
    and over to the odd ones), by rounds of random swaps that keep it right. The runs that may
    move in a round are no neighbours, so that the swaps of a round do not touch one another.
    """
    num = len(kinds)
    counts = np.bincount(kinds)
    by_size = np.argsort(-counts[kinds] * len(counts) + kinds, kind="stable")
    order = np.empty(num, dtype=np.int64)
    order[np.concatenate([np.arange(0, num, 2), np.arange(1, num, 2)])] = by_size
    for _ in range(_MIXING_ROUNDS):
        seen = kinds[order]
        before, after = np.roll(seen, 1), np.roll(seen, -1)
        proposed = generator.random(num) < _MOVED
        free = np.flatnonzero(proposed & ~np.roll(proposed, 1) & ~np.roll(proposed, -1))
        one, other = generator.permutation(free)[: len(free) // 2 * 2].reshape(2, -1)
        fits = np.ones(len(one), dtype=bool)
        for place, comes in ((one, seen[other]), (other, seen[one])):
            fits &= (comes != before[place]) & (comes != after[place])
        one, other = one[fits], other[fits]
        order[one], order[other] = order[other], order[one]
    return order
