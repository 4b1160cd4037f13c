"""A machine that runs out of memory, as Ray's own monitor sees it: every worker is ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.records.ledger import read_ledger
from tests.integration.runs import PROJECT

pytestmark = [pytest.mark.ray, pytest.mark.slow]
_CODE = """
import sys
from pathlib import Path
from tests.integration.test_tuner import _search
from tests.integration.workers import unhurried
from study.tune.ray_tuner import ray_running
with ray_running(None, num_cpus=2):
    _search(Path(sys.argv[1]), unhurried, 2, at_once=1)
"""


def test_trial_whose_worker_is_ended_for_memory_is_retried_once_and_then_failed(
    tmp_path: Path,
) -> None:
    # Memory is short from the first byte on: whatever the machine has, this much is in use.
    low = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    subprocess.run(
        [sys.executable, "-c", _CODE, str(tmp_path)],
        env={**os.environ, **low, "PYTHONPATH": str(PROJECT)}, check=False, timeout=200,
        cwd=PROJECT,
    )  # fmt: skip
    records, _ = read_ledger(tmp_path / "ledger.jsonl")
    ours = [r for r in records if r["event"] != "ask" and r["number"] == 0]
    assert [(r["event"], r["cause"]) for r in ours] == [
        ("retried", "memory"), ("failed", "memory"),
    ]  # fmt: skip
    assert "Ray ended the worker" in ours[0]["reason"]
