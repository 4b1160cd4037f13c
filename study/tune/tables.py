"""trials.parquet, epochs.parquet and states.parquet: the ledger's trials as tidy, typed tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from study.records.columns import SEARCHED, in_reading_order
from study.records.files import CONFIRM, KEPT, RunFolder, replacing, trial_id
from study.scoring.objective import OBJECTIVE
from study.tune.record import Flat, TrialRecord

if TYPE_CHECKING:
    import pandas as pd


def trials_table(
    trials: Sequence[TrialRecord],
    params: Callable[[TrialRecord], Flat],
    rule: str,
    *,
    live: bool,
    metric: str = "val/fpr95",
) -> pd.DataFrame:
    """One row a trial.

    Args:
        trials: from the ledger.
        params: all parameters of a trial, searched and fixed, dotted name -> scalar.
        rule: the checkpoint rule.
        live: whether the session still runs; unfinished trials are "running" then, else
            "paused".
        metric: what the study selects by.

    Returns:
        Columns: trial_id, arm, seed, status, reason, cause, epochs, time_s (training and
        validation, seconds), checkpoint_epoch, lost (times its worker died), retried (times it
        was put back for want of memory), confirms (the trial that it trains anew on a fresh seed,
        with arm "confirm"; empty in the search), tunes (whether it only tunes its arm of an
        ablation), ``param/<name>``, and the metrics of the checkpoint's epoch (fractions):
        ``val/...`` and, of runs that confirm on a part of validation that is kept for them,
        ``confirm/...``. In the order of `study.records.columns`; ``attrs["searched"]`` names the
        columns of the searched parameters.
    """
    import pandas as pd  # of use to who writes tables

    rows = []
    for record in trials:
        epoch = record.checkpoint_epoch(rule)
        unfinished = "running" if live else "paused"
        rows.append(
            {
                "trial_id": trial_id(record.number),
                "arm": record.arm,
                "seed": record.seed,
                "status": unfinished if record.status == "running" else record.status,
                "reason": record.reason,
                "cause": record.cause,
                "epochs": len(record.epochs),
                "time_s": float(sum(metrics["time_s"] for metrics in record.epochs)),
                "checkpoint_epoch": epoch,
                "lost": record.lost,
                "retried": record.retried,
                "confirms": "" if record.confirms is None else trial_id(record.confirms),
                "tunes": record.tunes,
                **{f"param/{name}": value for name, value in params(record).items()},
                **{
                    name: value
                    for name, value in sorted(record.chosen_metrics(rule).items(), key=_first)
                    if name.startswith(("val/", f"{KEPT}/"))
                },
            }
        )
    table = _typed(pd.DataFrame(rows))
    varied = dict.fromkeys(f"param/{name}" for record in trials for name in record.params)
    searched = [name for name in varied if name in table.columns]
    arms = bool(len(table)) and not table["arm"].isin(["search", CONFIRM]).all()
    table = table[in_reading_order(table.columns, searched, metric, arms=arms)]
    table.attrs[SEARCHED] = searched
    return table


def epochs_table(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a trial and epoch: trial_id, epoch and every metric of its best state."""
    import pandas as pd

    rows = [
        {"trial_id": trial_id(record.number), "epoch": epoch, **metrics}
        for record in trials
        for epoch, metrics in enumerate(record.epochs, start=1)
    ]
    return pd.DataFrame(rows)


def states_table(trials: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a state of each trial's path: trial_id, epoch, val/alpha and summary metrics."""
    import pandas as pd

    rows = [
        {"trial_id": trial_id(record.number), "epoch": epoch, **state}
        for record in trials
        for epoch, states in enumerate(record.states, start=1)
        for state in states
    ]
    return pd.DataFrame(rows)


def _first(metric: tuple[str, float]) -> tuple[bool, str]:
    """The objective before the other metrics, which come by name."""
    return metric[0] != OBJECTIVE, metric[0]


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """A searched parameter whose values differ in type becomes text, which Parquet can hold."""
    for column in [name for name in table.columns if name.startswith("param/")]:
        kinds = {type(value) for value in table[column].dropna()}
        if kinds - {int, float} and len(kinds) > 1:
            table[column] = table[column].map(lambda value: None if value is None else str(value))
    return table


def write_tables(
    run: RunFolder,
    trials: Sequence[TrialRecord],
    params: Callable[[TrialRecord], Flat],
    rule: str,
    *,
    live: bool,
    metric: str = "val/fpr95",
) -> None:
    """Write the tables by rename."""
    tables = {
        run.trials: trials_table(trials, params, rule, live=live, metric=metric),
        run.epochs: epochs_table(trials),
    }
    if any(record.states for record in trials):
        tables[run.states] = states_table(trials)
    for path, table in tables.items():
        with replacing(path) as file:
            table.to_parquet(file, index=False)
