"""A study under several hold-outs: a folder that holds a whole study for each.

Each has data, base, floor, ledger, choice and final test of its own, so that whatever is true of
one study is true of it. The folder above has one file that names them, written once all have
begun.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault
from study.records.files import RunFolder, write_json

_NAME = "hold_out_{}"


def hold_out_folder(run: Path, number: int) -> Path:
    """Where the study of a hold-out is, counted from 1."""
    return run / _NAME.format(number)


def is_hold_out_folder(path: Path) -> bool:
    """Whether a folder is called as one of those."""
    return path.is_dir() and re.fullmatch(_NAME.format(r"\d+"), path.name) is not None


def write_hold_outs(run: Path, hold_outs: Sequence[dict[str, Any]]) -> None:
    """Say that the studies of all hold-outs have begun."""
    write_json(RunFolder(run).hold_outs, {"hold_outs": list(hold_outs)})


def hold_out_folders(run: Path) -> list[Path]:
    """The folders of the studies, in order; none where ``run`` is no such study.

    Raises:
        BadInput: where the file cannot be read, or a folder is missing.
    """
    file = RunFolder(run).hold_outs
    if not file.exists():
        return []
    try:
        number = len(json.loads(file.read_text(encoding="utf-8"))["hold_outs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        rule = f"does not say which hold-outs there are ({error!r})"
        raise BadInput(Fault(str(file), "", rule, "Restore it from a copy.")) from error
    folders = [hold_out_folder(run, place + 1) for place in range(number)]
    missing = [one.name for one in folders if not one.is_dir()]
    if missing:
        rule = "the folder of a hold-out is missing"
        raise BadInput(Fault(str(run), "", rule, "Restore it from a copy.", ", ".join(missing)))
    return folders
