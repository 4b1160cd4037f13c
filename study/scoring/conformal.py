"""A threshold with a finite-sample promise: split conformal prediction with the score as it is.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; Bates, Candes, Lei,
Romano and Sesia, "Testing for outliers with conformal p-values", 2023 (arXiv:2104.08279), use it
to tell OOD from ID.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from study.scoring.intervals import Interval

_ROUNDING = 1e-9  # what floats add to (n + 1) level must not add an image: 0.95 * 20 is 19


@dataclass(frozen=True)
class Conformal:
    """What is accepted so that a new ID image is, with a probability of ``level`` or more.

    Attributes:
        threshold: the highest score that is accepted; None where so few images calibrate that
            the promise holds for no threshold but infinity.
        level: the probability, over calibration images and new image together.
        num_images: n, the images that calibrate.
        share: where 90 % of calibrations have the share of new ID images that they accept, for
            scores without ties; 1 to 1 without a threshold.
    """

    threshold: float | None
    level: float
    num_images: int
    share: Interval

    def promise(self) -> str:
        """What the threshold promises, and what it takes, as a sentence."""
        need = (
            f"an ID picture that is exchangeable with the {self.num_images:,} that calibrated it "
            f"is accepted with a probability of at least {100 * self.level:g} %"
        )
        if self.threshold is None:
            few = math.ceil(self.level / (1 - self.level) - _ROUNDING)
            return f"{need}: that takes {few} of them, so everything is accepted"
        low, high = (f"{100 * end:.1f}" for end in self.share)
        return f"{need}; of nine calibrations in ten, the share accepted is {low} to {high} %"


def conformal_threshold(id_scores: npt.ArrayLike, level: float = 0.95) -> Conformal:
    """The k-th smallest of n ID scores, k = ceil((n + 1) level).

    A new score exchangeable with them is at most that with probability k / (n + 1) or more;
    given the calibration the share accepted is Beta(k, n + 1 - k) for scores without ties.

    Args:
        id_scores: OOD scores of ID images that are not in training, shape (n,).
        level: in (0, 1).

    Raises:
        ValueError: for scores that are none, not 1-D or not finite, or a level outside.
    """
    scores = np.sort(np.asarray(id_scores, dtype=np.float64))
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"id_scores: shape {scores.shape}, must be (n,) of finite numbers")
    if not 0 < level < 1:
        raise ValueError(f"level: {level} must lie between 0 and 1")
    n = scores.size
    rank = math.ceil((n + 1) * level - _ROUNDING)
    if rank > n:
        return Conformal(None, level, n, Interval(1.0, 1.0, 0.9))
    low, high = (float(beta.ppf(tail, rank, n + 1 - rank)) for tail in (0.05, 0.95))
    share = Interval(low, high, 0.9)
    return Conformal(float(scores[rank - 1]), level, n, share)
