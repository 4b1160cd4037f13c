"""A sampler whose every draw is a function of (seed, trial number, recorded history)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from study.seeding import seed_of

Point = dict[str, Any]
_STARTUP_TRIALS = 8  # random ones before TPE models anything; Optuna's 10 is most of a short study


class LedgerSampler(BaseSampler):
    """Answers from the ledger where it has an answer, else from a sampler seeded for the trial.

    A fresh inner sampler for each trial leaves no generator state behind, so a study that is
    rebuilt from its ledger goes on exactly as it would have.

    Attributes:
        recorded: parameters of the trials that are on the ledger, by number.
    """

    def __init__(self, searcher: str, seed: int, grid: Sequence[Point] = ()) -> None:
        """``searcher``: "tpe", "random", or "grid" with its points in ``grid``."""
        self.recorded: dict[int, Point] = {}
        self._searcher = searcher
        self._seed = seed
        self._grid = grid
        self._inner: BaseSampler = RandomSampler(seed=0)

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        if self._answer(trial) is not None:
            return
        seed = seed_of(self._seed, "search", trial.number) % 2**32
        if self._searcher == "tpe":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._inner = TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
        else:
            self._inner = RandomSampler(seed=seed)
        self._inner.before_trial(study, trial)

    def _answer(self, trial: FrozenTrial) -> Point | None:
        if trial.number in self.recorded:
            return self.recorded[trial.number]
        return self._grid[trial.number] if self._grid else None

    @override
    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The inner sampler's; empty where the answer is known."""
        if self._answer(trial) is not None:
            return {}
        return self._inner.infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The inner sampler's joint draw."""
        if not search_space:
            return {}
        return self._inner.sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The known answer, or the inner sampler's draw."""
        answer = self._answer(trial)
        if answer is not None:
            return answer[param_name]
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    @override
    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Nothing: a result changes the history, never the sampler."""

    @override
    def reseed_rng(self) -> None:
        """Nothing: the seed belongs to the trial."""


def make_study(
    sampler: LedgerSampler, scheduler: str, grace_epochs: int, reduction_factor: int
) -> Study:
    """An in-memory Optuna study with the sampler and the trial scheduler as its pruner.

    "asha" is asynchronous successive halving (Li et al., MLSys 2020, arXiv:1810.05934) with one
    bracket; its rungs lie in the study's own trials, so replaying the ledger brings them back.
    """
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if scheduler == "asha":
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=grace_epochs, reduction_factor=reduction_factor
        )
    return optuna.create_study(sampler=sampler, pruner=pruner, direction="minimize")


Distributions = Mapping[str, BaseDistribution]
