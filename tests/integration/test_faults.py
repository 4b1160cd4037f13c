"""Searches that are killed, or find the disk full, at any point end as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.records.ledger import read_ledger
from tests.integration.faults import (
    KILLED,
    PAUSED,
    remains,
    searched_in_child,
    write_points,
)

Whole = dict[str, Any]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a search that was never disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert searched_in_child(run) == 0
    return run


@pytest.fixture(scope="module")
def whole(undisturbed: Path) -> Whole:
    """What it leaves."""
    return remains(undisturbed)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every point at which that search reaches the disk."""
    return write_points(tmp_path_factory.mktemp("points"))


def _struck(folder: Path, at: int, *, full: bool) -> Path:
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    assert searched_in_child(run, at=at, full=full) == (PAUSED if full else KILLED)
    return run


def _index(points: list[str], when: str, of: str, nth: int) -> int:
    found = [i for i, name in enumerate(points) if name.startswith(when) and of in name]
    return found[nth]


@pytest.mark.parametrize(
    ("when", "of", "nth"),
    [
        ("in the write", "ledger.jsonl", 6),
        ("before the rename", "scores/00000/epoch_0001.npz", 0),
        ("in the write", "model.safetensors", 3),
        ("after the rename", "weights.safetensors", 0),
        ("in the write", "trials.parquet", 0),
    ],
)
def test_search_killed_while_it_writes_ends_the_same(
    tmp_path: Path, whole: Whole, points: list[str], when: str, of: str, nth: int
) -> None:
    run = _struck(tmp_path, _index(points, when, of, nth), full=False)
    assert searched_in_child(run) == 0
    assert remains(run) == whole


@pytest.mark.parametrize("why", ["rung", "finish"])
@pytest.mark.parametrize("when", ["before", "in", "after"])
def test_search_killed_at_a_promotion_ends_the_same(
    tmp_path: Path, undisturbed: Path, whole: Whole, points: list[str], why: str, when: str
) -> None:
    records = read_ledger(undisturbed / "ledger.jsonl")[0]
    nth = next(i for i, record in enumerate(records) if record.get("why") == why)
    run = _struck(tmp_path, _index(points, f"{when} the write", "ledger.jsonl", nth), full=False)
    assert searched_in_child(run) == 0
    assert remains(run) == whole


def test_trial_that_a_rung_stopped_keeps_the_state_that_it_would_go_on_from(
    undisturbed: Path,
) -> None:
    table = pd.read_parquet(undisturbed / "trials.parquet").set_index("trial_id")
    for trial, row in table.iterrows():
        states = [path.name for path in (undisturbed / f"checkpoints/{trial}").glob("epoch_*")]
        stopped = row["status"] == "pruned"
        assert states == ([f"epoch_{row['epochs']:04d}"] if stopped else [])
    assert set(table["status"]) == {"finished", "pruned"}


def test_promoted_trial_trains_from_its_first_epoch_where_its_state_is_gone(
    tmp_path: Path, undisturbed: Path, whole: Whole, points: list[str]
) -> None:
    records = read_ledger(undisturbed / "ledger.jsonl")[0]
    nth = next(i for i, record in enumerate(records) if record["event"] == "promoted")
    run = _struck(tmp_path, _index(points, "after the write", "ledger.jsonl", nth), full=False)
    for state in run.glob("checkpoints/*/epoch_*"):
        shutil.rmtree(state)
    assert searched_in_child(run) == 0
    ended = remains(run)
    for part in ("decisions", "rows", "tables"):
        assert ended[part] == whole[part]


@pytest.mark.parametrize(("of", "nth"), [("ledger.jsonl", 5), ("state.pt", 2)])
def test_search_that_finds_the_disk_full_pauses_and_ends_the_same(
    tmp_path: Path, whole: Whole, points: list[str], of: str, nth: int
) -> None:
    run = _struck(tmp_path, _index(points, "in the write", of, nth), full=True)
    content = (run / "ledger.jsonl").read_bytes()
    records, good = read_ledger(run / "ledger.jsonl")
    assert good == len(content)  # no half line stays behind
    assert not [record for record in records if record["event"] in ("failed", "retried")]
    assert searched_in_child(run) == 0
    assert remains(run) == whole


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True], ids=["killed", "full disk"])
def test_search_struck_at_every_point_of_its_write_path_ends_the_same(
    tmp_path: Path,
    whole: Whole,
    points: list[str],
    full: bool,
    record_property: Callable[[str, object], None],
) -> None:
    different, recovery_s = [], []
    for at, name in enumerate(points):
        if full and name.startswith("after"):
            continue  # a disk that is full after a write is full before the next one
        run = _struck(tmp_path, at, full=full)
        begun = time.monotonic()
        ended = searched_in_child(run)
        recovery_s.append(time.monotonic() - begun)
        if ended != 0 or remains(run) != whole:
            different.append(name)
    record_property("strikes", len(recovery_s))
    record_property("recovery_s_mean", sum(recovery_s) / len(recovery_s))
    record_property("recovery_s_max", max(recovery_s))
    assert not different


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_search_killed_twenty_times_at_random_ends_the_same(
    tmp_path: Path, whole: Whole, seed: int
) -> None:
    draw, run = random.Random(seed), tmp_path / "run"
    kills = 0
    for _ in range(20):
        kills += searched_in_child(run, at=draw.randint(0, 40)) == KILLED
    assert kills == 20 or searched_in_child(run) == 0
    assert searched_in_child(run) == 0
    assert remains(run) == whole
