"""study.tune.checkpoint_budget: losers lose theirs, the best and the resumable never."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from study.records.disk import folder_bytes
from study.records.files import BASE, WEIGHTS, RunFolder
from study.tune.checkpoint_budget import CheckpointBudget, losers
from study.tune.record import TrialRecord

SIZE = 100
# (status, objectives): the best is trial 1, and trial 6 equals it.
TRIALS = (
    ("finished", (0.5, 0.4)),
    ("finished", (0.3, 0.2)),
    ("pruned", (0.6,)),
    ("failed", (0.1,)),
    ("running", (0.9,)),
    ("finished", (0.8, 0.7)),
    ("finished", (0.2, 0.9)),
    ("pruned", (0.45,)),
)


def _records() -> list[TrialRecord]:
    return [
        TrialRecord(
            number, 0, {}, [{"val/objective": value} for value in objectives], status=status
        )
        for number, (status, objectives) in enumerate(TRIALS)
    ]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Weights of every trial and of the base, and a state to resume trial 4 from."""
    run = RunFolder(tmp_path)
    for name in (*(f"{number:05d}" for number in range(len(TRIALS))), BASE):
        folder = run.trial_checkpoints(name)
        folder.mkdir(parents=True)
        (folder / WEIGHTS).write_bytes(b"x" * SIZE)
    state = run.trial_checkpoints("00004") / "epoch_0001" / "model.safetensors"
    state.parent.mkdir()
    state.write_bytes(b"x" * SIZE)
    return run


def _left(run: RunFolder) -> set[str]:
    return {path.parent.name for path in run.checkpoints.glob(f"*/{WEIGHTS}")}


def _enforce(run: RunFolder, limit: int | None) -> tuple[str, list[tuple[list[str], int]]]:
    told: list[tuple[list[str], int]] = []

    def dropped(what: str, trials: list[str], size: int) -> None:
        assert what == "weights"
        told.append((trials, size))

    return CheckpointBudget(run, limit, "best", dropped).enforce(_records()), told


def test_losers_are_the_failed_the_pruned_and_the_worst_finished_in_this_order() -> None:
    assert [record.number for record in losers(_records(), "best")] == [3, 2, 7, 5, 0]


def test_losers_by_the_last_epoch_spare_another_trial() -> None:
    assert [record.number for record in losers(_records(), "last")] == [3, 2, 7, 6, 5, 0]


def test_checkpoints_within_the_budget_are_left_alone(run: RunFolder) -> None:
    for limit in (None, 10 * SIZE):
        assert _enforce(run, limit) == ("", [])
    assert len(_left(run)) == len(TRIALS) + 1


def test_as_many_losers_lose_their_weights_as_it_takes(run: RunFolder) -> None:
    beyond, told = _enforce(run, 8 * SIZE)
    assert beyond == ""
    assert told == [(["00003", "00002"], 2 * SIZE)]
    everyone = {f"{number:05d}" for number in range(len(TRIALS))} | {BASE}
    assert everyone - _left(run) == {"00003", "00002"}


def test_best_base_and_what_resumes_stay_and_the_user_is_told(run: RunFolder) -> None:
    beyond, told = _enforce(run, SIZE)
    assert _left(run) == {"00001", "00006", "00004", BASE}
    assert (run.trial_checkpoints("00004") / "epoch_0001" / "model.safetensors").exists()
    assert told == [(["00003", "00002", "00007", "00005", "00000"], 5 * SIZE)]
    assert "checkpoints take 500 B, above tune.checkpoint_budget (100 B)" in beyond
    assert _enforce(run, SIZE)[1] == []  # nothing is told twice


def _waiting(run: RunFolder) -> None:
    """Trials 2 and 7 were stopped by a rung: each has a state to go on from."""
    for number in (2, 7):
        state = run.trial_checkpoints(f"{number:05d}") / "epoch_0001" / "model.safetensors"
        state.parent.mkdir()
        state.write_bytes(b"x" * SIZE)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (11, [("weights", ["00003"])]),
        (10, [("states", ["00002"]), ("weights", ["00003"])]),
        (9, [("states", ["00002", "00007"]), ("weights", ["00003"])]),
        (8, [("states", ["00002", "00007"]), ("weights", ["00003", "00002"])]),
    ],
)
def test_states_that_stopped_trials_would_go_on_from_go_before_their_weights(
    run: RunFolder, limit: int, expected: list[tuple[str, list[str]]]
) -> None:
    _waiting(run)
    told: list[tuple[str, list[str]]] = []
    budget = CheckpointBudget(
        run, limit * SIZE, "best", lambda what, trials, size: told.append((what, trials))
    )
    assert budget.enforce(_records()) == ""
    assert told == expected
    left = {path.parent.parent.name for path in run.checkpoints.glob("*/epoch_*/*")}
    gone = {name for what, names in expected if what == "states" for name in names}
    assert left == {"00002", "00004", "00007"} - gone


def test_stopped_trial_that_came_less_far_loses_what_it_keeps_first() -> None:
    far = TrialRecord(0, 0, {}, [{"val/objective": 0.9}] * 3, status="pruned")
    near = TrialRecord(1, 0, {}, [{"val/objective": 0.1}], status="pruned")
    assert [record.number for record in losers([far, near], "best")] == [1, 0]


def test_enforce_ended_trials_are_measured_once_and_running_ones_each_time(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def counting(folder: Path) -> int:
        measured.append(folder.name)
        return folder_bytes(folder)

    monkeypatch.setattr("study.tune.checkpoint_budget.folder_bytes", counting)
    budget = CheckpointBudget(run, 10**9, "best", lambda *_: None)
    budget.enforce(_records())
    measured.clear()
    budget.enforce(_records())
    assert set(measured) == {"00004", BASE}


def _grown(run: RunFolder, trial: str) -> tuple[CheckpointBudget, list[TrialRecord], list[str]]:
    """A budget that had room at its first look; one trial has written too much since."""
    records = _records()
    told: list[str] = []
    budget = CheckpointBudget(run, 10 * SIZE, "best", lambda _, trials, __: told.extend(trials))
    assert budget.enforce(records) == ""
    (run.trial_checkpoints(trial) / "more").write_bytes(b"x" * 9 * SIZE)
    return budget, records, told


def test_enforce_measures_a_trial_anew_once_it_has_ended(run: RunFolder) -> None:
    budget, records, told = _grown(run, "00004")
    records[4].status = "finished"
    budget.enforce(records)
    assert told


def test_enforce_measures_a_trial_anew_that_goes_on(run: RunFolder) -> None:
    budget, records, told = _grown(run, "00002")
    budget.enforce(records)
    assert told == []
    budget.goes_on(records[2])
    budget.enforce(records)
    assert told


def test_enforce_looks_no_more_at_trials_that_have_nothing_left(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    def judging(trials: Sequence[TrialRecord], rule: str) -> list[TrialRecord]:
        found = losers(trials, rule)
        judged.extend(record.number for record in found)
        return found

    monkeypatch.setattr("study.tune.checkpoint_budget.losers", judging)
    budget = CheckpointBudget(run, SIZE, "best", lambda *_: None)
    for _ in range(2):
        budget.enforce(_records())
    judged.clear()
    budget.enforce(_records())
    assert judged == []
