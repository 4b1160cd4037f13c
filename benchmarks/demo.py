"""The demonstration over ten seeds: each searched, chosen and tested once, as a user would.

    python benchmarks/demo.py

runs ``run_study.py --space energy --data demo --seed N`` for every seed that has no folder in
--runs yet, and its final test, and writes a row a seed: how many trials finished, FPR95 on
validation, and on the test sets (mean over them, own score: energy) beside the base with MSP and
with energy, and the difference to the better of these two, 95 % interval over images by source,
paired. Rows are kept in `measured/demo.csv`, and a seed that has one is not run again: test sets
are opened once. Fractions, ID positive, lower is better.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from common import print_table

import analysis
from analysis.statistics.compare import DIFFERENCE, MEAN, WINNER, compare
from study.records.files import BASE, TEST_ID
from study.records.frozen import read_frozen
from study.records.scores import SetScores, ValidationScores

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks" / "measured" / "demo.csv"
SCORES = ("msp", "energy")
OWN = "energy"


def run(folder: Path, seed: int) -> None:
    """One study and its final test, in processes of their own."""
    space = ["--space", "energy", "--data", "demo", "--seed", str(seed), "--out", str(folder)]
    subprocess.run([sys.executable, ROOT / "run_study.py", *space], check=True)
    subprocess.run([sys.executable, "-m", "analysis", "test", folder], check=True, cwd=ROOT)


def tested(folder: Path, model: str) -> dict[str, SetScores]:
    """Per-image scores of one model on the test sets."""
    return ValidationScores.load(folder / "final_test" / f"{model}.npz").sets


def told_by(sets: Mapping[str, SetScores], score: str) -> dict[str, SetScores]:
    """The same sets with one score alone, under the name of the own one."""
    return {name: replace(one, scores={OWN: one.scores[score]}) for name, one in sets.items()}


def row(folder: Path, seed: int) -> dict[str, Any]:
    """The numbers of one seed."""
    study = analysis.load(folder)
    frozen = read_frozen(folder)
    winner, base = tested(folder, WINNER), tested(folder, BASE)
    told: dict[str, Any] = {
        "seed": seed,
        "finished": int((study.trials["status"] == "finished").sum()),
        "trials": len(study.trials),
        "val_fpr95_base": study.base["metrics"]["val/fpr95"],
        "val_fpr95": frozen["value"],
    }
    by_score = {}
    for score in SCORES:
        models = {WINNER: told_by(winner, OWN), BASE: told_by(base, score)}
        table = compare(models, id_name=TEST_ID)
        by_score[score] = table[table["dataset"] == MEAN].set_index("model")
        told[f"base_{score}"] = by_score[score].loc[BASE, "fpr95"]
    better = by_score[min(SCORES, key=lambda score: told[f"base_{score}"])]
    for model, name in ((WINNER, "test_fpr95"), (DIFFERENCE, "difference")):
        for end in ("", "_low", "_high"):
            told[f"{name}{end}"] = better.loc[model, f"fpr95{end}"]
    told["id_accuracy"] = better.loc[WINNER, "id_accuracy"]
    told["id_accuracy_base"] = better.loc[BASE, "id_accuracy"]
    return told


def main() -> None:
    """Run what is missing, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    given = parser.parse_args()
    known = pd.read_csv(MEASURED).to_dict("records") if MEASURED.exists() else []
    rows: dict[int, Mapping[Any, Any]] = {int(one["seed"]): one for one in known}
    for seed in given.seeds:
        folder = given.runs / str(seed)
        if seed in rows:
            continue
        if not folder.exists():
            run(folder, seed)
        rows[seed] = row(folder, seed)
        table = pd.DataFrame([rows[one] for one in sorted(rows)])
        table.round(6).to_csv(MEASURED, index=False)
    table = pd.DataFrame([rows[one] for one in sorted(rows)])
    head = ["seed", "finished", "validation", "base MSP", "base energy", "chosen", "difference"]
    every = table.to_dict("records")
    print_table([head, *([_cell(name, one) for name in head] for one in every)])
    print(f"{(table['difference_high'] < 0).sum()} of {len(table)} intervals lie below zero")


def _cell(name: str, one: Mapping[Any, Any]) -> str:
    def percent(key: str) -> str:
        return f"{100 * one[key]:.1f}"

    def interval(key: str) -> str:
        return f"{percent(key)} [{percent(f'{key}_low')}, {percent(f'{key}_high')}]"

    return {
        "seed": f"{one['seed']:.0f}",
        "finished": f"{one['finished']:.0f} of {one['trials']:.0f}",
        "validation": f"{percent('val_fpr95_base')} -> {percent('val_fpr95')}",
        "base MSP": percent("base_msp"),
        "base energy": percent("base_energy"),
        "chosen": interval("test_fpr95"),
        "difference": interval("difference"),
    }[name]


if __name__ == "__main__":
    main()
