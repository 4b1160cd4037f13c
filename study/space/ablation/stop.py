"""``ablate.stop``: the sequential rule by which clearly worse arms end before their last seed."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field

from study.section import Section
from study.space.ablation.designs import COMBINING, Design
from study.space.reading.fields import read_section
from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import Told
from study.space.reading.yamlfile import KeyPath

LEAST_SEEDS = 3  # pairs at the first look: of two, one degree of freedom tells nothing
_PATH: KeyPath = ("ablate", "stop")
_FORM = "stop: {alpha: 0.05, min_seeds: 3, margin: 0.01}"


class StopRule(Section):
    """When an arm is clearly worse than the baseline.

    After each seed from ``min_seeds`` on, but the last, one look: an arm ends where the lower
    one-sided bound of its mean paired difference to the baseline, in the worse direction of
    select.metric, lies above ``margin``. The bound is Student's, at level alpha over the number
    of looks, so that by Bonferroni's inequality an arm that is worse by no more than the margin
    is stopped with probability alpha at most, over all looks together, whatever their
    dependence; this holds for normal differences, as the t-interval does. `python
    benchmarks/coverage.py stop` measures it: .025 of normal, .16 of exponential differences
    whose tail is towards better end in place of .05 (10 seeds, 7 looks).

    Attributes:
        alpha: that probability, of each arm.
        min_seeds: seeds before the first look.
        margin: difference that does not matter, a fraction as the metric.
    """

    alpha: Annotated[
        float,
        Told(
            "the error of stopping an arm that is no worse lies above 0 and below 0.5",
            "Write alpha: 0.05.",
        ),
    ] = Field(default=0.05, gt=0, lt=0.5)
    min_seeds: Annotated[
        int,
        Told(
            f"the first look is after {LEAST_SEEDS} seeds or more: fewer tell no spread",
            f"Write min_seeds: {LEAST_SEEDS}.",
        ),
    ] = Field(default=LEAST_SEEDS, ge=LEAST_SEEDS)
    margin: Annotated[
        float,
        Told(
            "a margin is a fraction in [0, 1), as the metric is",
            "Write margin: 0.01 for one point.",
        ),
    ] = Field(default=0.0, ge=0, lt=1)

    def num_looks(self, num_seeds: int) -> int:
        """Looks at an ablation of so many seeds; none after the last, which would save nothing."""
        return max(0, num_seeds - self.min_seeds)

    def level(self, num_seeds: int) -> float:
        """Error of one look."""
        return self.alpha / self.num_looks(num_seeds)

    def text(self, num_seeds: int, metric: str) -> str:
        """The rule as a sentence, with what it takes at the first and at the last look."""
        first, last = (
            f"{self.needed(seeds, num_seeds):.2f}" for seeds in (self.min_seeds, num_seeds - 1)
        )
        looks = self.num_looks(num_seeds)
        when = (
            f"{looks} looks, after {self.min_seeds} to {num_seeds - 1} of {num_seeds} seeds"
            if looks > 1
            else f"one look, after {self.min_seeds} of {num_seeds} seeds"
        )
        takes = (
            f"{first} sd" if looks == 1 else f"{first} sd at the first look, {last} at the last"
        )
        return (
            f"{when}: an arm ends where the one-sided t-bound (level {self.alpha:g}/{looks}) of "
            f"its mean paired difference to the baseline in {metric} is worse by more than "
            f"{self.margin:g}; that takes a mean of {takes} beyond it. The bound assumes "
            "differences over seeds without skew (normal ones): a long tail of seeds at which the "
            "arm is much better ends arms that are no worse three times as often"
        )

    def needed(self, pairs: int, num_seeds: int) -> float:
        """Mean beyond the margin that stops an arm, in sd of its differences."""
        from scipy.stats import t  # a second that only those spend who have the rule

        return float(t.isf(self.level(num_seeds), pairs - 1) / math.sqrt(pairs))


def read_stop(
    raw: Any, design: Design | None, num_seeds: int, faults: FaultList
) -> StopRule | None:
    """The section, where it has no fault.

    Args:
        raw: what the YAML has under ``ablate.stop``; None for no rule.
        design: of the ablation; None where it has a fault.
        num_seeds: of the ablation; 0 where they have a fault.
        faults: takes every fault.
    """
    if raw is None:
        return None
    if not isinstance(raw, dict):
        faults.add(_PATH, "the rule is a mapping of keys, or null", f"Write {_FORM}.", raw)
        return None
    stop = read_section(StopRule, raw, _PATH, faults, nearest)
    if design in COMBINING:
        rule = f"design {design} compares arms with each other, not with the baseline alone"
        way_out = "Take it out: an arm that ends would take the pairs of others with it."
        faults.add(_PATH, rule, way_out, raw)
    elif num_seeds and not stop.num_looks(num_seeds) and not faults.under(_PATH):
        are = "is" if num_seeds == 1 else "are"
        rule = f"this can stop nothing: the first look is after {stop.min_seeds} seeds, and there"
        way_out = f"List {stop.min_seeds + 1} seeds or more in ablate.seeds, or take it out."
        faults.add(_PATH, f"{rule} {are} {num_seeds}", way_out, raw)
    return None if faults.under(_PATH) else stop
