"""Searches replayed on recorded trials: what each finds, and at which cost.

    python benchmarks/search.py real
    python benchmarks/search.py real --ways random "tpe path" --seeds 20 --trials 16

A way to search is a searcher, a trial scheduler, an objective, and whether paths to the base are
scored (`replay/ways.py`). Each is replayed by the project's own session and decisions on a
surrogate of the recorded table (`replay/truth.py`; its error on left-out trials is printed),
beside a full grid, Optuna as it comes, and Optuna with the floor as a constraint. What a search
sees is the truth plus the noise of half of validation. All choose alike: of the states of finished
trials that pass the floor, the one with the lowest FPR95 as seen.

Regret is the true FPR95 of what was chosen less that of the best state there is that holds the
same floor with the same confidence; where nothing was chosen, the base's. Columns: FPR95, true,
of the chosen, mean; regret, median and 90th percentile; choices truly above the floor; searches
without a choice; epochs trained and trials finished, means; FPR95 less that of the first way,
paired by seed, with its 95 % interval. Results are kept in --out, and a second call adds what is
missing there.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common import print_table
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from replay.measures import best_there_is, interval
from replay.rivals import RIVALS
from replay.searching import ProjectSearch, replayed
from replay.table import read_table
from replay.truth import Truth
from replay.ways import Way

from analysis.plots.style import PAGE_IN, SERIES, drawing, legend, percent_axis

TABLES = Path(__file__).resolve().parent / "search_tables"
BUDGETS = (8, 16, 32, 64)
WAYS = (
    "random confidence=0.8",
    "tpe confidence=0.8",
    "random path confidence=0.8",
    "tpe penalty=0.2 path confidence=0.8",
    "tpe asha grace=2 finish=4 penalty=0.2 path confidence=0.8",
    *RIVALS,
)
KEYS = ["way", "trials", "at_a_time", "seed"]
Row = dict[str, Any]


def way_of(name: str) -> Way:
    """What a name on the command line stands for."""
    return RIVALS[name].way if name in RIVALS else Way.read(name)


def played(truth: Truth, keys: Row) -> Row:
    """One search, as a row of results."""
    rival = RIVALS.get(keys["way"])
    begin = rival.begin if rival else ProjectSearch
    found = replayed(
        begin, truth, way_of(keys["way"]), keys["seed"], keys["trials"], keys["at_a_time"]
    )
    return keys | asdict(found)


def missing(given: argparse.Namespace, known: pd.DataFrame) -> Iterator[Row]:
    """The searches that are asked for and not among the results."""
    done = set(known[KEYS].itertuples(index=False, name=None)) if len(known) else set()
    for way in given.ways:
        for trials in given.trials:
            for seed in range(given.seeds):
                keys = {"way": way, "trials": trials, "at_a_time": given.at_a_time, "seed": seed}
                if tuple(keys.values()) not in done:
                    yield keys


def table(rows: pd.DataFrame, ways: list[str], best: dict[str, float]) -> list[list[str]]:
    """The results of one budget, a line a way."""
    head = ["way", "FPR95", "regret", "p90", "above", "none", "epochs", "finished", "difference"]
    lines, first = [head], rows[rows["way"] == ways[0]].set_index("seed")["fpr95"]
    for way in ways:
        one = rows[rows["way"] == way].set_index("seed").sort_index()
        if one.empty:
            continue
        regret = 100 * (one["fpr95"] - best[way])
        paired = one["fpr95"] - first.reindex(one.index)
        chosen = one[one["selected"]]
        lines.append(
            [
                way,
                f"{100 * one['fpr95'].mean():.1f}",
                f"{regret.median():.1f}",
                f"{regret.quantile(0.9):.1f}",
                f"{100 * chosen['above'].mean():.0f} %",
                f"{100 * (1 - one['selected'].mean()):.0f} %",
                f"{one['epochs'].mean():.0f}",
                f"{one['finished'].mean():.1f}",
                "" if way == ways[0] else interval(paired.dropna().to_numpy()).points(),
            ]
        )
    return lines


def picture(rows: pd.DataFrame, ways: list[str]) -> Figure:
    """True FPR95 of what each way chose, against the epochs that it trained, at every budget."""
    with drawing(3.6, PAGE_IN) as (figure, axes):
        looks = itertools.cycle(itertools.product(("-", "--"), SERIES))
        for way, (line, colour) in zip(ways, looks, strict=False):
            one = rows[rows["way"] == way]
            budgets = [budget for _, budget in one.groupby("trials")]
            told = [interval(budget["fpr95"].to_numpy()) for budget in budgets]
            axes.errorbar(
                [budget["epochs"].mean() for budget in budgets],
                [each.mean for each in told],
                np.transpose([(each.mean - each.low, each.high - each.mean) for each in told]),
                marker="o",
                ms=3,
                color=colour,
                ls=line,
                label=way,
                lw=1.2,
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.set_xlabel("epochs trained")
        axes.set_ylabel("FPR95 of the choice, true, %")
        percent_axis(axes.yaxis)
        legend(figure, axes, ncols=2)
        return figure


def main() -> None:
    """Replay what is missing, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", help="a space in search_tables/, such as real, or a path")
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--trials", nargs="+", type=int, default=list(BUDGETS))
    parser.add_argument("--at-a-time", type=int, default=1, help="trials in parallel")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--trees", action="store_true", help="a truth of randomised trees")
    parser.add_argument("--out", type=Path, help="Parquet file of results to add to")
    parser.add_argument("--picture", type=Path, help="a PNG file to draw")
    given = parser.parse_args()
    space = Path(given.table)
    recorded = read_table(space if space.suffix else TABLES / f"{given.table}.yaml")
    truth = Truth(recorded, trees=given.trees)
    print(f"{len(truth.table.points)} trials recorded; base {truth.table.base}")
    for name, one in truth.left_out().items():
        print(f"{name}: error on left-out trials {one.error:.4f}, spread {one.spread:.4f}")
    wrong, diverged = truth.divergence_left_out()
    print(f"{diverged} diverged; of all, left out, {wrong} were told wrongly to diverge or not")
    known = pd.read_parquet(given.out) if given.out and given.out.exists() else pd.DataFrame()
    begun = time.perf_counter()
    results, num_played = known, 0
    for _, same in itertools.groupby(
        missing(given, known), lambda keys: (keys["way"], keys["trials"])
    ):
        rows = [played(truth, keys) for keys in same]
        num_played += len(rows)
        results = pd.concat([results, pd.DataFrame(rows)], ignore_index=True)
        if given.out:
            results.to_parquet(given.out, index=False)
    print(f"{num_played} searches in {time.perf_counter() - begun:.0f} s")
    results = results[(results["at_a_time"] == given.at_a_time) & (results["seed"] < given.seeds)]
    best = {way: best_there_is(truth, way_of(way)) for way in given.ways}
    for trials in given.trials:
        print(f"\n{trials} trials, {given.at_a_time} at a time")
        print_table(table(results[results["trials"] == trials], given.ways, best))
    if given.picture:
        picture(results, given.ways).savefig(given.picture, dpi=150)


if __name__ == "__main__":
    main()
