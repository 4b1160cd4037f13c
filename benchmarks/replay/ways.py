"""The ways to search that are compared: each a setting of searcher, scheduler, objective, path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from replay.cube import Floats
from replay.table import ALPHAS
from replay.truth import States

BELOW_BASE = 0.01  # the floor of the shipped spaces: a point under the base
PATH = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Judged:
    """States as a study judges them; arrays of one shape.

    Attributes:
        shortfall: how far a state lies under the floor; 0 where it may be selected.
        objective: what searcher and scheduler minimise.
    """

    shortfall: Floats
    objective: Floats

    @property
    def passes(self) -> NDArray[np.bool_]:
        """Whether a state may be selected."""
        passes: NDArray[np.bool_] = self.shortfall == 0
        return passes

    def best(self) -> int:
        """Flat index of the best: those that pass first, then the lowest objective.

        Of equals the last, with the largest alpha.
        """
        backwards = np.lexsort((self.objective.ravel()[::-1], ~self.passes.ravel()[::-1]))
        return int(self.objective.size - 1 - backwards[0])


@dataclass(frozen=True)
class Way:
    """One way to search.

    Attributes:
        searcher: a name of ``study.searchers``.
        scheduler: "none", "asha" ...
        grace: the first rung, in epochs.
        reduction: one in so many goes on at a rung.
        finish: so many trials are to finish above the floor; 0 for no such rule.
        penalty: added to the metric for a point of accuracy under the floor; None for the step
            to 1 + shortfall.
        confidence: a state passes where its floor holds with this probability; None where its
            accuracy as seen is above the floor.
        alphas: places of the path that are scored; 1 alone is no path.
        stopped_as: how the searcher is told of a trial that a rung stopped.
        fitted_to: so many ended trials TPE goes by at most; 0 for all.
    """

    searcher: str = "tpe"
    scheduler: str = "none"
    grace: int = 1
    reduction: int = 3
    finish: int = 0
    penalty: float | None = None
    confidence: float | None = None
    alphas: tuple[float, ...] = (1.0,)
    stopped_as: Literal["complete", "pruned"] = "complete"
    fitted_to: int = 0

    @classmethod
    def read(cls, text: str) -> Way:
        """What words such as ``tpe asha grace=2 penalty=0.2 path confidence=0.9`` stand for.

        The first is the searcher; the rest in any order: a scheduler, ``path``, settings.

        Raises:
            ValueError: for a setting that there is not.
        """
        searcher, *words = text.split()
        told: dict[str, Any] = {"searcher": searcher}
        for word in words:
            name, equals, value = word.partition("=")
            if word == "path":
                told["alphas"] = PATH
            elif name == "alphas":
                told[name] = tuple(float(one) for one in value.split(","))
            elif name == "stopped_as":
                told[name] = value
            elif equals and name in cls.__dataclass_fields__:
                told[name] = float(value) if name in ("penalty", "confidence") else int(value)
            elif not equals:
                told["scheduler"] = word
            else:
                raise ValueError(f"{text}: there is no setting {name}")
        return cls(**told)

    @property
    def columns(self) -> list[int]:
        """The columns of ``ALPHAS`` that are scored."""
        return [int(np.abs(ALPHAS - alpha).argmin()) for alpha in self.alphas]

    def judged(self, states: States, base_accuracy: float) -> Judged:
        """States as seen, by the study's rules; ``base_accuracy`` as seen too."""
        missing = base_accuracy - BELOW_BASE - states.accuracy
        if self.confidence is not None:
            missing = missing + norm.ppf(self.confidence) * states.error
        shortfall = np.maximum(missing, 0.0)
        if self.penalty is None:
            return Judged(shortfall, np.where(shortfall > 0, 1 + shortfall, states.fpr95))
        return Judged(shortfall, states.fpr95 + self.penalty * 100 * shortfall)


def could_hold(true: States, base_accuracy: float, confidence: float | None) -> NDArray[np.bool_]:
    """Whether states, seen as they are, hold the floor with this confidence."""
    needed = 0.0 if confidence is None else norm.ppf(confidence) * true.error
    return np.asarray(true.accuracy - needed >= base_accuracy - BELOW_BASE)
