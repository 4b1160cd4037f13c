"""What only ``study`` may do, done in a process of its own: this room imports no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from study import ending
from study.errors import BAD_INPUT, DONE, INTERRUPTED, BadInput, Fault, Interrupted, StudyFailed

_STDERR = 2


def run_study_module(module: str, folder: Path, *arguments: str, what: str) -> None:
    """``python -m MODULE FOLDER ARGUMENTS``; it says on stderr what is wrong.

    Args:
        module: such as ``study.final_test``.
        folder: of the run.
        arguments: further ones.
        what: what it does, for messages: "the final test".

    Raises:
        BadInput: if it refused its input.
        StudyFailed: if it failed.
        Interrupted: if it was interrupted.
    """
    # -P: a study.py in the working directory is none of ours; where this one is, is said instead.
    command = [sys.executable, "-P", "-m", module, str(folder), *arguments]
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    # Its stdout goes to our stderr: results on stdout are ours. What ends this process ends that
    # one, which therefore hears nothing of the terminal by itself.
    with ending.before_end(ending.end_children):
        code = subprocess.run(
            command, check=False, stdout=_STDERR, env=environment, start_new_session=True
        ).returncode
    if code == INTERRUPTED:
        raise Interrupted(f"{folder}: {what} was interrupted")
    if code == BAD_INPUT:
        raise BadInput(Fault(str(folder), "", f"{what} refused its input; see above"))
    if code != DONE:
        raise StudyFailed(f"{folder}: {what} failed with exit code {code}; see above.")
