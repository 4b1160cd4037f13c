"""What fixes the decisions of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from study.scoring.metrics import metric_of
from study.scoring.objective import OBJECTIVE, standing
from study.space.search.conditions import Conditions, Point
from study.tune.record import checkpoint_epoch
from study.tune.sampler import Direction, Distributions, LedgerSampler

FITTED_TO = 500


def _nothing(metrics: dict[str, float]) -> str:
    del metrics
    return ""


def _as_recorded(metrics: Mapping[str, float]) -> Mapping[str, float]:
    return metrics


@dataclass(frozen=True)
class SearchPlan:
    """What fixes a search's decisions; the number of trials is not part of it.

    Attributes:
        seed: of the study; trials draw their parameters from (seed, number).
        searcher: a name of ``study.searchers``.
        scheduler: "asha", or a name that ``make_pruner`` knows.
        grace_epochs: first rung, in epochs; nobody is stopped before it.
        reduction_factor: of ASHA and Hyperband, one in so many goes on.
        checkpoint_rule: "best" or "last", which objective a finished trial is told with.
        distributions: searched parameter -> Optuna distribution, parents of conditions first.
        grid: points of a grid search, in order.
        num_epochs: epochs of a trial with these parameters.
        remark: what the last epoch's metrics give cause to say; empty for nothing.
        stands: how a state stands, for people; empty for nothing.
        conditions: of the parameters that not every trial has.
        max_epochs: the most that a trial of the study can have.
        parameters: the searcher's own, where they are not its defaults.
        objectives: metrics that the searcher follows in place of val/objective; none for that.
        first: points that are tried before the searcher's, each some of the parameters.
        num_tuning: trials that tune an ablation's arms, the first of the grid.
        rejudged: metrics of an epoch of another study, under this study's floor.
        stopped_as: how the searcher is told of a trial that a rung stopped: "complete", with the
            objective that it has by then, or "pruned".
        fitted_to: so many ended trials TPE and gp are fitted to at most, where the ledger says so.
    """

    seed: int
    searcher: str
    scheduler: str
    grace_epochs: int
    reduction_factor: int
    checkpoint_rule: str
    distributions: Distributions
    num_epochs: Callable[[Point], int]
    grid: Sequence[Point] = ()
    remark: Callable[[dict[str, float]], str] = _nothing
    stands: Callable[[dict[str, float]], str] = _nothing
    conditions: Conditions = field(default_factory=dict)
    max_epochs: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)
    objectives: tuple[str, ...] = ()
    first: Sequence[Point] = ()
    num_tuning: int = 0
    rejudged: Callable[[Mapping[str, float]], Mapping[str, float]] = _as_recorded
    # TPE takes any complete trial for better than any pruned one, and models of finished trials
    # alone would wait for them.
    stopped_as: Literal["complete", "pruned"] = "complete"
    fitted_to: int | None = FITTED_TO

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Optuna's direction of each objective."""
        told = self.objectives or (OBJECTIVE,)
        lower = [metric_of(name).better == "lower" for name in told]
        return tuple("minimize" if one else "maximize" for one in lower)

    def values(self, epochs: Sequence[Mapping[str, float]]) -> list[float]:
        """What the searcher is told of a trial, at that of these epochs that stands for it."""
        chosen = checkpoint_epoch([standing(one) for one in epochs], self.checkpoint_rule) - 1
        return [epochs[chosen][name] for name in self.objectives or (OBJECTIVE,)]

    def sampler(self) -> LedgerSampler:
        """The searcher."""
        return LedgerSampler(
            self.searcher,
            self.seed,
            grid=self.grid,
            parameters=self.parameters,
            stops_early=self.scheduler in ("asha", "hyperband"),
            conditional=self.conditions,
            num_objectives=len(self.directions),
            fitted_to=self.fitted_to,
        )
