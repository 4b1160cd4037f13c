"""One truth about a trial's status: tables, Optuna's database and TensorBoard, after every end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from analysis.report.findings import failures
from analysis.study import Study
from study.errors import StudyFailed
from study.records.files import BASE, RunFolder
from study.tune.session import INTERRUPT, TIME_BUDGET, Session
from study.tune.tensorboard import STATUS
from study.watch.progress import Progress
from tests.integration.faults import Meddle, search_here, small_setup

STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "paused": TrialState.WAITING,
}


def _told_in_tables(run: RunFolder) -> dict[str, str]:
    table = pd.read_parquet(run.trials)
    return dict(zip(table["trial_id"], table["status"], strict=True))


def _told_in_database(run: RunFolder) -> dict[str, str]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows = optuna.load_study(study_name=None, storage=f"sqlite:///{run.study_db}").trials
    names = {state: name for name, state in STATES.items()}
    return {row.user_attrs["trial_id"]: names[row.state] for row in rows}


def _told_in_tensorboard(run: RunFolder) -> dict[str, str]:
    told = {}
    for folder in run.tensorboard.iterdir():
        if folder.name == BASE:
            continue
        accumulator = EventAccumulator(str(folder))
        accumulator.Reload()
        content = accumulator.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        params = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        told[folder.name] = params[STATUS].string_value
    return told


def _at(number: int, epoch: int, act: Callable[[Session], str | None]) -> Meddle:
    """``act`` once, on the message of one epoch of one trial."""

    def meddle(session: Session, told_by: int, message: str) -> str:
        if (told_by, json.loads(message).get("epoch")) == (number, epoch):
            return act(session) or message
        return message

    return meddle


def _interrupt(session: Session) -> None:
    session.stop(INTERRUPT)


def _out_of_time(session: Session) -> None:
    session.stop(TIME_BUDGET)


def _second_interrupt(session: Session) -> None:
    raise KeyboardInterrupt


def _failure(cause: str) -> Callable[[Session], str]:
    return lambda session: json.dumps({"failed": "why", "cause": cause, "traceback": "Trace"})


ENDS = {  # rungs at epochs 2 and, with the end, 3
    "done": (_at(99, 1, _interrupt), {"finished", "pruned"}),
    "failed": (_at(0, 2, _failure("bug")), {"finished", "pruned", "failed"}),
    "failures in a row": (_at(0, 1, _failure("diverged")), {"failed"}),
    "interrupt": (_at(0, 1, _interrupt), {"paused"}),
    "interrupt twice": (_at(1, 1, _second_interrupt), {"pruned", "paused"}),
    "time budget": (_at(0, 1, _out_of_time), {"paused"}),
    "full disk": (_at(1, 1, _failure("disk")), {"pruned", "paused"}),
    "damaged file": (_at(1, 1, _failure("file")), {"pruned", "paused"}),
}


@pytest.mark.parametrize("end", ENDS)
def test_status_is_the_same_everywhere_after(tmp_path: Path, end: str) -> None:
    meddle, expected = ENDS[end]
    run = RunFolder(tmp_path / "run")
    most = ["tune.max_failures=1"] if end == "failures in a row" else []
    setup = small_setup("tune.grace_epochs=2", *most)
    try:
        session = search_here(run.path, setup, meddle)
        assert (session.error is not None) == (end in ("failures in a row", "damaged file"))
        assert isinstance(session.error, StudyFailed) == (end == "failures in a row")
    except KeyboardInterrupt:
        assert end == "interrupt twice"
    statuses = _told_in_tables(run)
    assert set(statuses.values()) <= expected
    assert expected - {"pruned"} <= set(statuses.values())
    assert _told_in_database(run) == statuses
    assert _told_in_tensorboard(run) == statuses
    assert not list(run.path.rglob("*.tmp"))


def test_trial_that_was_out_of_memory_resumes_from_its_checkpoint_to_the_same_numbers(
    tmp_path: Path,
) -> None:
    whole = search_here(tmp_path / "whole", small_setup())
    struck: list[int] = []

    def once(session: Session) -> str | None:
        struck.append(1)
        return _failure("memory")(session) if len(struck) == 1 else None

    session = search_here(tmp_path / "struck", small_setup(), _at(0, 2, once))
    assert len(struck) == 2  # epoch 2 was trained again, epoch 1 was not
    timed = ("time_s", "images_per_s")
    numbers = [
        [
            [{k: v for k, v in epoch.items() if k not in timed} for epoch in record.epochs]
            for record in one.decisions.trials
        ]
        for one in (whole, session)
    ]
    assert numbers[0] == numbers[1]
    assert [record.retried for record in session.decisions.trials] == [1, 0, 0, 0]


def test_traceback_that_two_trials_share_stands_once_in_terminal_file_and_report(
    tmp_path: Path,
) -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\nKeyError: {}'

    def fail(session: Session, number: int, message: str) -> str:
        text = trace.format(number)
        return json.dumps({"failed": f"KeyError: {number}", "cause": "bug", "traceback": text})

    terminal = io.StringIO()
    with Progress(terminal, live=False, quiet=True) as progress:
        search_here(tmp_path / "run", small_setup(), fail, progress)
    run = RunFolder(tmp_path / "run")
    run.manifest.write_text("{}")
    run.spec.write_text("recipe: classifier\n")
    report = failures(Study.read(run.path))
    assert [cause["trials"] for cause in report["causes"]] == [[f"0000{n}" for n in range(4)]]
    for text in (terminal.getvalue(), run.failures.read_text(), report["text"]):
        assert text.count("in f\n") == 1
        assert "00000, 00001, 00002, 00003" in text
