"""A sampler whose every draw is a function of (seed, trial number, recorded history)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from typing_extensions import override

from study.errors import StudyFailed
from study.searchers.catalog import Asked, build_sampler, searchers
from study.seeding import seed_of
from study.space.search.conditions import Point

Direction = Literal["minimize", "maximize"]
Distributions = Mapping[str, BaseDistribution]
LEAST_JUDGED = 4  # finished trials at an epoch before the median of them stops anyone


class LedgerSampler(BaseSampler):
    """Answers from the ledger where it has an answer, else from a sampler seeded for the trial.

    A fresh inner sampler for each trial leaves no generator state behind, so a study that is
    rebuilt from its ledger goes on exactly as it would have. A stateful searcher keeps what it
    knows between trials in Optuna's in-memory study; it is asked again in a replay, when the
    history is what it was, and writes the same state, while the answer stays the recorded one.

    Attributes:
        recorded: parameters of the trials that are on the ledger, by number.
        history: trials of another study that come before trial 0.
        observed: how often Optuna was told once more of a trial that it knew.
        fitted_to: so many ended trials the searcher goes by at most; None for all.
    """

    def __init__(
        self,
        searcher: str,
        seed: int,
        *,
        grid: Sequence[Point] = (),
        parameters: Mapping[str, Any] | None = None,
        stops_early: bool = False,
        conditional: Iterable[str] = (),
        num_objectives: int = 1,
        fitted_to: int | None = None,
    ) -> None:
        """Take what decides the draws.

        Args:
            searcher: a name of ``study.searchers``.
            seed: of the study.
            grid: points of a grid search, in order.
            parameters: the searcher's own, where they are not its defaults.
            stops_early: whether a trial scheduler may leave few trials finished.
            conditional: parameters that not every trial has.
            num_objectives: that the searcher follows.
            fitted_to: so many ended trials the searcher goes by at most; None for all.
        """
        self.fitted_to = fitted_to
        self.recorded: dict[int, Point] = {}
        self.history: list[FrozenTrial] = []
        self.observed = 0
        self._searcher = searcher
        self._seed = seed
        self._grid = grid
        self._declared = searchers()[searcher]
        self._parameters = {n: one.default for n, one in self._declared.parameters.items()}
        self._parameters |= parameters or {}
        self._stops_early = stops_early
        self._conditional = frozenset(conditional)
        self._num_objectives = num_objectives
        self._inner: BaseSampler = RandomSampler(seed=0)

    def number(self, trial: FrozenTrial) -> int:
        """The number in the study, from 0 after the history, of a trial that is asked for now."""
        return trial.number - len(self.history) - self.observed

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the trial's own sampler."""
        if self._answer(trial) is not None and not self._declared.stateful:
            return
        seed = seed_of(self._seed, "search", self.number(trial)) % 2**32
        asked = Asked(
            seed,
            self._parameters,
            self._conditional,
            self._num_objectives,
            self._stops_early,
            self.history,
            self.fitted_to,
        )
        with warnings.catch_warnings(), self._blamed():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._inner = build_sampler(self._searcher, asked)
            self._inner.before_trial(study, trial)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """What a searcher's own code raises is told with its file."""
        try:
            yield
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise StudyFailed(f"{self._declared.file}: the searcher raised {told}") from error

    def _answer(self, trial: FrozenTrial) -> Point | None:
        number = self.number(trial)
        if number in self.recorded:
            return self.recorded[number]
        return self._grid[number] if self._grid else None

    @override
    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The inner sampler's; empty where the answer is known."""
        with self._blamed():
            if self._answer(trial) is None:
                return self._inner.infer_relative_search_space(study, trial)
            if self._declared.stateful:
                space = self._inner.infer_relative_search_space(study, trial)
                self._inner.sample_relative(study, trial, space)
        return {}

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The inner sampler's joint draw."""
        if self._answer(trial) is not None:
            return {}
        with self._blamed():
            return self._inner.sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The known answer, or the inner sampler's draw."""
        answer = self._answer(trial)
        if answer is not None:
            return answer[param_name]
        with self._blamed():
            return self._inner.sample_independent(study, trial, param_name, param_distribution)

    @override
    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: a result changes the history, never the sampler."""

    @override
    def reseed_rng(self) -> None:
        """Nothing: the seed belongs to the trial."""


class _AllTrials(BasePruner):
    """Hyperband's decisions, behind another type.

    Optuna shows a sampler the trials of one bracket alone where the pruner is Hyperband's; a short
    study has too few for that, and NSGA-II's generations would be mixed up.
    """

    def __init__(self, inner: HyperbandPruner) -> None:
        self._inner = inner

    @override
    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        return self._inner.prune(study, trial)


def make_pruner(
    scheduler: str, grace_epochs: int, reduction_factor: int, max_epochs: int
) -> BasePruner:
    """The trial scheduler; what it goes by lies in the study's trials, so a replay brings it back.

    "asha" is Optuna's form of asynchronous successive halving, for studies that were begun with it
    (today's: `study.searchers.rungs`); "hyperband" (Li et al., JMLR 2018) has a bracket for each
    first rung, of which a trial belongs to one by its number; "median" stops a trial whose best
    epoch so far is worse than the median of what the finished trials had at that epoch (Golovin et
    al., KDD 2017).
    """
    if scheduler == "asha":
        return SuccessiveHalvingPruner(
            min_resource=grace_epochs, reduction_factor=reduction_factor
        )
    if scheduler == "hyperband":
        return _AllTrials(
            HyperbandPruner(
                min_resource=grace_epochs,
                max_resource=max_epochs,
                reduction_factor=reduction_factor,
            )
        )
    if scheduler == "median":
        return MedianPruner(
            n_startup_trials=0, n_warmup_steps=grace_epochs, n_min_trials=LEAST_JUDGED
        )
    return optuna.pruners.NopPruner()


def make_study(
    sampler: LedgerSampler, pruner: BasePruner, directions: Iterable[Direction]
) -> Study:
    """An in-memory Optuna study with the sampler and the trial scheduler as its pruner."""
    # A name of its own: Hyperband's brackets hang on it, and Optuna would draw one at random.
    return optuna.create_study(
        study_name="study", sampler=sampler, pruner=pruner, directions=list(directions)
    )
