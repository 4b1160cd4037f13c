"""What the project's search is compared with: a full grid, and Optuna as it comes."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from replay.cube import grid
from replay.searching import METRIC, Begin, Told
from replay.truth import Truth
from replay.ways import Way
from study.scoring.objective import OBJECTIVE, SHORTFALL
from study.tune.record import TrialRecord

GRID_LEVELS = 3
CONFIDENCE = 0.8  # of their choice, as of the ways that they are compared with


class GridSearch:
    """Every point of a grid, in order, each to its end."""

    def __init__(self, truth: Truth, way: Way, seed: int, num_trials: int, at_a_time: int) -> None:
        """The whole grid, whatever the number of trials."""
        del way, seed, num_trials, at_a_time
        points = grid(truth.table.distributions, GRID_LEVELS)
        self._left = [TrialRecord(n, 0, dict(point)) for n, point in enumerate(points)]
        self._finished: list[TrialRecord] = []
        self._last = truth.table.num_epochs

    def next_trial(self) -> tuple[TrialRecord, int] | None:
        """The next point."""
        return (self._left.pop(0), 1) if self._left else None

    def told(self, record: TrialRecord, epoch: int, metrics: Told) -> bool:
        """To the end."""
        del metrics
        if epoch == self._last:
            self._finished.append(record)
        return epoch == self._last

    def finished(self) -> list[TrialRecord]:
        """All that ended."""
        return self._finished


class PlainOptuna:
    """Optuna as a user would take it: its TPE, its successive halving, the stepped objective."""

    def __init__(self, truth: Truth, way: Way, seed: int, num_trials: int, at_a_time: int) -> None:
        """Begin a study."""
        del way
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study(sampler=self.sampler(seed), pruner=self.pruner())
        self._distributions, self._last = dict(truth.table.distributions), truth.table.num_epochs
        self._num_trials, self._at_a_time = num_trials, at_a_time
        self._live: dict[int, Trial] = {}
        self._finished: list[TrialRecord] = []
        self._asked = 0

    def sampler(self, seed: int) -> TPESampler:
        """Its own, with its own settings."""
        return TPESampler(seed=seed)

    def pruner(self) -> optuna.pruners.BasePruner:
        """Its successive halving."""
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)

    def next_trial(self) -> tuple[TrialRecord, int] | None:
        """Asked where a worker is free."""
        if self._asked == self._num_trials or len(self._live) == self._at_a_time:
            return None
        self._asked += 1
        trial = self._study.ask(self._distributions)
        self._live[trial.number] = trial
        return TrialRecord(trial.number, 0, trial.params), 1

    def told(self, record: TrialRecord, epoch: int, metrics: Told) -> bool:
        """Reported; told at the end with the last value."""
        trial, value = self._live[record.number], self.value(metrics)
        trial.report(value, epoch)
        if epoch == self._last:
            self.last_told(trial, metrics)
            self._study.tell(trial, value)
            self._finished.append(record)
        elif trial.should_prune():
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            return False
        del self._live[record.number]
        return True

    def value(self, metrics: Told) -> float:
        """What is minimised."""
        return metrics[OBJECTIVE]

    def last_told(self, trial: Trial, metrics: Told) -> None:
        """Nothing more."""

    def finished(self) -> list[TrialRecord]:
        """Those that were not pruned."""
        return self._finished


class ConstrainedOptuna(PlainOptuna):
    """Optuna with the floor as a constraint of its TPE, and no pruner, which knows none."""

    def pruner(self) -> optuna.pruners.BasePruner:
        """None."""
        return optuna.pruners.NopPruner()

    def value(self, metrics: Told) -> float:
        """The metric."""
        return metrics[METRIC]

    def last_told(self, trial: Trial, metrics: Told) -> None:
        """The shortfall, 0 where the floor is met."""
        trial.set_constraint("id_accuracy", metrics[SHORTFALL])


@dataclass(frozen=True)
class Rival:
    """Who searches, and by which rules it is judged."""

    begin: Begin
    way: Way


RIVALS = {
    "grid": Rival(GridSearch, Way("grid", confidence=CONFIDENCE)),
    "optuna": Rival(PlainOptuna, Way("tpe", confidence=CONFIDENCE)),
    "optuna, constrained": Rival(ConstrainedOptuna, Way("tpe", confidence=CONFIDENCE)),
}
