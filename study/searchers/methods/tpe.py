"""TPE, the tree-structured Parzen estimator."""

from __future__ import annotations

from optuna.samplers import BaseSampler, TPESampler

from study.searchers.catalog import Asked

SEARCHER = {
    "text": "a tree-structured Parzen estimator (TPE; Bergstra et al., 2011)",
    "startup": "random until 8 trials had ended",
    "random_first": 8,
}
STARTUP_TRIALS = 8  # Optuna's 10 is most of a study


def sampler(asked: Asked) -> BaseSampler:
    """Groups of parameters that occur together; with several objectives each by itself."""
    grouped = bool(asked.conditional) and asked.num_objectives == 1
    return TPESampler(
        seed=asked.seed,
        n_startup_trials=STARTUP_TRIALS,
        group=grouped,
        multivariate=True if grouped else None,
    )
