"""A whole search in one process, without Ray, and faults at every point of its write path.

What decides, records and trains is the project's own; only Ray's part is played by a loop. Each
search runs in a forked child, so that it can be killed as a machine kills: at once.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import torch

from study.records.disk import is_disk_full
from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.records.manifest import CODE_DIFF
from study.space.loading import load_space
from study.tune import searching
from study.tune.confirming import Choose
from study.tune.resources import Machine
from study.tune.searching import search
from study.tune.session import Session
from study.tune.setup import Setup
from study.watch.progress import Progress
from tests.integration.runs import decisions
from tests.toys import toy_setup
from tests.without_ray import Meddle, in_a_loop

NUM_TRIALS = 4
_SPACE = (
    "train.epochs=3",
    "train.augment=none",
    "train.warmup_epochs=0",
    "search={lr: {loguniform: [1.0e-3, 1.0e-1]}, batch_size: {choice: [16, 32]}}",
    f"tune.num_trials={NUM_TRIALS}",
    "tune.finish=2",
)
KILLED = -signal.SIGKILL
PAUSED = 7  # exit status of a child whose search found the disk full
_TIMED = ("time_s", "images_per_s", "lost", "retried")


def small_setup(*overrides: str) -> Setup:
    """A study of four small trials on toy data, from a fresh network."""
    return toy_setup(load_space("cifar10", [*_SPACE, *overrides]))


def search_here(
    folder: Path,
    setup: Setup,
    meddle: Meddle | None = None,
    progress: Progress | None = None,
    choose: Choose | None = None,
) -> Session:
    """Search to the end, one trial at a time, without Ray.

    ``meddle(session, number, message)`` may change what trials tell, or stop the session;
    ``choose`` names the candidates of a confirmation.
    """

    whole = searching.run_on_ray
    searching.run_on_ray = partial(in_a_loop, meddle=meddle)
    try:
        run = RunFolder(folder)
        folder.mkdir(exist_ok=True)
        run.manifest.touch()
        machine = Machine(max_concurrent=1)
        with Ledger(run.ledger) as ledger, progress or _quiet() as telling:
            return search(run, setup, ledger, telling, machine, choose)
    finally:
        searching.run_on_ray = whole


def _quiet() -> Progress:
    return Progress(io.StringIO(), live=False, quiet=True)


@dataclass
class Faults:
    """Counts the points at which something reaches the disk, and strikes at one of them.

    Attributes:
        root: paths under it count.
        at: index of the point to strike at; None only lists them.
        full: whether the strike is a full disk, from then on, in place of a kill.
        points: the names of the points that were passed.
    """

    root: Path
    at: int | None = None
    full: bool = False
    points: list[str] = field(default_factory=list)

    def install(self) -> None:
        """Take the place of the calls that reach the disk; for good, in this process."""
        write, fsync, rename, replace = os.write, os.fsync, os.rename, os.replace

        def ours(descriptor: int) -> str:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            return self._name(path)

        def do_write(descriptor: int, content: bytes) -> int:
            name = ours(descriptor)
            if not name:
                return write(descriptor, content)
            self.reach(f"before the write of {name}")
            half = content[: len(content) // 2]
            if self.reach(f"in the write of {name}", lambda: write(descriptor, half)):
                return len(half)  # as a write does when the disk is just full
            done = write(descriptor, content)
            self.reach(f"after the write of {name}")
            return done

        def do_fsync(descriptor: int) -> None:
            name = ours(descriptor)
            if name and name != "ledger.jsonl" and not os.path.isdir(f"{self.root}/{name}"):  # noqa: PTH112
                size = os.fstat(descriptor).st_size
                self.reach(f"in the write of {name}", lambda: _cut(descriptor, size // 2))
            fsync(descriptor)
            if name:
                self.reach(f"after the sync of {name}")

        def moving(move: Callable[..., None]) -> Callable[..., None]:
            def do_move(source: Any, target: Any, **named: Any) -> None:
                name = self._name(Path(target))
                if name:
                    self.reach(f"before the rename to {name}")
                move(source, target, **named)
                if name:
                    self.reach(f"after the rename to {name}")

            return do_move

        os.write, os.fsync = do_write, do_fsync
        os.rename, os.replace = moving(rename), moving(replace)

    def _name(self, path: Path) -> str:
        try:
            name = str(path.relative_to(self.root))
        except ValueError:
            return ""
        return "" if name.startswith(("study.db", "tensorboard")) else name

    def reach(self, name: str, halfway: Callable[[], object] | None = None) -> bool:
        """Pass a point, or be struck at it; True where a full disk took half of what was written.

        ``halfway`` leaves what a write leaves that was cut off in the middle.
        """
        here = len(self.points)
        self.points.append(name)
        if self.at is None or here < self.at or (here > self.at and not self.full):
            return False
        if not self.full:
            if halfway is not None:
                halfway()
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("after"):
            return False  # it was written; the next write finds no room
        if halfway is not None and here == self.at and "ledger" in name:
            halfway()
            return True
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)


def _cut(descriptor: int, size: int) -> None:
    path = f"/proc/self/fd/{descriptor}"
    with open(path, "r+b") as file:  # noqa: PTH123 - not a path of its own
        file.truncate(size)


def searched_in_child(
    folder: Path,
    setup: Setup | None = None,
    *,
    at: int | None = None,
    full: bool = False,
    listing: bool = False,
) -> int:
    """Search in a child that is struck at a point; 0, minus the signal, or 7 where it paused."""
    pid = os.fork()
    if pid == 0:
        os._exit(_child(folder, setup, at, full, listing))
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _child(folder: Path, setup: Setup | None, at: int | None, full: bool, listing: bool) -> int:
    torch.set_num_threads(1)
    faults = Faults(folder, at, full)
    try:
        if at is not None or listing:
            folder.mkdir(exist_ok=True)
            faults.install()
        session = search_here(folder, setup or small_setup(), choose=_best_of_table)
        if listing:
            (folder.parent / "points.txt").write_text("\n".join(faults.points))
        if session.error is not None:
            raise session.error
        return PAUSED if session.disk_full else 0
    except BaseException as error:  # noqa: BLE001 - a forked child must not go on in the tests
        if is_disk_full(error):
            return PAUSED
        (folder.parent / "child.txt").write_text(traceback.format_exc())
        return 1


def _best_of_table(run: RunFolder, top: int) -> list[int]:
    """Candidates of a confirmation by val/objective alone, from the table as a study's are."""
    table = pd.read_parquet(run.trials)
    finished = table[table["status"].eq("finished") & table["confirms"].eq("")]
    best = finished.sort_values(["val/objective", "trial_id"])["trial_id"]
    return [int(name) for name in best.head(top)]


def write_points(folder: Path, setup: Setup | None = None) -> list[str]:
    """The name of every point of the write path of one search, in order."""
    run = folder / "listed"
    assert searched_in_child(run, setup, listing=True) == 0, (folder / "child.txt").read_text()
    shutil.rmtree(run)
    return (folder / "points.txt").read_text().splitlines()


def remains(run: Path) -> dict[str, Any]:
    """All that a search leaves but for times: decisions, rows, tables, files byte for byte."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = f"sqlite:///{run / 'study.db'}"  # a confirmation has a study of its own
    names = optuna.get_all_study_names(storage)
    rows = [
        row for name in names for row in optuna.load_study(study_name=name, storage=storage).trials
    ]
    tables = {}
    for name in ("trials", "epochs"):
        table = pd.read_parquet(run / f"{name}.parquet")
        timed = [column for column in _TIMED if column in table]
        tables[name] = table.drop(columns=timed).to_dict("list")
    files = [p for p in run.rglob("*") if p.is_file() and "tensorboard" not in p.parts]
    # Of the checkout, not of the study: each session notes the changes that it finds there.
    files = [p for p in files if not p.name.endswith(CODE_DIFF)]
    exact = ("scores", "checkpoints")
    return {
        "decisions": decisions(run),
        "rows": [(r.number, r.state, r.params, r.values, r.intermediate_values) for r in rows],
        "tables": repr(tables),
        "names": sorted(str(path.relative_to(run)) for path in files),
        "bytes": {p.name + p.parent.name: p.read_bytes() for p in files if {*p.parts} & {*exact}},
    }
