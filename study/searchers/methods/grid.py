"""Grid search: every point of the space, in order, from the search's plan."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler

from study.searchers.catalog import Asked

SEARCHER = {"text": "grid search", "learns": False, "points": True}


def sampler(asked: Asked) -> BaseSampler:
    """Never asked for a value, since every point is known."""
    return RandomSampler(seed=asked.seed)
