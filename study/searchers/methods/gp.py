"""Bayesian optimisation with a Gaussian process."""

from __future__ import annotations

from optuna.samplers import BaseSampler, GPSampler

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
    return GPSampler(
        seed=asked.seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
    )
