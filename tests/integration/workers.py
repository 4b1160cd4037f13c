"""Functions that Ray runs in tests in place of a trial; what they tell has a trial's form."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.toys import toy_metrics

EPOCHS = 9


def steady(config: dict[str, Any]) -> None:
    """Tell the epochs that are not on record yet; train nothing."""
    _epochs(config["assignment"], EPOCHS)


def troubled(config: dict[str, Any], marks: str) -> None:
    """Trials 1 to 5 each meet a trouble of their own at epoch 2, the others are steady."""
    assignment = config["assignment"]
    troubles = {1: _raise, 2: _diverge, 3: _exit, 4: _kill, 5: _not_a_number}
    trouble = troubles.get(assignment["number"])
    if trouble is None:
        _epochs(assignment, EPOCHS)
        return
    mark = Path(marks) / str(assignment["number"])
    with mark.open("a") as file:
        file.write(f"{len(assignment['standings'])} ")
    struck_before = len(mark.read_text().split()) > 1
    _epochs(assignment, 1)
    if trouble not in (_exit, _kill) or not struck_before:
        trouble(assignment)
    _epochs(assignment, EPOCHS, first=2)


def unhurried(config: dict[str, Any]) -> None:
    """Take some seconds before the first epoch."""
    time.sleep(5)
    _epochs(config["assignment"], EPOCHS)


def forgetful(config: dict[str, Any], marks: str) -> None:
    """Trial 1 finds no memory at epoch 2, once; trial 2 as often as it is tried."""
    assignment = config["assignment"]
    number, done = assignment["number"], len(assignment["standings"])
    if number in (1, 2):
        mark = Path(marks) / str(number)
        with mark.open("a") as file:
            file.write(f"{done} ")
        if not done:
            _epochs(assignment, 1)
        if number == 2 or len(mark.read_text().split()) == 1:
            _report({"failed": "out of memory: no room", "cause": "memory", "traceback": ""})
    _epochs(assignment, EPOCHS, first=2 if number in (1, 2) else 1)


def _epochs(assignment: dict[str, Any], last: int, first: int = 1) -> None:
    for epoch in range(max(first, len(assignment["standings"]) + 1), last + 1):
        _report({"epoch": epoch, "metrics": toy_metrics(assignment["train"], epoch)})


def _report(message: dict[str, Any]) -> None:
    from ray import tune

    tune.report({"message": json.dumps(message)})


def _raise(assignment: dict[str, Any]) -> None:
    raise RuntimeError(f"a bug that trial {assignment['number']} met")


def _diverge(assignment: dict[str, Any]) -> None:
    _report({"failed": "epoch 2, step 3: loss is nan", "cause": "diverged", "traceback": ""})


def _not_a_number(assignment: dict[str, Any]) -> None:
    _report({"epoch": 2, "metrics": {"val/objective": math.nan, "time_s": 0.0}})
    raise AssertionError("went on after a metric that is not a number")


def _exit(assignment: dict[str, Any]) -> None:
    os._exit(1)


def _kill(assignment: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def placed(config: dict[str, Any], marks: str, patience_s: int = 30, together: int = 4) -> None:
    """Write down where the trial is, and wait until so many were at it or patience is over."""
    import ray

    number, folder = config["assignment"]["number"], Path(marks)
    where = [ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"]]
    (folder / f"{number}.live").touch()
    for _ in range(10 * patience_s):
        live = len(list(folder.glob("*.live")))
        if live >= together:
            break
        time.sleep(0.1)
    (folder / f"{number}.json").write_text(json.dumps([*where, live]))
    _epochs(config["assignment"], EPOCHS)
