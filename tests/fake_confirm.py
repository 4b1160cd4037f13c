"""Adds a confirmation to a fake run: rows, scores and weights of candidates on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from study.records.files import WEIGHTS, RunFolder
from study.records.ledger import Ledger
from tests.fake_run import Fake, make_scores, metrics_of

FAKE = Fake(statuses=("finished",) * 5, below_base=0.5)
Run = tuple[float, float] | None
"""ID accuracy and separation of a run on a fresh seed; None where it failed."""


def confirm(run: RunFolder, runs: Mapping[int, Sequence[Run]], *, seeds: int = 3) -> None:
    """Add confirming trials to a fake run, seed by seed, as a study does."""
    table = pd.read_parquet(run.trials)
    new = {"confirms", "cause"} - {*table.columns}  # else of an earlier confirmation
    table = table.assign(**dict.fromkeys(new, ""))
    rows: list[dict[str, Any]] = []
    longest = max(len(one) for one in runs.values())
    for k in range(longest):
        for candidate, each in runs.items():
            if k < len(each):
                name = f"{len(table) + len(rows):05d}"
                rows.append(_row(run, table, name, candidate, k, each[k]))
    pd.concat([table, pd.DataFrame(rows)]).to_parquet(run.trials, index=False)
    with Ledger(run.ledger) as ledger:
        searched = int(table["confirms"].eq("").sum())
        ledger.append("confirm", candidates=list(runs), seeds=seeds, num_searched=searched)


def _row(
    run: RunFolder, table: pd.DataFrame, name: str, candidate: int, k: int, told: Run
) -> dict[str, Any]:
    row = table.iloc[candidate].to_dict() | {"trial_id": name, "seed": 1000 * candidate + k}
    row |= {"arm": "confirm", "confirms": f"{candidate:05d}", "epochs": 1, "checkpoint_epoch": 1}
    if told is None:
        metrics = {key: np.nan for key in row if key.startswith("val/")}
        return row | {"status": "failed"} | metrics
    scores = make_scores(FAKE, name, [told])
    scores.save(run.trial_scores(name))
    weights = run.trial_checkpoints(name) / WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.write_bytes(name.encode())
    return row | metrics_of(scores, 0)
