"""How many seeds it takes to see a difference, from a spread that was measured.

The test is the two-sided paired t-test of an ablation's effects, at 5 % and with a power of 80 %
(noncentral t: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.results.effects import effects
from analysis.tables import Records
from study.counted import counted
from study.errors import BadInput, Fault

LEVEL, POWER = 0.05, 0.8
MOST = 1000  # seeds that anybody would look for
_FEWEST = 3  # runs below which a spread is no more than a guess


@dataclass(frozen=True)
class Spread:
    """How much a difference between two arms varies from seed to seed.

    Attributes:
        sd: standard deviation of the paired difference, a fraction.
        freedom: degrees of freedom that it was measured with.
        low: lower end of its 95 % interval (chi-squared), a fraction.
        high: upper end.
        how: where it comes from, as a sentence.
    """

    sd: float
    freedom: int
    low: float
    high: float
    how: str


def measured_spread(study: Records, metric: str | None = None) -> Spread:
    """The spread of paired differences over seeds, pooled over arms or candidates.

    From an ablation: of each effect over its shared seeds. From a confirmation: of the runs of
    each candidate on fresh seeds, times the square root of two, as if arms shared nothing by
    their seed; pairing can only make it smaller.

    Args:
        study: its records.
        metric: such as ``val/fpr95``; the study's own where None.

    Raises:
        BadInput: where nothing was run on several seeds, or not enough.
    """
    metric = metric or study.metric
    if study.section("ablate"):
        table = effects(study, metric)
        table = table[table["kind"] == "arm"]
        parts = [(row["n"] - 1, row["sd"]) for _, row in table.iterrows() if row["n"] > 1]
        freedom, sd = _pooled(parts)
        what, many = "paired differences", counted(len(parts), "effect")
        factor = 1.0
    else:
        runs = study.confirming
        runs = runs[runs["status"] == "finished"] if len(runs) else runs
        values = [] if runs.empty or metric not in runs.columns else [
            rows[metric].to_numpy(dtype=np.float64) for _, rows in runs.groupby("confirms")
        ]  # fmt: skip
        parts = [(len(one) - 1, float(one.std(ddof=1))) for one in values if len(one) > 1]
        freedom, sd = _pooled(parts)
        what, many = "runs on fresh seeds, times the root of 2", counted(len(parts), "candidate")
        factor = math.sqrt(2)
    if freedom < _FEWEST - 1 or not sd > 0:
        rule = "nothing here was run on enough seeds to measure how much a difference varies"
        way = "Run an ablation on 3 seeds or more, or a study with select.confirm."
        raise BadInput(Fault(str(study.folder.path), "", rule, way))
    from scipy.stats import chi2  # a second to import

    low, high = (sd * factor * math.sqrt(freedom / chi2.ppf(q, freedom)) for q in (0.975, 0.025))
    how = f"{what} of {many}, {counted(freedom, 'degree')} of freedom"
    return Spread(sd * factor, freedom, float(low), float(high), how)


def seeds_needed(difference: float, sd: float) -> int:
    """Seeds with which a paired t-test sees a true difference; `MOST` + 1 where more are needed.

    Args:
        difference: to see, a fraction.
        sd: of paired differences, a fraction.
    """
    for num in range(2, MOST + 1):
        if power_of(num, difference, sd) >= POWER:
            return num
    return MOST + 1


def power_of(num: int, difference: float, sd: float) -> float:
    """Probability that a two-sided paired t-test on ``num`` seeds finds a true difference."""
    from scipy.stats import nct, t

    least = t.isf(LEVEL / 2, num - 1)
    shift = abs(difference) / sd * math.sqrt(num)
    return float(nct.sf(least, num - 1, shift) + nct.cdf(-least, num - 1, shift))


def power_table(spread: Spread, differences: tuple[float, ...]) -> pd.DataFrame:
    """Seeds for each difference.

    Returns:
        difference (a fraction), seeds, seeds_low and seeds_high (at the ends of the spread's
        interval).
    """
    rows = [
        {
            "difference": one,
            "seeds": seeds_needed(one, spread.sd),
            "seeds_low": seeds_needed(one, spread.low),
            "seeds_high": seeds_needed(one, spread.high),
        }
        for one in differences
    ]
    return pd.DataFrame(rows)


def _pooled(parts: list[tuple[int, float]]) -> tuple[int, float]:
    """Degrees of freedom and standard deviation of several samples together."""
    known = [(int(freedom), sd) for freedom, sd in parts if not math.isnan(sd)]
    freedom = sum(one for one, _ in known)
    if not freedom:
        return 0, math.nan
    return freedom, math.sqrt(sum(one * sd**2 for one, sd in known) / freedom)
