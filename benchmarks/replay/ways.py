"""The ways to search that are compared: each a setting of searcher, scheduler, objective, path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from replay.cube import Floats
from replay.table import ALPHAS
from replay.truth import States
from study.scoring.floor import asked_of_each
from study.scoring.path import ALPHAS as SHIPPED
from study.scoring.path import HALVINGS

BELOW_BASE = 0.01  # the floor of the shipped spaces: a point under the base
PATH = (0.0, *SHIPPED, 1.0)


@dataclass(frozen=True)
class Judged:
    """States as a study judges them; arrays of one shape.

    Attributes:
        margin: how far a state lies above the floor, of accuracy; negative under it.
        metric: as it is.
        objective: the metric with what lying under the floor costs.
    """

    margin: Floats
    metric: Floats
    objective: Floats

    @property
    def shortfall(self) -> Floats:
        """How far a state lies under the floor; 0 where it may be selected."""
        return np.maximum(-self.margin, 0.0)

    @property
    def passes(self) -> NDArray[np.bool_]:
        """Whether a state may be selected."""
        passes: NDArray[np.bool_] = self.margin >= 0
        return passes

    def best(self) -> int:
        """Flat index of the best: those that pass first, then the lowest objective.

        Of equals the last, with the largest alpha.
        """
        backwards = np.lexsort((self.objective.ravel()[::-1], ~self.passes.ravel()[::-1]))
        return int(self.objective.size - 1 - backwards[0])

    def best_of_rows(self) -> NDArray[np.intp]:
        """The column of the best of each row, likewise."""
        rows = zip(self.margin, self.metric, self.objective, strict=True)
        return np.array([Judged(*row).best() for row in rows])


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
        confidence: the choice is to hold the floor with this probability, for which each state is
            asked for more in a search of many trials; None where its accuracy as seen is above it.
        alphas: places of the path that are scored; 1 alone is no path.
        halvings: so often the gap where the path leaves the floor is halved and scored.
        tells: the objective that searcher and scheduler hear of an epoch. "best": of the state
            that would be selected. "lowest": the lowest of any state, its penalty included.
            "floor": what the path gives where it leaves the floor, linearly between its states.
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
    halvings: int = 0
    tells: Literal["best", "lowest", "floor"] = "best"
    stopped_as: Literal["complete", "pruned"] = "complete"
    fitted_to: int = 0

    @classmethod
    def read(cls, text: str) -> Way:
        """What words such as ``tpe asha grace=2 penalty=0.2 path confidence=0.9`` stand for.

        The first is the searcher; the rest in any order: a scheduler, settings, and ``path`` for
        the places that a study scores by default.

        Raises:
            ValueError: for a setting that there is not.
        """
        searcher, *words = text.split()
        told: dict[str, Any] = {"searcher": searcher}
        for word in words:
            name, equals, value = word.partition("=")
            if word == "path":
                told = {"alphas": PATH, "halvings": HALVINGS} | told
            elif name == "alphas":
                told[name] = tuple(float(one) for one in value.split(","))
            elif name in ("stopped_as", "tells"):
                told[name] = value
            elif equals and name in cls.__dataclass_fields__:
                told[name] = float(value) if name in ("penalty", "confidence") else int(value)
            elif not equals:
                told["scheduler"] = word
            else:
                raise ValueError(f"{text}: there is no setting {name}")
        return cls(**told)

    def among(self, num_trials: int) -> Way:
        """The way with the confidence that each state is asked in a search of so many trials."""
        if self.confidence is None:
            return self
        return replace(self, confidence=asked_of_each(self.confidence, num_trials))

    @property
    def columns(self) -> list[int]:
        """The columns of ``ALPHAS`` that may be scored."""
        return list(range(len(ALPHAS))) if self.halvings else _columns(self.alphas)

    def told(self, judged: Judged) -> Floats:
        """What searcher and scheduler hear of each epoch, (E,), of states (E, A)."""
        rows = np.arange(len(judged.objective))
        if self.tells == "lowest":
            return np.asarray(judged.objective.min(axis=1))
        best = judged.best_of_rows()
        told: Floats = judged.objective[rows, best]
        if self.tells == "floor":
            told = np.minimum(told, _at_the_floor(judged, best))
        return told

    def judged(self, states: States, base_accuracy: float) -> Judged:
        """States as seen, by the study's rules; ``base_accuracy`` as seen too."""
        margin = states.accuracy - (base_accuracy - BELOW_BASE)
        if self.confidence is not None:
            margin = margin - norm.ppf(self.confidence) * states.error
        shortfall = np.maximum(-margin, 0.0)
        if self.penalty is None:
            objective = np.where(shortfall > 0, 1 + shortfall, states.fpr95)
        else:
            objective = states.fpr95 + self.penalty * 100 * shortfall
        if self.halvings:
            scored = [self._scored(row >= 0) for row in margin.reshape(-1, margin.shape[-1])]
            left_out = ~np.reshape(scored, margin.shape)
            margin, objective = (
                np.where(left_out, worst, one)
                for one, worst in ((margin, -np.inf), (objective, np.inf))
            )
        return Judged(margin, states.fpr95, objective)

    def _scored(self, passes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of one epoch, (A,): the coarse places, and those between where the floor is crossed."""
        scored, last = np.zeros(len(passes), dtype=bool), len(passes) - 1
        scored[_columns(self.alphas)] = True
        for _ in range(self.halvings):
            within = int(np.flatnonzero(scored & passes).max(initial=0))
            beyond = within + 1 + int(scored[within + 1 :].argmax()) if within < last else last
            scored[(within + beyond) // 2] = True
        return scored


def _columns(alphas: tuple[float, ...]) -> list[int]:
    return [int(np.abs(ALPHAS - alpha).argmin()) for alpha in alphas]


def _at_the_floor(judged: Judged, best: NDArray[np.intp]) -> Floats:
    """The metric between each row's best state and the next, where the path leaves the floor."""
    rows, columns = np.arange(len(best)), np.arange(judged.objective.shape[1])
    later = np.isfinite(judged.objective) & (columns > best[:, None])
    after = np.where(later.any(axis=1), later.argmax(axis=1), best)
    here, there = judged.margin[rows, best], judged.margin[rows, after]
    leaves = (here >= 0) & (there < 0)
    share = np.where(leaves, here / np.where(leaves, here - there, 1.0), 0.0)
    metric = judged.metric
    return np.asarray((1 - share) * metric[rows, best] + share * metric[rows, after])


def could_hold(true: States, base_accuracy: float, confidence: float | None) -> NDArray[np.bool_]:
    """Whether states, seen as they are, hold the floor with this confidence."""
    needed = 0.0 if confidence is None else norm.ppf(confidence) * true.error
    return np.asarray(true.accuracy - needed >= base_accuracy - BELOW_BASE)
