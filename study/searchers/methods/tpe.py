"""TPE, the tree-structured Parzen estimator; the trials that it is fitted to are bounded."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from typing_extensions import override

from study.searchers.bounded import bounded
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
    return _Bounded(
        asked.fitted_to,
        seed=asked.seed,
        n_startup_trials=STARTUP_TRIALS,
        group=grouped,
        multivariate=True if grouped else None,
    )


class _Bounded(TPESampler):
    """The sampler of one trial, which sees so many trials of the study at most."""

    def __init__(self, fitted_to: int | None, **settings: Any) -> None:
        super().__init__(**settings)
        self._fitted_to = fitted_to
        self._seen: Study | None = None

    def _part(self, study: Study) -> Study:
        if self._seen is None:  # once for all parameters of the trial
            self._seen = bounded(study, self._fitted_to, running=False)
        return self._seen

    @override
    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return super().infer_relative_search_space(self._part(study), trial)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return super().sample_relative(self._part(study), trial, search_space)

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return super().sample_independent(self._part(study), trial, param_name, param_distribution)
