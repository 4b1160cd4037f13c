"""What a path from the base is worth: over bases, networks and data, judged on kept images.

    python benchmarks/paths.py benchmarks/search_tables/paths/*.parquet

reads what `record_trials.py` has recorded, a file for each base. Its trials are taken six at a
time, in their order. Of each six one half of the validation sources chooses, with `select.path`
and without: the lowest FPR95 of the last epoch among the states whose accuracy is no more than a
point under the base's; alpha 0, the base, where none is. The other half tells what was chosen.
The difference is with less without, over the sixes, with its 95 % interval. FPR95 and accuracy in
points, ID positive.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from common import print_table
from replay.measures import interval
from replay.ways import BELOW_BASE

SIX = 6


def sixes(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The last epoch of six trials at a time, with the base among the states; whole ones alone."""
    base, trials = rows[rows["trial"] == -1], rows[(rows["trial"] >= 0) & rows["alpha"].notna()]
    last = trials[trials["epoch"] == trials["epoch"].max()]
    numbers = sorted(last["trial"].unique())
    for first in range(0, len(numbers) - SIX + 1, SIX):
        yield pd.concat([last[last["trial"].isin(numbers[first : first + SIX])], base])


def chosen(states: pd.DataFrame) -> pd.Series:
    """What half a chooses: the lowest FPR95 above the floor; of equals the largest alpha."""
    base = states[states["trial"] == -1].iloc[0]
    passes = states[states["accuracy_a"] >= base["accuracy_a"] - BELOW_BASE]
    best: pd.Series = passes.sort_values(["fpr95_a", "alpha"], ascending=[True, False]).iloc[0]
    return best


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for six trials: half b of the base, and of the choices without and with the path."""
    found = []
    for states in sixes(rows):
        ends = states[states["alpha"].isin([0.0, 1.0])]
        base, without, with_ = states.iloc[-1], chosen(ends), chosen(states)
        found.append(
            {
                "base": base["fpr95_b"],
                "without": without["fpr95_b"],
                "with": with_["fpr95_b"],
                "lost_without": base["accuracy_b"] - without["accuracy_b"],
                "lost_with": base["accuracy_b"] - with_["accuracy_b"],
            }
        )
    return pd.DataFrame(found)


def told(name: str, table: pd.DataFrame) -> list[str]:
    """A line of the table."""
    points = [f"{100 * table[column].mean():.1f}" for column in table]
    paired = interval((table["with"] - table["without"]).to_numpy())
    difference = paired.points() if len(table) > 1 else f"{100 * paired.mean:+.1f}"
    return [name, str(len(table)), *points, difference]


def main() -> None:
    """Print a line for each file that has six whole trials, and one for all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    tables = {one.stem: judged(pd.read_parquet(one)) for one in parser.parse_args().files}
    head = ["file", "sixes", "base", "without", "with", "accuracy lost", "with path", "difference"]
    tables = {name: one for name, one in tables.items() if len(one)}
    print_table([head, *(told(*one) for one in tables.items())])
    print("\n" + "  ".join(told("all", pd.concat(tables.values()))))


if __name__ == "__main__":
    main()
