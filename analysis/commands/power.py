"""``python -m analysis power``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.commands import Result
from analysis.numbers import metric_label, percent
from analysis.results.power import LEVEL, MOST, POWER, measured_spread, power_table
from analysis.tables import Records

_POINTS = (1.0, 2.0, 5.0)


def run(study: Records, options: Namespace) -> Result:
    """Seeds for each difference, and what they rest on."""
    metric = options.metric or study.metric
    spread = measured_spread(study, metric)
    asked = (options.points,) if options.points else _POINTS
    table = power_table(spread, tuple(one / 100 for one in asked))
    shown = pd.DataFrame(
        {
            "difference, points": table["difference"].map(percent),
            "seeds": table["seeds"].map(_seeds),
            "at the ends of the spread's interval": [
                f"{_seeds(row['seeds_low'])} to {_seeds(row['seeds_high'])}"
                for row in table.to_dict("records")
            ],
        }
    )
    lines = [
        f"Spread of a difference of {metric_label(metric, '', short=True)} from seed to seed: "
        f"{percent(spread.sd)} points, 95 % interval {percent(spread.low)} to "
        f"{percent(spread.high)} ({spread.how}).",
        f"So many seeds an arm that a paired t-test at {100 * LEVEL:.0f} % sees a true difference "
        f"of this size with a probability of {100 * POWER:.0f} %. Several effects are corrected "
        "for their number and want more.",
    ]
    content = {"metric": metric, "spread": vars(spread), "seeds": table}
    return Result(content, {f"{study.name}: seeds to see a difference": shown}, lines)


def _seeds(number: int) -> str:
    return f"over {MOST:,}" if number > MOST else str(number)
