"""How a search stands: trials by status, the best epoch so far, speed and time left.

Only counting; what is shown of it, and how, is ``study.watch.progress``'s.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from study.records.files import STATUSES
from study.scoring.objective import OBJECTIVE, SHORTFALL, cost

IMAGES_PER_S = "images_per_s"
_ENDED = ("finished", "pruned", "stopped", "failed")
# The selection takes none of these, so "best so far" must not either.
_NO_CANDIDATES = ("pruned", "stopped", "failed", "paused")
_RATES_KEPT = 8


@dataclass
class RunningTrial:
    """A trial at work: its parameters, the last epoch it told, and that epoch's metrics."""

    trial_id: str
    params: Mapping[str, object]
    epoch: int = 0
    epochs: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Best:
    """The best epoch so far: of those above the accuracy floor, where there is one."""

    objective: float
    trial_id: str
    epoch: int | None
    metrics: Mapping[str, float]

    @property
    def above_floor(self) -> bool:
        """Whether it could be selected; without a penalty an objective above 1 says that too."""
        return self.objective <= 1 and not self.metrics.get(SHORTFALL, 0.0) > 0

    @property
    def order(self) -> tuple[bool, float]:
        """Lower is better: above the floor first, as the selection has it."""
        return not self.above_floor, self.objective


class Scoreboard:
    """The standing of one search.

    Attributes:
        num_trials: trials of the whole study, earlier sessions included.
        metric: name of the metric that the study selects by.
        running: the trials at work, by trial id.
        last: what is to say of the trial that ended last; empty before the first.
    """

    def __init__(
        self, num_trials: int, metric: str, now: float, time_budget_s: float | None = None
    ) -> None:
        self.num_trials = num_trials
        self.metric = metric
        self.running: dict[str, RunningTrial] = {}
        self.last = ""
        self._bests: dict[str, Best] = {}
        self._rates: deque[float] = deque(maxlen=_RATES_KEPT)
        self._begun = now
        self._time_budget_s = time_budget_s
        self._ended: dict[str, str] = {}  # trial id -> status
        self._recorded_fraction = 0.0

    def recorded(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        """Count a trial that an earlier session brought to its end; a paused one goes on."""
        if status in _ENDED:
            self.end(trial_id, status, metrics)
            self._recorded_fraction = self.fraction

    def start(self, trial_id: str, params: Mapping[str, object]) -> None:
        """A trial begins, or begins again; one that was pruned may be promoted."""
        self._ended.pop(trial_id, None)
        self.running[trial_id] = RunningTrial(trial_id, dict(params))

    def epoch(self, trial_id: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """A trial told epoch ``epoch`` (1-based) of ``epochs``."""
        trial = self.running.setdefault(trial_id, RunningTrial(trial_id, {}))
        trial.epoch, trial.epochs, trial.metrics = epoch, epochs, dict(metrics)
        if IMAGES_PER_S in metrics:
            self._rates.append(metrics[IMAGES_PER_S])
        self._compare(trial_id, epoch, metrics)

    def end(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        """A trial ended with one of ``study.records.files.STATUSES``."""
        self.running.pop(trial_id, None)
        self._ended[trial_id] = status
        if status in _NO_CANDIDATES:
            self._bests.pop(trial_id, None)
        else:
            self._compare(trial_id, None, metrics)

    def _compare(self, trial_id: str, epoch: int | None, metrics: Mapping[str, float]) -> None:
        objective = metrics.get(OBJECTIVE)
        if objective is None and self.metric in metrics:
            objective = cost(self.metric, metrics[self.metric])
        if objective is None or not math.isfinite(objective):
            return
        known, new = self._bests.get(trial_id), Best(objective, trial_id, epoch, dict(metrics))
        if known is None or new.order < known.order:
            self._bests[trial_id] = new

    @property
    def best(self) -> Best | None:
        """The best epoch of the running and finished trials, None before the first."""
        return min(self._bests.values(), key=lambda best: best.order, default=None)

    @property
    def counts(self) -> dict[str, int]:
        """Trials by status, in a fixed order, with "waiting" for those that never began."""
        ended = Counter(self._ended.values())
        counts = {status: ended[status] for status in STATUSES}
        counts["running"] = len(self.running)
        counts["waiting"] = max(0, self.num_trials - sum(counts.values()))
        return counts

    @property
    def num_ended(self) -> int:
        """Trials that need no more work."""
        return sum(status in _ENDED for status in self._ended.values())

    @property
    def fraction(self) -> float:
        """Share of the work that is done; a trial that ended early counts as a whole one."""
        parts = (trial.epoch / trial.epochs for trial in self.running.values() if trial.epochs)
        return min(1.0, (self.num_ended + sum(parts)) / max(1, self.num_trials))

    @property
    def images_per_s(self) -> float:
        """Images that the running trials train on in a second, by the last epochs told."""
        if not self._rates:
            return 0.0
        return len(self.running) * sum(self._rates) / len(self._rates)

    def time_left_s(self, now: float) -> float | None:
        """Seconds to the end at the pace of this session, or of the budget; None if unknown."""
        spent, done = now - self._begun, self.fraction - self._recorded_fraction
        left = spent * (1 - self.fraction) / done if done > 0 else None
        if self._time_budget_s is None:
            return left
        budget = max(0.0, self._time_budget_s - spent)
        return budget if left is None else min(left, budget)
