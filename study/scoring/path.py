"""The path from the base to a trial's weights: which of its points are scored, and when.

A trial that starts from a base of the same network is a path: base + alpha (tuned - base),
BatchNorm's running statistics likewise (WiSE-FT; Wortsman et al., 2022, arXiv:2109.01903, for
robustness to shifts). No training is needed for a point of it, one validation pass is. Margins say
how far a trial goes and alpha how far it goes back: where tuning cost more ID accuracy than the
floor allows, the best model of the trial lies on its path.
"""

from __future__ import annotations

from dataclasses import dataclass

ALPHAS = (0.2, 0.4, 0.6, 0.8)
MOST_OF_TRAINING = 0.1
"""What scoring the points may cost at every epoch, as a share of the training itself."""
_FORWARD = 1 / 3
"""What an image costs that is only scored, in images that are trained on."""


@dataclass(frozen=True)
class PathPlan:
    """Which points of the path are scored, and when.

    Attributes:
        alphas: between 0 and 1, ascending; beside them are the base's weights, scored once for
            all epochs, and at every epoch the trained ones.
        epochs: at which they are scored; None for every one. The last one always is.
    """

    alphas: tuple[float, ...] = ALPHAS
    epochs: frozenset[int] | None = None

    @classmethod
    def within_cost(
        cls, alphas: tuple[float, ...], *, trained: float, validated: int, rungs: frozenset[int]
    ) -> PathPlan:
        """Every epoch where that costs little; where epochs are short, at rungs and at the end.

        Args:
            alphas: between 0 and 1, ascending.
            trained: images that an epoch trains on, outliers among them.
            validated: images that a validation pass scores.
            rungs: epochs at which a trial scheduler compares trials.
        """
        cheap = len(alphas) * validated * _FORWARD <= MOST_OF_TRAINING * trained
        return cls(alphas, None if cheap else rungs)

    def scored_at(self, epoch: int, last: int) -> tuple[float, ...]:
        """The alphas below 1 that are scored after ``epoch`` of ``last``, ascending."""
        scored = self.epochs is None or epoch in self.epochs or epoch == last
        return self.alphas if scored else ()
