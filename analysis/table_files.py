"""The files of one run, read: typed tables of whole rows, plain values, or what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from study.errors import BadInput, Fault
from study.records.files import KEPT, STATUSES, RunFolder
from study.records.shapes import misshapen
from study.scoring.measuring import OOD_METRICS

SUMMARY = ("id_accuracy", *OOD_METRICS)


def check_folder(folder: RunFolder) -> None:
    """Refuse a folder that holds no study.

    Raises:
        BadInput: naming it.
    """
    place = str(folder.path)
    if not folder.path.is_dir():
        rule = "no such directory"
        raise BadInput(Fault(place, "", rule, "Give the folder of a run, such as runs/energy."))
    if not folder.trials.exists():
        rule = "there is no trials.parquet in it, so it holds no study, or one that never started"
        way = "Give the folder that --out named, or resume the study with run_study.py --resume."
        raise BadInput(Fault(place, "", rule, way))


def read_table(path: Path) -> pd.DataFrame:
    """Read trials.parquet or epochs.parquet with pandas' own types.

    Returns:
        Columns as in the contract: trial_id (str), seed, epochs (Int64), status (category of
        ``STATUSES``), time_s (float64, seconds), ``val/...`` (float64, fractions) and
        ``param/...`` (as stored).

    Raises:
        BadInput: naming the file, if it is not whole or lacks its key columns.
    """
    try:
        # by its content: Arrow takes no path that is not UTF-8
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(path.read_bytes())).to_pandas()
    except (OSError, pa.ArrowInvalid, pa.ArrowException) as error:
        rule = f"not a readable Parquet file ({str(error).splitlines()[0]})"
        raise BadInput(Fault(str(path), "", rule, "Restore it, or resume the study.")) from error
    if frame.empty:
        return no_rows()  # a study that was stopped before its first trial
    if "trial_id" not in frame.columns:
        raise BadInput(Fault(str(path), "trial_id", "the column is missing; not a study's table"))
    frame["trial_id"] = frame["trial_id"].astype("str")
    for column in ("seed", "epochs", "epoch", "checkpoint_epoch"):
        if column in frame.columns:
            frame[column] = frame[column].astype("Int64")
    numbers = ("val/", f"{KEPT}/")
    for column in (c for c in frame.columns if c.startswith(numbers) or c == "time_s"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("float64")
    if "status" in frame.columns:
        frame["status"] = pd.Categorical(frame["status"], categories=STATUSES)
    return frame


def no_rows() -> pd.DataFrame:
    """A table of trials or epochs before the first."""
    columns = {"trial_id": "str", "epoch": "Int64", "seed": "Int64", "epochs": "Int64"}
    frame = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    return frame.assign(status=pd.Categorical([], categories=STATUSES))


def read_epochs(path: Path, faults: list[str]) -> pd.DataFrame:
    """The table of epochs, empty where it is broken: curves are missing then, not the study."""
    if not path.exists():
        faults.append(f"{path.name} is missing: no learning curves, no importance.")
        return no_rows()
    try:
        epochs = read_table(path)
    except BadInput as error:
        faults.append(f"{error} Read without it: no learning curves, no importance.")
        return no_rows()
    wrong = _not_finite(epochs)
    for index, metrics in wrong.items():
        place = f"trial {epochs['trial_id'][index]}, epoch {epochs['epoch'][index]}"
        faults.append(f"{path.name}: {place} has no {', '.join(metrics)}; left out.")
    return epochs.drop(index=list(wrong))


def _not_finite(rows: pd.DataFrame) -> dict[Any, list[str]]:
    """Index of a row -> its summary metrics that are not numbers; whole rows are not named."""
    present = [f"val/{name}" for name in SUMMARY if f"val/{name}" in rows.columns]
    if not present:
        return {}
    broken = ~np.isfinite(rows[present].to_numpy(dtype=np.float64))
    return {
        rows.index[i]: [name for name, bad in zip(present, broken[i], strict=True) if bad]
        for i in map(int, np.flatnonzero(broken.any(axis=1)))
    }


def without_broken(trials: pd.DataFrame, path: Path, faults: list[str]) -> pd.DataFrame:
    """Leave out, by name, finished trials whose metrics are not numbers, and double rows."""
    double = trials["trial_id"].duplicated()
    for trial_id in trials.loc[double, "trial_id"]:
        faults.append(f"{path.name}: trial {trial_id} is there twice; the first row counts.")
    trials = trials[~double]
    broken = _not_finite(trials[trials["status"] == "finished"])
    for index, wrong in broken.items():
        told = f"trial {trials['trial_id'][index]} is finished but has no {', '.join(wrong)}"
        faults.append(f"{path.name}: {told}; left out.")
    return trials.drop(index=list(broken))


def read_mapping(
    path: Path, kind: str, parse: Callable[[str], Any], shapes: Mapping[str, type]
) -> Mapping[str, Any]:
    """The sections of a file; none where it is not there.

    Args:
        path: of the file.
        kind: what it is to be, for messages.
        parse: its text -> what it holds.
        shapes: as `study.records.shapes.misshapen` takes them.

    Raises:
        BadInput: where it cannot be read, or a section is of another shape.
    """
    if not path.exists():
        return {}
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        rule = f"not readable as {kind} ({error})"
        raise BadInput(Fault(str(path), "", rule, "Restore it from a copy.")) from error
    if faults := misshapen(path, content, shapes):
        raise BadInput(faults)
    found: Mapping[str, Any] = content
    return found
