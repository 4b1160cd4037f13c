"""The GPU's measurements, run through on a CPU: what they tell, and that they end in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gpu
import performance
import pytest
from gpu_parts import row_of

ROOT = Path(__file__).resolve().parents[3]


def test_part_without_its_package_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "NEEDS", ("pydantic", "no_such_package"))
    rows, notes = gpu.run_parts(["bits"], 60, rehearse=True)
    assert (rows, notes) == ([], ["left out: bits, for want of no_such_package"])


def test_parts_beyond_the_time_are_left_out() -> None:
    assert gpu.run_parts(["bits", "memory"], 0.5, rehearse=True) == (
        [],
        ["left out: bits, the time is up", "left out: memory, the time is up"],
    )


def test_part_that_hangs_is_stopped_and_what_it_told_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "hangs.py"
    script.write_text('import time; print(\'{"name": "x"}\', flush=True); time.sleep(60)')
    monkeypatch.setattr(gpu, "__file__", str(script))
    rows, note = gpu.run_part("bits", 1.0, rehearse=True)
    assert rows == [{"name": "x"}]
    assert note.startswith("bits: stopped after ")


def test_part_that_fails_tells_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise ValueError('no kernel image')")
    monkeypatch.setattr(gpu, "__file__", str(script))
    assert gpu.run_part("bits", 60, rehearse=True) == (
        [],
        "bits: exit 1: ValueError: no kernel image",
    )


def test_rows_of_a_part_that_is_run_alone_join_those_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "measured" / "gpu.json"
    gpu.save([row_of("a", [1.0]), row_of("b", [2.0])], path)
    gpu.save([row_of("b", [3.0, 5.0])], path)
    rows = json.loads(path.read_text())
    assert [(row["name"], row["measured"], row["spread"]) for row in rows] == [
        ("a", 1.0, None),
        ("b", 4.0, [3.0, 5.0]),
    ]


def test_limits_of_the_parts_hold_in_eight_minutes_but_for_the_last() -> None:
    *measured, last = gpu.LIMITS_S.values()
    assert last == gpu.LIMITS_S["study"]
    assert sum(measured) <= 480


@pytest.mark.slow  # every part, in a process of its own
def test_rehearsal_runs_every_part_and_leaves_rows_of_every_target(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", "--rehearse", "--minutes", "30", "--out", out],
        env=os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "left out: study, which a rehearsal has no time for"
    rows = {row["name"]: row for row in json.loads(out.read_text())}
    targets = {one.name for one in performance.PARTS["GPU"]} - {"gpu/study"}
    assert targets <= rows.keys()
    assert rows["gpu/check/bits"]["measured"] == rows["gpu/check/memory"]["measured"] == 1
    assert "## GPU" in performance.page(list(rows.values()))
