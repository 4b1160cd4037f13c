"""Record the golden runs: a finished and an interrupted run of three small studies.

    git worktree add ../old 2b5b3e9
    python tests/golden/record_runs.py ../old tests/golden/runs

The studies are ``tests/golden/spaces/*.yaml`` on the embedded demo, by the code that CHECKOUT has
committed and the backbone ``tests/golden/tiny.py``, one trial at a time with one thread. The
interrupted runs get ^C in their second trial. They are a promise to users of that version: record
them anew only with a version that means to break it, and say why.

The validation sets are a twentieth of the digits and two synthetic sets made from them. Of each
run stays what a user who is short of disk would leave:

- no tensorboard, study.db and report.html, which every session writes anew; no tables in the
  interrupted ones, for the same reason;
- weights of the base, of what resumes, and of the trial that wins; of NORD-F, whose weights take
  225 kB, the base and the state that is resumed alone (its trial wins, by its last epoch);
- scores as compressed npz: the same arrays under the same names;
- tables without the statistics and the second copy of their types that Parquet may hold: pandas
  reads the same frame;
- in an interrupted run nothing that the finished one of the same study has too, byte for byte:
  ``as_finished.txt`` names it, and `tests.golden.driving.recorded` puts it back.

manifest.json tells nothing of the machine but what numbers depend on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.golden.driving import AS_FINISHED, STUDIES, Checkout

# Results by which the second trial has a checkpoint and an epoch to go.
INTERRUPT_AFTER = 4
_TRIES = 10
_MADE_ANEW = ("tensorboard", "study.db", "report.html")
_TABLES = ("trials.parquet", "epochs.parquet")


def main() -> None:
    """Record the runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AsItIs)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("out", type=Path, help="folder that the runs are put into")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=STUDIES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        with tempfile.TemporaryDirectory(prefix="golden-") as folder:
            checkout = _cloned(options.checkout, Path(folder))
            runs = _finished(checkout, name), _interrupted(checkout, name)
            for run in runs:
                _tell_no_machine(run / "manifest.json")
                _refuse_traces(run, (folder, str(options.checkout.resolve())))
            pack(*runs)
            for run in runs:
                shutil.rmtree(options.out / run.name, ignore_errors=True)
                shutil.copytree(run, options.out / run.name)
                sys.stdout.write(f"{run.name}: {_bytes(run):,} bytes\n")


class _AsItIs(argparse.RawDescriptionHelpFormatter):
    """The text above, line by line."""


def _cloned(source: Path, folder: Path) -> Checkout:
    """What is committed there, so that the manifest names the commit and is right."""
    code = folder / "code"
    subprocess.run(["git", "clone", "--quiet", source.resolve(), code], check=True)
    return Checkout(code, folder).with_backbone()


def _finished(checkout: Checkout, name: str) -> Path:
    run = checkout.folder / f"{name}-finished"
    done = checkout.begin(name, run.name)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr}")
    winner = json.loads((run / "selection.json").read_text())["winner"]
    _remove(run, _MADE_ANEW)
    for weights in run.glob("checkpoints/0*/weights.safetensors"):
        if name == "nordf" or weights.parent.name != winner:
            weights.unlink()
    return run


def _interrupted(checkout: Checkout, name: str) -> Path:
    run = checkout.folder / f"{name}-interrupted"

    def late_enough() -> bool:
        ledger = run / "ledger.jsonl"
        lines = ledger.read_bytes() if ledger.exists() else b""
        return lines.count(b'{"event":"result"') >= INTERRUPT_AFTER

    for _ in range(_TRIES):
        shutil.rmtree(run, ignore_errors=True)
        done = checkout.begin(name, run.name, until=late_enough)
        if done.returncode == 130 and any(run.glob("checkpoints/*/epoch_*")):
            break
    else:
        raise SystemExit(f"{name}: no trial was under way when it was interrupted")
    _remove(run, (*_MADE_ANEW, *_TABLES))
    if name == "nordf":
        for weights in run.glob("checkpoints/0*/weights.safetensors"):
            weights.unlink()
    return run


def _remove(run: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def pack(finished: Path, interrupted: Path) -> None:
    """Make two runs of one study small, in place."""
    for run in (finished, interrupted):
        _pack_scores(run)
        _pack_tables(run)
    same = [
        path
        for path in sorted(_files(interrupted))
        if (other := finished / path.relative_to(interrupted)).exists()
        and other.read_bytes() == path.read_bytes()
    ]
    names = "".join(f"{path.relative_to(interrupted)}\n" for path in same)
    (interrupted / AS_FINISHED).write_text(names)
    for path in same:
        path.unlink()


def _pack_tables(run: Path) -> None:
    for path in sorted(run.glob("*.parquet")):
        frame = pd.read_parquet(path)
        pq.write_table(
            pq.read_table(path), path,
            use_dictionary=False, write_statistics=False, store_schema=False,
        )  # fmt: skip
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame, check_exact=True)


def _pack_scores(run: Path) -> None:
    for path in sorted(run.glob("scores/*.npz")):
        with np.load(path) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        np.savez_compressed(path, **arrays)


def _tell_no_machine(path: Path) -> None:
    """Paths and the kernel's name go; the processor's capability and the versions stay."""
    manifest = json.loads(path.read_text())
    manifest["python"] = "python"
    manifest["hardware"] |= {"system": "Linux", "processor": "x86-64"}
    del manifest["environment"]["PYTHONPATH"]
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def _refuse_traces(run: Path, paths: tuple[str, ...]) -> None:
    names = {*paths, str(Path.home()), socket.gethostname(), os.uname().release, sys.prefix}
    traces = [name.encode() for name in names if len(name) > 2]
    for path in _files(run):
        content = path.read_bytes()
        if found := [one for one in traces if one in content]:
            raise SystemExit(f"{path} tells of this machine: {found}")


def _files(run: Path) -> Iterator[Path]:
    return (path for path in run.rglob("*") if path.is_file())


def _bytes(run: Path) -> int:
    return sum(path.stat().st_size for path in _files(run))


if __name__ == "__main__":
    main()
