from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import override

from study.errors import BadInput, StudyFailed
from study.records.ledger import Ledger
from study.searchers.rungs import Place
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.record import NODE_LOST, TrialRecord
from study.tune.session import Limits, Observer, Session
from tests.toys import toy_metrics, toy_plan


class _Log(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    @override
    def trial_started(self, record: TrialRecord) -> None:
        self.lines.append(f"start {record.number}")

    @override
    def trial_promoted(self, record: TrialRecord, place: Place) -> None:
        self.lines.append(f"promoted {record.number} {place.place}/{place.of}")

    @override
    def epoch(self, record: TrialRecord) -> None:
        self.lines.append(f"epoch {record.number}.{len(record.epochs)}")

    @override
    def trial_ended(self, record: TrialRecord) -> None:
        self.lines.append(f"{record.status} {record.number}")

    @override
    def trial_lost(self, record: TrialRecord, cause: str) -> None:
        self.lines.append(f"lost {record.number}: {cause}")

    @override
    def trial_retried(self, record: TrialRecord, reason: str) -> None:
        self.lines.append(f"retried {record.number}")


def _assign(record: TrialRecord) -> Assignment:
    return Assignment(record.number, record.seed, {}, record.params)


def _message(record: TrialRecord, epoch: int) -> str:
    return json.dumps({"epoch": epoch, "metrics": toy_metrics(record.params, epoch)})


_OWN = ("event", "time", "crc32")
_FAILURE = json.dumps({"failed": "loss is nan", "cause": "diverged", "traceback": ""})


@pytest.fixture
def decisions(tmp_path: Path) -> Iterator[Decisions]:
    with Ledger(tmp_path / "ledger") as ledger:
        yield Decisions(toy_plan(num_epochs=lambda point: 2, scheduler="none"), ledger)


def _session(decisions: Decisions, log: _Log | None = None, **limits: object) -> Session:
    settings = {"num_trials": 3, "time_budget_s": None, "max_failures": 2} | limits
    observers = [log or _Log()]
    session = Session(decisions, _assign, Limits(**settings), observers)  # type: ignore[arg-type]
    session.max_concurrent = 2
    return session


def test_session_gives_out_no_more_than_fit(decisions: Decisions) -> None:
    session = _session(decisions)
    assert [session.next_assignment() is not None for _ in range(3)] == [True, True, False]
    assert not session.exhausted


def test_session_is_exhausted_once_every_trial_has_ended(decisions: Decisions) -> None:
    session = _session(decisions)
    while (assignment := session.next_assignment()) is not None:
        record = decisions.trials[assignment.number]
        assert not session.told(record.number, _message(record, 1))
        assert session.told(record.number, _message(record, 2))
        session.left(record.number)
    assert session.exhausted
    assert [record.status for record in decisions.trials] == ["finished"] * 3


def test_stopped_session_pauses_trials_and_the_next_one_takes_them_up(
    decisions: Decisions,
) -> None:
    session = _session(decisions)
    assignment = session.next_assignment()
    assert assignment is not None
    session.stop("interrupt")
    record = decisions.trials[0]
    assert session.told(0, _message(record, 1))
    session.left(0)
    assert session.exhausted
    assert record.status == "running"
    again = _session(decisions).next_assignment()
    assert again is not None
    assert (again.number, again.standings) == (0, record.standings)


def test_time_budget_stops_the_session(decisions: Decisions) -> None:
    session = _session(decisions, time_budget_s=1e-9)
    assert session.next_assignment() is None
    assert session.stopping == "time budget"
    assert session.exhausted


def test_failures_in_a_row_stop_the_study(decisions: Decisions) -> None:
    session = _session(decisions)
    for number in range(2):
        assert session.next_assignment() is not None
        assert session.told(number, _FAILURE)
        session.left(number)
    assert isinstance(session.error, StudyFailed)
    assert "loss is nan" in str(session.error)
    assert session.next_assignment() is None


def _lose(session: Session, times: int, cause: str) -> list[int | None]:
    """Give out, and let the worker die under it, so often; what was given out."""
    given = []
    for _ in range(times):
        assignment = session.next_assignment()
        given.append(assignment and assignment.number)
        session.left(0, died=cause)
    return given


def test_trial_whose_worker_died_is_given_out_again_three_times(decisions: Decisions) -> None:
    log = _Log()
    session = _session(decisions, log, max_failures=99)
    session.max_concurrent = 1
    assert _lose(session, 3, "killed") == [0, 0, 0]
    assert decisions.trials[0].status == "running"
    assert _lose(session, 1, "killed") == [0]
    assert (decisions.trials[0].status, decisions.trials[0].cause) == ("failed", "lost")
    assert log.lines == ["start 0", "lost 0: killed"] * 3 + ["start 0", "failed 0"]


def test_deaths_of_machines_never_fail_a_trial(decisions: Decisions, tmp_path: Path) -> None:
    session = _session(decisions, max_failures=99)
    session.max_concurrent = 1
    assert _lose(session, 9, NODE_LOST) == [0] * 9
    assert _lose(session, 3, "killed") == [0] * 3
    assert decisions.trials[0].status == "running"
    with Ledger(tmp_path / "copy") as ledger:  # and a resume counts as the session did
        for record in decisions.events("ask") + decisions.events("lost"):
            ledger.append(record["event"], **{k: v for k, v in record.items() if k not in _OWN})
        again = Decisions(toy_plan(num_epochs=lambda point: 2, scheduler="none"), ledger)
    assert again.trials[0].lost == decisions.trials[0].lost == 3


def test_observers_hear_what_is_on_the_ledger_in_order(decisions: Decisions) -> None:
    log = _Log()
    session = _session(decisions, log, num_trials=1)
    session.next_assignment()
    for epoch in (1, 2):
        session.told(0, _message(decisions.trials[0], epoch))
    assert log.lines == ["start 0", "epoch 0.1", "epoch 0.2", "finished 0"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metric_that_is_not_finite_fails_the_trial_with_its_name(
    decisions: Decisions, value: float
) -> None:
    session = _session(decisions)
    session.next_assignment()
    metrics = toy_metrics(decisions.trials[0].params, 1) | {"train/loss": value}
    assert session.told(0, json.dumps({"epoch": 1, "metrics": metrics}))
    record = decisions.trials[0]
    assert (record.status, record.cause) == ("failed", "diverged")
    assert record.reason == f"epoch 1: train/loss is {value}"


def test_epoch_that_is_told_again_is_not_told_to_observers(decisions: Decisions) -> None:
    """As by a trial that lost its checkpoints and trains recorded epochs once more."""
    log = _Log()
    session = _session(decisions, log)
    session.next_assignment()
    for _ in range(2):
        assert not session.told(0, _message(decisions.trials[0], 1))
    assert log.lines == ["start 0", "epoch 0.1"]
    assert len(decisions.trials[0].epochs) == 1


def test_what_an_ended_trial_still_tells_changes_nothing(decisions: Decisions) -> None:
    log = _Log()
    session = _session(decisions, log)
    session.next_assignment()
    record = decisions.trials[0]
    for epoch in (1, 2):
        session.told(0, _message(record, epoch))
    for late in (_message(record, 2), _message(record, 3), _FAILURE):
        assert session.told(0, late)
    assert log.lines == ["start 0", "epoch 0.1", "epoch 0.2", "finished 0"]
    assert record.status == "finished"
    assert (len(decisions.events("result")), decisions.events("failed")) == (2, [])


def _failing(cause: str, reason: str = "no room") -> str:
    return json.dumps({"failed": reason, "cause": cause, "traceback": ""})


def test_trial_out_of_memory_goes_on_alone_after_its_recorded_epoch(decisions: Decisions) -> None:
    log = _Log()
    session = _session(decisions, log)
    for _ in range(2):
        assert session.next_assignment() is not None
    session.told(0, _message(decisions.trials[0], 1))
    assert session.told(0, _failing("memory"))
    session.left(0)
    assert decisions.trials[0].status == "running"
    assert session.next_assignment() is None  # trial 1 is live still
    session.told(1, _message(decisions.trials[1], 1))
    session.told(1, _message(decisions.trials[1], 2))
    session.left(1)
    again = session.next_assignment()
    assert again is not None
    assert (again.number, len(again.standings)) == (0, 1)
    assert session.next_assignment() is None  # nothing beside it
    assert session.told(0, _message(decisions.trials[0], 2))
    session.left(0)
    assert session.next_assignment() is not None
    assert log.lines[3] == "retried 0"


def test_trial_out_of_memory_twice_fails_and_says_that_it_was_alone(decisions: Decisions) -> None:
    session = _session(decisions, max_failures=1)
    for _ in range(2):
        assert session.error is None
        assert session.next_assignment() is not None
        session.told(0, _failing("memory"))
        session.left(0)
    record = decisions.trials[0]
    assert (record.status, record.cause, record.retried) == ("failed", "memory", 1)
    assert record.reason == "no room (for the second time, then alone)"
    assert isinstance(session.error, StudyFailed)


def test_retry_is_on_the_ledger_and_the_next_session_keeps_to_it(tmp_path: Path) -> None:
    plan = toy_plan(num_epochs=lambda point: 2, scheduler="none")
    for sitting in range(2):
        with Ledger(tmp_path / "ledger") as ledger:
            decisions = Decisions(plan, ledger)
            session = _session(decisions)
            assert session.next_assignment() is not None
            assert (session.next_assignment() is None) == (sitting == 1)
            if sitting == 0:
                session.told(0, _failing("memory"))
                assert ledger.events("retried")[0]["cause"] == "memory"
            assert decisions.trials[0].retried == 1


def test_full_disk_pauses_and_nothing_is_recorded_after_it(decisions: Decisions) -> None:
    session = _session(decisions)
    for _ in range(2):
        session.next_assignment()
    assert session.told(0, _failing("disk", "OSError: No space left on device"))
    assert session.told(1, _message(decisions.trials[1], 1))
    session.left(0)
    session.left(1, died="killed")
    assert session.exhausted
    assert (session.stopping, session.error) == ("disk full", None)
    assert "No space left" in session.disk_full
    assert [(r.status, len(r.epochs), r.lost) for r in decisions.trials] == [("running", 0, 0)] * 2


def test_file_that_cannot_be_used_stops_the_study_and_fails_no_trial(decisions: Decisions) -> None:
    session = _session(decisions)
    session.next_assignment()
    assert session.told(0, _failing("file", "scores/00000.npz: is torn"))
    session.left(0)
    assert session.exhausted
    assert isinstance(session.error, BadInput)
    assert "trial 00000: scores/00000.npz: is torn" in str(session.error)
    assert decisions.trials[0].status == "running"


def _run(session: Session, number: int) -> None:
    """Train a trial to where it stops."""
    record = session.decisions.trials[number]
    while not session.told(number, _message(record, len(record.epochs) + 1)):
        pass
    session.left(number)


def test_session_promotes_before_it_begins_a_new_trial_and_says_so(tmp_path: Path) -> None:
    log = _Log()
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(reduction_factor=2, searcher="random"), ledger)
        session = _session(decisions, log, num_trials=4)
        session.max_concurrent = 1
        while (assignment := session.next_assignment()) is not None:
            assert assignment.standings == decisions.trials[assignment.number].standings
            _run(session, assignment.number)
        assert session.exhausted
    promoted = [line for line in log.lines if line.startswith("promoted")]
    assert promoted
    for line in promoted:
        assert log.lines[log.lines.index(line) + 1] == f"start {line.split()[1]}"


def test_session_ends_once_enough_trials_have_finished(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        decisions = Decisions(toy_plan(num_epochs=lambda point: 3), ledger)
        session = _session(decisions, num_trials=4, finish=2)
        given = [session.next_assignment() for _ in range(2)]
        while any(given):
            for assignment in filter(None, given):
                _run(session, assignment.number)
            assert session.exhausted == (
                sum(one.status == "finished" for one in decisions.trials) == 2
            )
            given = [session.next_assignment() for _ in range(2)]
        assert session.exhausted
        assert sorted(one.status for one in decisions.trials) == ["finished"] * 2 + ["pruned"] * 2
