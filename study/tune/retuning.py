"""Re-tuning: every arm of an ablation gets equal tuning trials before it is measured.

The plan is ``study.space.ablation.retune.Retune``. The tuning trials of all arms come first, point
by point. A measuring trial of an arm is asked for only once all tuning trials of that arm have
ended, so the choice does not hang on how many trials run at once: the lowest val/objective of
those that finished, the lower number of equals; the values of `train` where none finished. It is
on the ledger before the first trial that goes by it; whoever resumes reads it there.

Events: ``tuning`` {seed, points: settings by number}, before the first trial; ``tuned`` {arm,
point: number, or "default" where no tuning trial finished, trial, objective, settings}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from study.errors import BadInput, Fault
from study.records.files import TUNED, TUNING
from study.records.ledger import Record
from study.space.ablation.retune import Retune
from study.space.ablation.section import ARM, DEFAULT, RETUNE, Ablation
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord

Told = Callable[[Record], None]


class Retuning:
    """Gives out the trials of an ablation whose arms are re-tuned."""

    def __init__(
        self, decisions: Decisions, ablation: Ablation, retune: Retune, told: Told
    ) -> None:
        """``told`` hears of every choice, as its event has it.

        Raises:
            BadInput: where the points on record are not those that the spec gives now.
        """
        self._decisions = decisions
        self._ablation = ablation
        self._retune = retune
        self._told = told
        self._points = [dict(point) for point in retune.points]
        self._begun = False
        for event in decisions.events(TUNING):
            self._begun = True
            if event["points"] != self._points:
                rule = "the recorded points of re-tuning differ from those that the spec gives now"
                way_out = "Resume with the versions in manifest.json, or start with another --out."
                raise BadInput(Fault("ledger", TUNING, rule, way_out))
        self._chosen = {str(one["arm"]): one["point"] for one in decisions.events(TUNED)}

    def next_trial(self) -> TrialRecord | None:
        """The next trial, on the ledger; None at the end, or where a choice waits for others."""
        decisions = self._decisions
        number = decisions.num_searched
        if number >= len(decisions.plan.grid):
            return None
        if number < self._ablation.num_tuning:
            if not self._begun:
                decisions.note(TUNING, seed=self._retune.seed, points=self._points)
                self._begun = True
            return decisions.ask()
        arm = str(decisions.plan.grid[number][ARM])
        if arm not in self._chosen and not self._choose(arm):
            return None
        return decisions.ask({RETUNE: self._chosen[arm]})

    def _choose(self, arm: str) -> bool:
        """Choose an arm's point, on the ledger; False where tuning trials of it still run."""
        trials = [one for one in self._decisions.trials if one.tunes and one.arm == arm]
        if any(one.status == "running" for one in trials):
            return False
        finished = [one for one in trials if one.status == "finished"]
        chosen: dict[str, Any] = {"point": DEFAULT, "trial": None, "objective": None}
        chosen["settings"] = {}
        if finished:
            best = min(finished, key=lambda one: (self._decisions.value(one), one.number))
            point = best.params[RETUNE]
            chosen = {"point": point, "trial": best.number}
            chosen["objective"] = self._decisions.value(best)
            chosen["settings"] = self._points[point]
        self._told(self._decisions.note(TUNED, arm=arm, **chosen))
        self._chosen[arm] = chosen["point"]
        return True
