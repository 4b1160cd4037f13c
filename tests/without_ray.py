"""The project's commands with Ray's part played by a loop, each in a forked child.

Children are forked by a process that has the project's imports and nothing else: a test's own
process may hold Ray or have computed, and threads do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from study.records.files import RunFolder
from study.training.trial import run_trial
from study.tune import searching
from study.tune.resources import Machine
from study.tune.session import Session
from study.tune.setup import Setup

Main = Callable[[Sequence[str]], int]
Meddle = Callable[[Session, int, str], str]
_PATIENCE_S = 300
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [__name__, "study.cli", "study.final_test", "analysis.__main__", "analysis.report.page"]
)


def in_a_loop(
    run: RunFolder,
    setup: Setup,
    session: Session,
    machine: Machine,
    meddle: Meddle | None = None,
) -> None:
    """Run the trials of a session one after the other in this process: Ray's part."""
    setting = setup.trial_setting(run.path.resolve(), threads=1, device="cpu")
    session.decisions.note("session", max_concurrent=1, device="cpu", threads=1)
    while not session.exhausted:
        assignment = session.next_assignment()
        if assignment is None:
            continue
        for message in run_trial(assignment, setting):
            if meddle is not None:
                message = meddle(session, assignment.number, message)
            if session.told(assignment.number, message):
                break
        session.left(assignment.number)


def forked(
    main: Main, arguments: Sequence[str], where: Path, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    """Run a command in a child that has the imports already.

    Args:
        main: of ``study.cli``, ``analysis.__main__`` or another command.
        arguments: its command line.
        where: the child's working directory.
        environment: of the child, beside this process's.

    Returns:
        Exit code (minus a signal; 99 after a traceback), stdout and stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        places = os.environ | environment
        child = _SERVER.Process(target=_ends, args=(main, arguments, where, places, (out, err)))
        child.start()
        child.join()
        texts = (path.read_text(errors="replace") for path in (out, err))
        return child.exitcode, *texts  # type: ignore[return-value]


def _ends(*given: Any) -> None:
    """The child's whole life."""
    os._exit(_child(*given))


def _child(
    main: Main,
    arguments: Sequence[str],
    where: Path,
    environment: Mapping[str, str],
    streams: tuple[Path, Path],
) -> int:
    signal.alarm(_PATIENCE_S)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
    os.environ.clear()
    os.environ |= environment
    os.fsync = lambda descriptor: None  # as in the tests' own processes: no machine is killed
    os.chdir(where)
    torch.set_num_threads(1)
    searching.run_on_ray = in_a_loop
    try:
        return main(list(arguments))
    except SystemExit as error:
        return int(error.code or 0)
    except BaseException:  # noqa: BLE001 - a forked child must not go on
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
