"""Looks at an ablation between its seeds: arms that are clearly worse are not trained further.

The rule is ``study.space.ablation.stop.StopRule``. A look waits for every trial of the seeds
before it, so that what it sees does not hang on how many trials run at once, and it is on the
ledger before anyone acts on it: whoever resumes reads it there and never takes it again. Trials of
a stopped arm are on the ledger too, with status "stopped" and without an epoch.

Event ``look`` {seeds: whole seeds so far, level, arms: one a look at {arm, n, mean, sd, bound,
stopped}}; differences are arm less baseline as costs: positive is worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from study.records.files import LOOK
from study.scoring.objective import cost
from study.space.ablation.designs import BASELINE
from study.space.ablation.section import ARM, SEED, Ablation
from study.space.ablation.stop import StopRule
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord


class Stopping:
    """Gives out the trials of an ablation, seed by seed, without those of stopped arms."""

    def __init__(
        self,
        decisions: Decisions,
        ablation: Ablation,
        rule: StopRule,
        metric: str,
        told: Callable[[TrialRecord], None],
    ) -> None:
        """``told`` hears of every trial that is not run."""
        self._decisions = decisions
        self._ablation = ablation
        self._rule = rule
        self._metric = metric
        self._told = told
        looks = decisions.events(LOOK)
        self._looked = {int(look["seeds"]) for look in looks}
        self._stopped = {
            one["arm"]: int(look["seeds"])
            for look in looks
            for one in look["arms"]
            if one["stopped"]
        }

    def next_trial(self) -> TrialRecord | None:
        """The next trial, on the ledger; None at the end, or where a look waits for others."""
        decisions, arms = self._decisions, self._ablation.arms
        while decisions.num_searched < len(decisions.plan.grid):
            number = decisions.num_searched
            seeds = number // len(arms)
            if seeds >= self._rule.min_seeds and seeds not in self._looked:
                if decisions.unfinished:
                    return None
                self._look(seeds)
            arm = str(decisions.plan.grid[number][ARM])
            if arm not in self._stopped:
                return decisions.ask()
            why = f"its arm was stopped after {self._stopped[arm]} seeds as clearly worse"
            if (record := decisions.ask(stopped=why)) is not None:
                self._told(record)
        return None

    def _look(self, seeds: int) -> None:
        """Judge every arm that goes on by the seeds that are whole; on the ledger first."""
        num_seeds = len(self._ablation.seeds)
        level = self._rule.level(num_seeds)
        arms = []
        for arm in self._ablation.arms:
            if arm.name == BASELINE or arm.name in self._stopped:
                continue
            found = self._differences(arm.name)
            arms.append({"arm": arm.name, **judged(found, self._rule, level)})
        self._decisions.note(LOOK, seeds=seeds, level=level, metric=self._metric, arms=arms)
        self._looked.add(seeds)
        self._stopped |= {one["arm"]: seeds for one in arms if one["stopped"]}

    def _differences(self, arm: str) -> list[float]:
        """Arm less baseline at every seed at which both finished."""
        costs: dict[tuple[str, int], float] = {}
        for record in self._decisions.trials:
            if record.status == "finished":
                key = (str(record.params[ARM]), int(record.params[SEED]))
                costs[key] = cost(self._metric, self._decisions.metric(record, self._metric))
        return [
            costs[arm, seed] - costs[BASELINE, seed]
            for seed in self._ablation.seeds
            if (arm, seed) in costs and (BASELINE, seed) in costs
        ]


def judged(differences: Sequence[float], rule: StopRule, level: float) -> dict[str, Any]:
    """What one look says of one arm.

    Differences that are all the same have no spread to judge by, and stop nothing; nor do fewer
    than ``rule.min_seeds`` of them.

    Args:
        differences: paired, as costs: positive is worse.
        rule: the rule.
        level: error of this look.

    Returns:
        n, mean, sd (ddof 1), bound (lower, one-sided) and stopped; None for what n does not give.
    """
    n = len(differences)
    mean = float(np.mean(differences)) if n else None
    sd = float(np.std(differences, ddof=1)) if n > 1 else None
    bound = None
    if mean is not None and sd is not None and np.ptp(differences) > 0:
        from scipy.stats import t  # a second to import, for studies that look

        bound = mean - float(t.isf(level, n - 1)) * sd / math.sqrt(n)
    stopped = bound is not None and n >= rule.min_seeds and bound > rule.margin
    return {"n": n, "mean": mean, "sd": sd, "bound": bound, "stopped": stopped}
