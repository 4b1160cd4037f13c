"""The frozen choice on disk: selection.json, sealed by a hash of its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault
from study.records.files import WEIGHTS, RunFolder
from study.terminal import pasted

SELECTED = "selected"  # the ledger's event: trial_id, sha256
_SEAL = "sha256"


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` with the hash of itself."""
    return {**content, _SEAL: content_hash(content)}


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of everything but the seal."""
    rest = {key: value for key, value in content.items() if key != _SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where there is no such file, or a folder in its place."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def read_frozen(folder: Path) -> dict[str, Any]:
    """The frozen choice of a run.

    Raises:
        BadInput: if there is none, or it is not what was written.
    """
    path = RunFolder(folder).selection
    if not path.exists():
        rule = "no trial has been chosen yet"
        way = f"Run first: {pasted(['python', '-m', 'analysis', 'select', str(folder)])}"
        raise BadInput(Fault(str(path), "", rule, way))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        intact = content[_SEAL] == content_hash(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(_tampered(path, f"it is not readable as one ({error!r})")) from error
    if not intact:
        raise BadInput(_tampered(path, "its content does not match its hash"))
    return dict(content)


def frozen_models(frozen: Mapping[str, Any]) -> dict[str, str | None]:
    """The trials that go to the final test, with the hash of their weights; the exported first.

    After a confirmation these are all fresh seeds of the winning candidate.
    """
    confirmed = frozen.get("confirmation")
    if confirmed:
        return dict(confirmed["tested"])
    return {str(frozen["winner"]): frozen["weights_sha256"]}


def refuse_unfrozen(
    run: RunFolder, frozen: Mapping[str, Any], selected: Sequence[Mapping[str, Any]]
) -> None:
    """The choice is the ledger's last one, and weights and what they are of were chosen so.

    Args:
        run: its folder.
        frozen: the choice.
        selected: the ledger's events `SELECTED`.

    Raises:
        BadInput: naming the file that is another.
    """
    way_out = "Restore the file from a copy; another choice is another study."
    if not selected or selected[-1]["sha256"] != frozen["sha256"]:
        rule = "this is not the choice that the ledger tells of"
        raise BadInput(Fault(str(run.selection), "sha256", rule, way_out))
    for trial, sha256 in frozen_models(frozen).items():
        weights = run.trial_checkpoints(trial) / WEIGHTS
        if file_hash(weights) != sha256:
            rule = "these are not the weights that were chosen"
            raise BadInput(Fault(str(weights), "", rule, way_out))
    changed = [
        Fault(str(run.path / name), "", "is not what was chosen", way_out)
        for name, sha256 in (frozen.get("files") or {}).items()
        if file_hash(run.path / name) != sha256
    ]
    if changed:
        raise BadInput(changed)


def _tampered(path: Path, what: str) -> Fault:
    rule = f"this is not the choice that was frozen: {what}"
    way = "Restore the file; or remove it and run `python -m analysis select` again, which the "
    return Fault(str(path), "sha256", rule, f"{way}ledger shows.")
