"""TensorBoard in a real browser, on the files that a study writes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.tune.record import TrialRecord
from study.tune.shown import Shown
from study.tune.tensorboard import TensorBoardLog
from tests.browser import CHROMIUM, page

pytest.importorskip("aiohttp", reason="the browser is driven through aiohttp")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
STATUSES = ("finished", "pruned", "failed")


def _write(folder: Path) -> None:
    base = {"val/fpr95": 0.86, "val/auroc": 0.55, "val/id_accuracy": 0.97, "val/objective": 0.86}
    shown = Shown(
        lambda record: {"train.lr": 0.1 / (record.number + 1), "train.epochs": 4},
        searched=["train.lr"],
        base=base,
    )
    log = TensorBoardLog(folder, shown)
    for number, status in enumerate(STATUSES):
        metrics = {name: value - 0.1 * number for name, value in base.items()}
        record = TrialRecord(number, 0, {}, epochs=[metrics | {"images_per_s": 9.0}])
        log.trial_started(record)
        record.status = status
        log.trial_ended(record)
    log.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("study") / "tensorboard"
    _write(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--load_fast=false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "tensorboard ended"
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)


def test_hparams_opens_with_metrics_searched_parameters_and_every_trial_once(address: str) -> None:
    lines = page(f"{address}/#hparams", until="study0/00002").splitlines()
    # What the page's pane lists is chosen to be shown, and heads a column.
    for column in ("FPR95", "AUROC", "ID accuracy", "Objective", "Status", "lr"):
        assert column in lines, column
    assert not {"epochs", "images_per_s", "speed/images per s", "train.lr"} & set(lines)
    trials = [line for line in lines if line.startswith("study0/")]
    assert sorted(trials) == ["study0/00000", "study0/00001", "study0/00002", "study0/base"]
    beside = [lines[lines.index(f"study0/{number:05d}") + 1] for number in range(3)]
    assert beside == list(STATUSES)
