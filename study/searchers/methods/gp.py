"""Bayesian optimisation with a Gaussian process; the trials that it is fitted to are bounded."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from typing_extensions import override

from study.searchers.bounded import bounded
from study.searchers.catalog import Asked

SEARCHER = {
    "text": "Bayesian optimisation with a Gaussian process",
    "startup": "random until 8 trials had finished",
    "models": "finished",
    "random_first": 8,
    "conditional": False,
}
STARTUP_TRIALS = 8


def sampler(asked: Asked) -> BaseSampler:
    """Models finished trials alone."""
    return _Bounded(
        asked.fitted_to,
        seed=asked.seed,
        n_startup_trials=STARTUP_TRIALS,
        warn_independent_sampling=False,
    )


class _Bounded(GPSampler):
    """The sampler of one trial, which sees so many trials of the study at most."""

    def __init__(self, fitted_to: int | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._fitted_to = fitted_to

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        seen = bounded(study, self._fitted_to, running=True)
        return super().sample_relative(seen, trial, search_space)
