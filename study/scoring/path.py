"""The path from the base to a trial's weights: which of its points are scored, and when.

A trial that starts from a base of the same network is a path: base + alpha (tuned - base),
BatchNorm's running statistics likewise (WiSE-FT; Wortsman et al., 2022, arXiv:2109.01903, for
robustness to shifts). No training is needed for a point of it, one validation pass is. Margins say
how far a trial goes and alpha how far it goes back: where tuning cost more ID accuracy than the
floor allows, the best model of the trial lies on its path, just where the path leaves the floor.
That place is found by halving: a few points first, then the middle of the gap between the last
that passes and the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALPHAS = (0.5,)
HALVINGS = 3
"""In 100 replayed searches of 24 trials the choice had 15.0 points less FPR95 than without a path,
and 3.3 less than with four fixed places, .2 to .8, which cost as many passes (docs/search.md)."""
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
        halvings: so often the gap where the path leaves the floor is halved, and scored there.
        epochs: at which they are scored; None for every one. The last one always is.
    """

    alphas: tuple[float, ...] = ALPHAS
    halvings: int = HALVINGS
    epochs: frozenset[int] | None = None

    @classmethod
    def within_cost(
        cls,
        alphas: tuple[float, ...],
        halvings: int,
        *,
        trained: float,
        validated: int,
        rungs: frozenset[int],
    ) -> PathPlan:
        """Every epoch where that costs little; where epochs are short, at rungs and at the end.

        Args:
            alphas: between 0 and 1, ascending.
            halvings: so often the gap where the path leaves the floor is halved.
            trained: images that an epoch trains on, outliers among them.
            validated: images that a validation pass scores.
            rungs: epochs at which a trial scheduler compares trials.
        """
        passes = len(alphas) + halvings
        cheap = passes * validated * _FORWARD <= MOST_OF_TRAINING * trained
        return cls(alphas, halvings, None if cheap else rungs)

    def scored_at(self, epoch: int, last: int) -> tuple[float, ...]:
        """The alphas below 1 that are scored after ``epoch`` of ``last``, ascending."""
        scored = self.epochs is None or epoch in self.epochs or epoch == last
        return self.alphas if scored else ()

    def most_passes(self, epoch: int, last: int) -> int:
        """So many validation passes at most, beside that of the trained weights."""
        alphas = self.scored_at(epoch, last)
        return len(alphas) + self.halvings if alphas else 0


def path_text(alphas: Iterable[float], halvings: int) -> str:
    """Which points are scored beside the base and the trained weights, in words."""
    told = "alpha " + ", ".join(f"{alpha:g}" for alpha in alphas)
    if not halvings:
        return told
    times = "once" if halvings == 1 else f"{halvings} times"
    return f"{told}, and in the gap where the path leaves the floor, halved {times},"


def where_it_leaves(states: Iterable[tuple[float, bool]]) -> float | None:
    """The middle of the gap in which a path leaves the floor.

    Args:
        states: alpha of each that was scored, and whether it passes the floor.

    Returns:
        The alpha between the last that passes and the next; None where the trained weights pass,
        or none does.
    """
    scored = sorted(states)
    passing = [place for place, (_, passes) in enumerate(scored) if passes]
    if not passing or passing[-1] == len(scored) - 1:
        return None
    within, beyond = scored[passing[-1]][0], scored[passing[-1] + 1][0]
    return (within + beyond) / 2
