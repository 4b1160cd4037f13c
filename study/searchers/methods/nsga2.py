"""NSGA-II, a genetic algorithm."""

from __future__ import annotations

from optuna.samplers import BaseSampler, NSGAIISampler

from study.searchers.catalog import Asked

SEARCHER = {
    "text": "the genetic algorithm NSGA-II (Deb et al., 2002; population {population})",
    "models": "finished",
    "random_first": "population",
    "conditional": False,
    "stateful": True,
    "history_attrs": {"NSGAIISampler:generation": 0},  # another study's are of the first one
    "parameters": {
        "population": {
            "default": 16,
            "ge": 2,
            "le": 10_000,
            "meaning": "finished trials a generation; the first one is drawn at random",
        }
    },
    "smoke": {"population": 2},  # three trials make more than one generation
}


def sampler(asked: Asked) -> BaseSampler:
    """Parents are taken from the best of the generation before."""
    return NSGAIISampler(seed=asked.seed, population_size=asked.parameters["population"])
