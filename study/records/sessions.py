"""Sessions of a study: with what code and machine each went on, beside how the study began."""

from __future__ import annotations

from typing import Any

from study.errors import BadInput, Fault
from study.records.files import RunFolder, write_bytes, write_json
from study.records.manifest import CODE_DIFF, code_diff, hardware, made_now, versions
from study.records.run_folder import read_manifest


def note_session(run: RunFolder, command: str) -> list[str]:
    """Add a later session to the manifest, its code's diff beside the first where it is another.

    Returns:
        What differs from the study's beginning, as "name: then -> now".

    Raises:
        BadInput: where the manifest cannot be read, or does not tell of the beginning.
    """
    manifest = read_manifest(run)
    diff = code_diff()
    now = made_now(command, diff)
    try:
        differs = changed_machine(manifest)
        then, git = manifest["git"], now["git"]
        pairs = {key: (then[key], git[key]) for key in ("commit", "diff_sha256")}
    except KeyError as error:
        rule = f"does not tell how the study began: {error} is missing"
        raise BadInput(Fault(str(run.manifest), "", rule, "Restore it from a copy.")) from error
    if pairs["diff_sha256"][0] != git["diff_sha256"]:
        write_bytes(run.path / f"{git['diff_sha256'][:8]}.{CODE_DIFF}", diff.encode())
    manifest.setdefault("resumed", []).append(now)
    write_json(run.manifest, manifest)
    return differs + [
        f"code, {key}: {str(old)[:8]} -> {str(new)[:8]}"
        for key, (old, new) in pairs.items()
        if old != new
    ]


def changed_machine(manifest: dict[str, Any]) -> list[str]:
    """Versions and hardware that are not those of the manifest, as "name: then -> now"."""
    pairs = {f"version of {k}": (manifest["versions"].get(k), v) for k, v in versions().items()}
    then = manifest["hardware"]
    pairs |= {f"hardware, {k}": (then.get(k), v) for k, v in hardware().items() if k in then}
    return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]
