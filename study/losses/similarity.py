"""NORD-F's pair similarity: how a cosine is told to be "different classes" or "the same".

Polarity: t = 1 means different classes, so that f = 1 - cos is a distance. A cosine in floats
leaves [-1, 1] by rounding (identical vectors of 50,176 numbers give f between -9.5e-7 and
8.9e-7); a loss that needs f in [0, 1] must do something about that. The forms:

- logit: BCE-with-logits of s * (b - cos) with learned s and b. Rounding does not matter to it, and
  pairs that have collapsed still have a gradient. The default.
- clamp: BCE of f clamped to [0, 1].
- clamp_eps: BCE of f clamped to [eps, 1 - eps].

In both clamps a pair at or beyond a bound has no gradient (torch's BCE would send 1e12 from an f
of exactly 0 or 1); its share is told. torch's BCE cuts each logarithm at -100, so the loss of a
pair is at most 100.

s = exp(a) stays in [1, 100] by a projected gradient: the forward clamps a, and the backward
passes what leads inwards and stops what leads further out. A plain clamp would hold an s that
has once overshot for ever; a sigmoid would let a wander off where its own gradient vanishes.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

Form = Literal["logit", "clamp", "clamp_eps"]
FORMS: Final[tuple[str, ...]] = get_args(Form)

_SCALE_BOUNDS: Final = (1.0, 100.0)
_EPS: Final = 1e-4  # of clamp_eps
# Below its bound a vector counts as zero. 1 / length is in the gradient: half precision could not
# hold that of 100 / length much below 2^-9.
_SMALLEST: Final = {torch.float16: 2.0**-9}
_SMALLEST_ELSE: Final = 1e-12


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of each pair of rows, in float32 whatever the autocast, with finite gradients.

    Rows are divided by their largest entry before their length is taken, so that squares neither
    overflow nor vanish. A row whose largest entry is below 1e-12 (2^-9 in float16) counts as
    zero: its cosine with anything is 0, and so is the gradient of both. Rounding may carry the
    result some 1e-6 out of [-1, 1].

    Args:
        first: features, finite, shape (P, U).
        second: the same.

    Returns:
        Shape (P,), float32 (float64 for float64).

    Raises:
        ValueError: if the shapes differ or are not (P, U) with U >= 1.
    """
    if first.ndim != 2 or first.shape != second.shape or not first.shape[1]:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"features: shapes {shapes} must be equal, (P, U) with U >= 1")
    with torch.autocast(first.device.type, enabled=False):
        return (_unit(first) * _unit(second)).sum(dim=1)


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, in float32 at least; zero rows stay zero, without a gradient."""
    smallest = _SMALLEST.get(rows.dtype, _SMALLEST_ELSE)
    if rows.dtype != torch.float64:
        rows = rows.float()
    # A constant to the gradient: a cosine does not depend on it.
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    zero = largest < smallest
    scaled = torch.where(zero, 0.0, rows / torch.where(zero, 1.0, largest))
    # A zero row is given length 1: the square root has no slope at 0.
    length = (scaled.square().sum(dim=1, keepdim=True) + zero).sqrt()
    return scaled / length


class Similarity(nn.Module):
    """Loss of pairs of features; t = 1 means different classes."""

    def __init__(self, form: str = "logit", *, scale: float = 10.0, offset: float = 0.5) -> None:
        """Choose the form.

        Args:
            form: "logit", "clamp" or "clamp_eps".
            scale: first s of the logit form, in [1, 100].
            offset: first b of the logit form, the cosine at which both answers are as likely.

        Raises:
            ValueError: for an unknown form or a number outside its range.
        """
        super().__init__()
        low, high = _SCALE_BOUNDS
        if form not in FORMS:
            raise ValueError(f"form: {form!r} must be one of {list(FORMS)}")
        if not low <= scale <= high:
            raise ValueError(f"scale: {scale} must be in [{low:g}, {high:g}]")
        if not math.isfinite(offset):
            raise ValueError(f"offset: {offset} must be finite")
        self.form = form
        self.bounds = (_EPS, 1 - _EPS) if form == "clamp_eps" else (0.0, 1.0)
        if form == "logit":
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
            self.offset = nn.Parameter(torch.tensor(float(offset)))

    @property
    def scale(self) -> Tensor:
        """S of the logit form, in [1, 100], without dimensions."""
        low, high = _SCALE_BOUNDS
        bounded: Tensor = _Projected.apply(self.log_scale, math.log(low), math.log(high))
        return bounded.exp()

    def difference(self, cosines: Tensor) -> Tensor:
        """How different pairs of these cosines, (P,), are said to be, (P,); higher is more.

        The logit s * (b - cos) in the logit form, f before its clamp in the others.
        """
        return self.scale * (self.offset - cosines) if self.form == "logit" else 1 - cosines

    def forward(self, first: Tensor, second: Tensor, different: Tensor) -> dict[str, Tensor]:
        """Loss of each pair, and what tells a collapse.

        Finite for all finite features, in every form. Features that are not finite give a loss
        that is not, which training refuses.

        Args:
            first: features, shape (P, U), P >= 1.
            second: the same.
            different: t, 1 or True where a pair is of different classes, shape (P,).

        Returns:
            - per_pair: loss in nats, (P,).
            - cosine: (P,), without a gradient.
            - clamped: share of pairs at or beyond a bound; 0 in the logit form.
            - different_cosine_sum, num_different: over the pairs of different classes, without
                dimensions. A batch may have no such pair: what tells a collapse is the ratio of
                their sums (or means) over an epoch, not the batch's own.

        Raises:
            ValueError: if a shape does not fit or there is no pair.
        """
        if different.ndim != 1 or len(different) != len(first) or not len(different):
            raise ValueError(
                f"different: shape {tuple(different.shape)} must be (P,) with P >= 1, for "
                f"features of {tuple(first.shape)}. A batch of one image has no pair"
            )
        cosines = cosine(first, second)
        target = different.to(cosines.dtype)
        with torch.autocast(first.device.type, enabled=False):
            told = self.difference(cosines)
            if self.form == "logit":
                loss = functional.binary_cross_entropy_with_logits(told, target, reduction="none")
                clamped = torch.zeros_like(told)
            else:
                low, high = self.bounds
                outside = (told <= low) | (told >= high)
                inside = torch.where(outside, told.detach().clamp(low, high), told)
                loss = functional.binary_cross_entropy(inside, target, reduction="none")
                clamped = outside.to(told.dtype)
        return {
            "per_pair": loss,
            "cosine": cosines.detach(),
            "clamped": clamped.mean(),
            "different_cosine_sum": (cosines.detach() * target).sum(),
            "num_different": target.sum(),
        }


class _Projected(torch.autograd.Function):
    """Clamp whose gradient is stopped only where a descent would lead further out."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, low: float, high: float) -> Tensor:
        return value.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        del output
        value, ctx.low, ctx.high = inputs
        ctx.save_for_backward(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors
        outwards = ((value >= ctx.high) & (gradient < 0)) | ((value <= ctx.low) & (gradient > 0))
        return torch.where(outwards, 0.0, gradient), None, None
