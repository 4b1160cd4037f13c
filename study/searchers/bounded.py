"""A study of which a searcher sees so many ended trials at most.

What a searcher costs at each trial grows with the trials that it is fitted to. The best ones stay,
as many as TPE takes for good, and of the others the last. Up to the bound it asks as without one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def bounded(study: Study, most: int | None, *, running: bool) -> Study:
    """The study, with ``most`` of its ended trials where it has more; None for all of them.

    ``running``: whether the trials that run are seen beside those.
    """
    ended = study.get_trials(deepcopy=False, states=_ENDED)
    if most is None or len(ended) <= most:
        return study
    kept = _fitted(ended, most, study.directions)
    now = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if running else []
    return cast(Study, _Part(study, [*kept, *now]))


def _fitted(
    ended: Sequence[FrozenTrial], most: int, directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    best: set[int] = set()
    if len(directions) == 1:
        sign = 1.0 if directions[0] == StudyDirection.MINIMIZE else -1.0
        whole = [(sign * one.value, one.number) for one in ended if one.value is not None]
        best = {number for _, number in sorted(whole)[: default_gamma(most)]}
    others = [one.number for one in ended if one.number not in best]
    kept = best.union(others[len(others) - (most - len(best)) :])
    return [one for one in ended if one.number in kept]


class _Part:
    """An Optuna study of which some trials are seen."""

    def __init__(self, study: Study, seen: list[FrozenTrial]) -> None:
        self._study, self._seen = study, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        del deepcopy, use_cache
        return [one for one in self._seen if states is None or one.state in states]
