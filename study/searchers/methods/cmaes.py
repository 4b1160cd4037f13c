"""CMA-ES, the covariance matrix adaptation evolution strategy."""

from __future__ import annotations

from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.trial import FrozenTrial, create_trial

from study.searchers.catalog import Asked

SEARCHER = {
    "requires": ["cmaes"],
    "text": "the covariance matrix adaptation evolution strategy (CMA-ES; Hansen, 2016)",
    "title": "CMA-ES",
    "conditional": False,
    "choices": False,
    "several": False,
    "stateful": True,  # a pickle: so it is made again and never written to or read from a file
    "least_history": 10,  # it starts from the best tenth of them
}


def sampler(asked: Asked) -> BaseSampler:
    """Models ranges that every trial has."""
    return CmaEsSampler(
        seed=asked.seed,
        warn_independent_sampling=False,
        consider_pruned_trials=asked.stops_early,
        source_trials=[_ranged(one, asked.conditional) for one in asked.history] or None,
    )


def _ranged(trial: FrozenTrial, conditional: frozenset[str]) -> FrozenTrial:
    """A trial of the history with what is modelled alone."""
    kept = {
        name: one
        for name, one in trial.distributions.items()
        if not isinstance(one, CategoricalDistribution) and name not in conditional
    }
    params = {name: trial.params[name] for name in kept}
    return create_trial(params=params, distributions=kept, value=trial.value)
