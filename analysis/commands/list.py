"""``python -m analysis list``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choice.whole import left_to_do
from analysis.commands import Result
from analysis.numbers import MISSING, metric_label, percent
from analysis.report.terminal import TOGETHER
from analysis.tables import Records
from study.counted import counted
from study.errors import BadInput, Fault
from study.records.files import TEST_OPENED, RunFolder
from study.records.frozen import read_frozen
from study.scoring.objective import ID_ACCURACY
from study.terminal import pasted, visible

# What readers raise of files that somebody else wrote, or changed; the list goes on.
_ODD = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
_DEEP = 3  # folders below the one that was named; a run is not looked into
_COLUMNS = ("run", "space", "data", "state", "choice", "metric", "value", "id_accuracy", "tested")


def run(options: Namespace) -> Result:
    """One row a run, those that cannot be read among them.

    Raises:
        BadInput: where there is no such folder.
    """
    top: Path = options.directory
    if not top.is_dir():
        rule = "no such directory"
        raise BadInput(Fault(str(top), "", rule, "Name the folder that holds runs."))
    rows = [_row(top, path) for path in _runs(top)]
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "fault"])
    lines = [f"{row['run']}: {row['fault']}" for row in rows if row["fault"]]
    if not rows:
        lines = [f"{top}: no run in it; run_study.py --out names where one goes."]
    return Result(
        table, {f"{top}: {counted(len(rows), 'run')}": _texts(table)} if rows else {}, lines
    )


def _runs(folder: Path, deep: int = _DEEP) -> Iterator[Path]:
    """Folders that hold a ledger or a table of trials, by name."""
    run = RunFolder(folder)
    if run.ledger.is_file() or run.trials.is_file():
        yield folder
        return
    if deep < 0:
        return
    try:
        inner = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return  # somebody else's
    for one in inner:
        if not one.name.startswith("."):
            yield from _runs(one, deep - 1)


def _row(top: Path, path: Path) -> dict[str, Any]:
    row = dict.fromkeys(_COLUMNS) | {"run": visible(str(path.relative_to(top))), "fault": ""}
    if path == top:
        row["run"] = visible(path.resolve().name)
    folder = RunFolder(path)
    if folder.ledger.is_file() and not folder.trials.exists():
        way = pasted(["python", "run_study.py", "--resume", str(path)])
        return row | {"state": "cut off", "fault": f"stopped before its first table; {way}"}
    try:
        return row | _facts(Records.read(path))
    except BadInput as error:
        return row | {"state": "not readable", "fault": error.faults[0].rule}
    except _ODD as error:
        return row | {"state": "not readable", "fault": f"{type(error).__name__}: {error}"}


def _facts(study: Records) -> dict[str, Any]:
    """What a list tells of a run."""
    told: dict[str, Any] = {
        "space": study.spec.get("recipe") or MISSING,
        "data": "demo" if study.is_demo else _data(study.manifest),
        "state": _state(study),
        "metric": study.metric,
        "tested": bool(study.events(TEST_OPENED)),
    }
    if not study.folder.selection.exists():
        return told
    frozen = read_frozen(study.folder.path)
    # Of several seeds both are means over them.
    own = study.trials["trial_id"].isin(frozen.get("seed_trials") or [frozen["trial_id"]])
    told |= {"choice": frozen.get("winner") or frozen["trial_id"], "value": frozen["value"]}
    return told | {"id_accuracy": study.trials.loc[own, ID_ACCURACY].mean()}


def _data(manifest: Mapping[str, Any]) -> str:
    plan = (manifest.get("data") or {}).get("plan") or {}
    return str((plan.get("id") or {}).get("name") or MISSING)


def _state(study: Records) -> str:
    counts = study.status_counts()
    if counts.get("running"):
        return "running, or cut off"
    if not len(study.trials):
        return "no trials"
    return "not over" if left_to_do(study) else "done"


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """The list for readers; runs of one metric have it as the column's name."""
    metrics = table["metric"].dropna().unique()
    title = metric_label(metrics[0], short=True) if len(metrics) == 1 else "metric (%)"
    shown = pd.DataFrame({"run": table["run"], "state": table["state"]})
    shown["choice"] = table["choice"].fillna(MISSING)
    shown[title] = table["value"].map(percent)
    shown[metric_label(ID_ACCURACY)] = table["id_accuracy"].map(percent)
    shown["tested"] = [
        MISSING if pd.isna(one) else "yes" if one else "no" for one in table["tested"]
    ]
    shown["space"] = table["space"].fillna(MISSING)
    shown["data"] = table["data"].fillna(MISSING)
    shown.attrs[TOGETHER] = 2
    return shown
