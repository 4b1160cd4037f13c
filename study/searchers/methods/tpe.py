"""TPE, the tree-structured Parzen estimator.

Its cost a trial grows with the trials that it is fitted to, so those are bounded. What it takes
for the good ones are 25 at most anyway; they stay, and of the others the last. Up to the bound it
asks as without one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

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
        if self._seen is None:
            self._seen = study
            ended = study.get_trials(deepcopy=False, states=_ENDED)
            if self._fitted_to is not None and len(ended) > self._fitted_to:
                kept = _fitted(ended, self._fitted_to, study.directions)
                self._seen = cast(Study, _Part(study, kept))
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


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def _fitted(
    ended: Sequence[FrozenTrial], most: int, directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """The best of so many trials, as many as TPE takes for good, and the last of the others."""
    best: set[int] = set()
    if len(directions) == 1:
        sign = 1.0 if directions[0] == StudyDirection.MINIMIZE else -1.0
        whole = [(sign * one.value, one.number) for one in ended if one.value is not None]
        best = {number for _, number in sorted(whole)[: default_gamma(most)]}
    others = [one.number for one in ended if one.number not in best]
    kept = best.union(others[len(others) - (most - len(best)) :])
    return [one for one in ended if one.number in kept]


class _Part:
    """An Optuna study of which some ended trials are seen."""

    def __init__(self, study: Study, ended: list[FrozenTrial]) -> None:
        self._study, self._ended = study, ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        del deepcopy, use_cache
        return [one for one in self._ended if states is None or one.state in states]
