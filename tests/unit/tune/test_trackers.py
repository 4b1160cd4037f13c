from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from study.errors import BadInput
from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.tune import tracking
from study.tune.record import TrialRecord
from study.tune.shown import Shown
from study.tune.trackers import TrackedStudy, TrackedTrial, TrackerObserver
from study.watch.progress import Progress

BEGUN, TOLD = "2026-01-01T10:00:00+00:00", "2026-01-01T10:00:30+00:00"
METRICS = {"val/fpr95": 0.5, "val/objective": 0.5}


class _Kept:
    """A tracker that keeps what it was told; the server is gone from the n-th time on."""

    def __init__(self, gone: int = 99) -> None:
        self.told: list[TrackedTrial] = []
        self._gone = gone

    def show(self, trial: TrackedTrial) -> None:
        if len(self.told) + 1 >= self._gone:
            raise ConnectionError("no route to host\nand a page of more")
        self.told.append(trial)


def _follow(tracker: _Kept, warnings: list[str], records: Sequence[TrialRecord] = ()) -> None:
    """A session of one trial, after those on record."""
    shown = Shown(lambda record: {"train.lr": 0.1})
    observer = TrackerObserver("mlflow", lambda: tracker, shown, warnings.append)
    observer.catch_up(records)
    record = TrialRecord(7, 0, {}, begun=BEGUN)
    observer.trial_started(record)
    record.epochs.append(METRICS)
    record.told.append(TOLD)
    observer.epoch(record)
    record.status, record.reason, record.ended = "pruned", "place 3 of 3", TOLD
    observer.trial_ended(record)
    observer.close()


def test_tracker_is_told_of_a_trial_as_it_was_at_each_event() -> None:
    tracker, warnings = _Kept(), list[str]()
    _follow(tracker, warnings)
    assert [(one.status, len(one.epochs)) for one in tracker.told] == [
        ("running", 0), ("running", 1), ("pruned", 1),
    ]  # fmt: skip
    last = tracker.told[-1]
    assert (last.name, last.params, last.reason) == ("00007", {"train.lr": 0.1}, "place 3 of 3")
    assert (last.begun, list(last.times), last.ended) == (1767261600, [1767261630], 1767261630)
    assert last.numbers(1)["val/fpr95"] == 0.5
    assert warnings == []


def test_tracker_is_told_first_of_the_trials_that_ended_before_the_session() -> None:
    before = [
        TrialRecord(0, 0, {}, epochs=[METRICS], status="finished", ended=TOLD),
        TrialRecord(1, 0, {}, status="running"),
        TrialRecord(2, 0, {}, status="stopped"),
    ]
    tracker = _Kept()
    _follow(tracker, [], before)
    assert [one.name for one in tracker.told] == ["00000", "00007", "00007", "00007"]


def test_trial_that_is_live_at_the_end_of_a_session_is_paused() -> None:
    tracker = _Kept()
    observer = TrackerObserver("mlflow", lambda: tracker, Shown(lambda _: {}), [].append)
    observer.trial_started(TrialRecord(0, 0, {}, begun=BEGUN))
    observer.close()
    assert [one.status for one in tracker.told] == ["running", "paused"]


def test_tracker_that_fails_costs_one_line_and_no_trial() -> None:
    tracker, warnings = _Kept(gone=2), list[str]()
    _follow(tracker, warnings)
    assert len(tracker.told) == 1
    assert warnings == [
        "mlflow takes no more (no route to host); the run's own files are whole; "
        "--resume with --log mlflow tells the rest"
    ]


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(30)


def test_tracker_that_hangs_is_left_after_a_while() -> None:
    hangs, warnings = threading.Event(), list[str]()

    def make() -> _Kept:
        hangs.wait(30)
        raise ConnectionError("no answer")

    observer = TrackerObserver(
        "wandb", make, Shown(lambda _: {}), warnings.append, patience_s=0.05
    )
    observer.trial_started(TrialRecord(0, 0, {}, begun=BEGUN))
    observer.close()
    hangs.set()
    _join("log-wandb")
    (told,) = warnings
    assert told.startswith("wandb is behind ")


def test_study_keeps_its_key_where_its_folder_moves(tmp_path: Path) -> None:
    keys = []
    for name in ("energy", "moved"):
        with Ledger(RunFolder(tmp_path / "energy").ledger) as ledger:
            if name == "energy":
                ledger.append("started", command="run")
            study = TrackedStudy.of(RunFolder(tmp_path / name), ledger, {})
            assert study.title == name
            keys.append(study.key)
    assert keys[0] == keys[1]


def test_study_under_a_hold_out_is_titled_with_the_run_above(tmp_path: Path) -> None:
    folder = tmp_path / "energy" / "hold_out_2"
    folder.mkdir(parents=True)
    with Ledger(folder / "ledger.jsonl") as ledger:
        ledger.append("started", command="run")
        assert TrackedStudy.of(RunFolder(folder), ledger, {}).title == "energy/hold_out_2"


def test_password_of_a_server_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1/mlflow")
    monkeypatch.setattr(tracking, "TrackerObserver", lambda *_: None)
    told = io.StringIO()
    study = TrackedStudy("energy", "abc", RunFolder(tmp_path), {})
    with Progress(told, live=False, quiet=False) as progress:
        tracking.follow("mlflow", study, Shown(lambda _: {}), progress)
    assert "experiment energy in http://127.0.0.1:1/mlflow" in told.getvalue()
    assert "secret" not in told.getvalue()


def test_trackers_that_are_not_installed_are_told_with_their_extras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "is_there", lambda module: False)
    with pytest.raises(BadInput) as told:
        tracking.check_trackers(["mlflow", "wandb"])
    assert [str(one) for one in told.value.faults] == [
        f"--log: '{name}': is not installed. pip install 'ood-study[{name}]'."
        for name in ("mlflow", "wandb")
    ]
