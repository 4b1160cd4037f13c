from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from study.errors import BadInput
from study.records.files import RunFolder
from study.tune import tracking
from study.tune.shown import Shown
from study.tune.trackers import TrackedStudy, TrackedTrial
from study.tune.wandb_tracker import WandbTracker

pytest.importorskip("wandb", reason="needs the extra wandb")
pytestmark = pytest.mark.slow  # its service takes seconds to start

TRIAL = TrackedTrial(
    name="00003",
    params={"train.m_in.sd": 2.0},
    epochs=(),
    times=(),
    status="running",
    reason="",
    begun=1767261600.0,
    ended=None,
    shown=Shown(lambda _: {}),
)


def _after(epochs: int, **more: Any) -> TrackedTrial:
    values = [{"val/fpr95": 0.1 * n, "val/objective": 0.1 * n} for n in range(1, epochs + 1)]
    return replace(TRIAL, epochs=values, times=[0.0] * epochs, **more)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedStudy:
    for name in ("WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "run").mkdir()
    return TrackedStudy("energy", "abc", RunFolder(tmp_path / "run"), {"base": 0.7})


def _blocks(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, after seven bytes of W&B's own."""
    place, whole = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield whole
            whole = b""


def _told(study: TrackedStudy) -> list[dict[str, Any]]:
    """What each run's file says."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = []
    for file in sorted(study.run.path.glob("wandb/offline-run-*/*.wandb")):
        run: dict[str, Any] = defaultdict(dict) | {"history": []}
        for block in _blocks(file.read_bytes()):
            record = Record.FromString(block)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run |= {"name": record.run.display_name, "group": record.run.run_group}
                run |= {"project": record.run.project, "id": record.run.run_id}
                run["config"] |= {
                    one.key: json.loads(one.value_json) for one in record.run.config.update
                }
            elif kind == "history":
                items = record.history.item
                run["history"].append(
                    {"/".join(one.nested_key) or one.key: json.loads(one.value_json)
                     for one in items}
                )  # fmt: skip
            elif kind == "summary":
                run["summary"] |= {
                    one.key or "/".join(one.nested_key): json.loads(one.value_json)
                    for one in record.summary.update
                }
            elif kind == "exit":
                run["exit"] = record.exit.exit_code
        found.append(run)
    return found


def test_trial_is_a_run_of_the_studys_group_with_its_numbers(study: TrackedStudy) -> None:
    tracker = WandbTracker(study)
    tracker.show(TRIAL)
    tracker.show(_after(1))
    tracker.show(_after(2))
    tracker.show(_after(2, status="failed", reason="loss is nan", ended=1767261700.0))
    (run,) = _told(study)
    assert (run["name"], run["group"], run["project"]) == ("00003", "energy", "ood-study")
    assert run["config"]["train.m_in.sd"] == 2.0
    assert run["config"]["study"] == {"base": 0.7}
    assert [(one["epoch"], one["val/fpr95"]) for one in run["history"]] == [(1, 0.1), (2, 0.2)]
    assert run["summary"]["Status"] == "failed"
    assert run["summary"]["Reason"] == "loss is nan"
    assert run["history"][-1]["checkpoint/val/fpr95"] == 0.1
    assert run["exit"] == 1


def test_resumed_trial_has_one_file_with_every_epoch_once(study: TrackedStudy) -> None:
    tracker = WandbTracker(study)
    tracker.show(_after(1))
    tracker.show(_after(1, status="paused"))
    tracker = WandbTracker(study)
    tracker.show(_after(1))
    tracker.show(_after(2, status="finished", ended=1767261700.0))
    (run,) = _told(study)
    assert [one["epoch"] for one in run["history"]] == [1, 2]
    assert run["summary"]["Status"] == "finished"


def test_trial_that_ended_is_not_told_again_in_the_next_session(study: TrackedStudy) -> None:
    ended = _after(1, status="finished", ended=1767261700.0)
    WandbTracker(study).show(ended)
    (before,) = study.run.path.glob("wandb/offline-run-*")
    WandbTracker(study).show(ended)
    assert list(study.run.path.glob("wandb/offline-run-*")) == [before]


def _no_server(**_: object) -> NoReturn:
    from wandb.errors import AuthenticationError

    raise AuthenticationError("no route\nand more")


def test_server_without_a_key_is_told_before_anything_starts(
    study: TrackedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    try:
        with pytest.raises(BadInput, match="'wandb': has no key for its server"):
            tracking.check_trackers(["wandb"])
        monkeypatch.setattr(wandb, "login", _no_server)
        with pytest.raises(BadInput, match=r"'wandb': is not let in by its server \(no route\)"):
            tracking.check_trackers(["wandb"])
    finally:
        wandb.teardown()
