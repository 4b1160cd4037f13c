"""What Ray says of the end of a worker, and what a study makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from study.records.ledger import Ledger
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.ray_adapters import LedgerScheduler
from study.tune.record import NODE_LOST
from study.tune.session import Limits, Session
from tests.toys import toy_plan

_HEAD = "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Ledger(tmp_path / "ledger") as ledger:
        one = Session(
            Decisions(toy_plan(scheduler="none"), ledger),
            lambda record: Assignment(record.number, record.seed, {}, record.params),
            Limits(3, time_budget_s=None, max_failures=9),
            [],
        )
        one.next_assignment()
        yield one


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ("The actor is dead because its worker process has died.", "its process ended"),
        ("The actor died because its node has died. Node Id: 7fac", NODE_LOST),
        ("The actor is dead because its owner has died. Owner's node has crashed.", NODE_LOST),
        (
            "The actor 34 is unavailable: The actor is temporarily unavailable: RpcError: RPC "
            "error: Socket closed rpc_code: 14.",
            NODE_LOST,
        ),
    ],
)
def test_death_of_a_worker_is_told_from_that_of_its_machine(
    session: Session, tmp_path: Path, told: str, cause: str
) -> None:
    (tmp_path / "error").write_text(_HEAD + told)
    trial = SimpleNamespace(
        trial_id="a", config={"assignment": {"number": 0}}, error_file=tmp_path / "error"
    )
    LedgerScheduler(session).on_trial_error(None, trial)
    (lost,) = session.decisions.events("lost")
    assert lost["cause"].startswith(cause)
    assert session.decisions.trials[0].lost == (cause != NODE_LOST)
