"""Random search."""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler

from study.searchers.catalog import Asked

SEARCHER = {"text": "random search", "learns": False}


def sampler(asked: Asked) -> BaseSampler:
    """Independent draws."""
    return RandomSampler(seed=asked.seed)
