"""Studies that are killed, interrupted and extended end as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import psutil
import pytest
import torch
from optuna.trial import TrialState

from study.cli import main
from study.models.weights import load_weights
from study.records.files import RunFolder
from study.records.ledger import read_ledger
from study.tune.ray_local import sessions_folder
from tests.integration.runs import NUM_TRIALS, PROJECT, Shell, decisions, new_study, num_events

pytestmark = pytest.mark.ray
KILL, INTERRUPT = signal.SIGKILL, signal.SIGINT
_TABLES = ("trials.parquet", "epochs.parquet", "states.parquet")


def _seen(run: Path, event: str, count: int) -> Callable[[], bool]:
    return lambda: num_events(run, event) >= count


def _resume(shell: Shell, name: str = "cut") -> None:
    code, out = shell.study("--resume", name, "--max-concurrent", "1")
    assert code == 0, shell.told()
    assert "Selected trial" in out


def _same_end(run: Path, whole: Path) -> None:
    """Decisions, database rows, tables (but for times), kept scores and choice."""
    assert decisions(run) == decisions(whole)
    assert _rows(run) == _rows(whole)
    for name in _TABLES:
        tables = [pd.read_parquet(one / name) for one in (run, whole)]
        timed = [column for column in ("time_s", "images_per_s", "lost") if column in tables[0]]
        pd.testing.assert_frame_equal(*(table.drop(columns=timed) for table in tables))
    for scores in sorted((whole / "scores").rglob("*.npz")):
        assert (run / scores.relative_to(whole)).read_bytes() == scores.read_bytes()
    for weights in sorted((whole / "checkpoints").glob("*/weights.safetensors")):
        other = run / weights.relative_to(whole)
        (one, about), (two, same) = load_weights(weights), load_weights(other)
        assert about == same
        assert all(torch.equal(one[name], two[name]) for name in one)
    one, two = (json.loads((run_ / "selection.json").read_text()) for run_ in (run, whole))
    assert one == two


def _rows(run: Path) -> list[tuple[object, ...]]:
    rows = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}").trials
    return [(r.number, r.state, r.params, r.values, r.intermediate_values) for r in rows]


def test_study_killed_then_interrupted_then_extended_comes_to_the_same_end(
    shell: Shell, finished: Path
) -> None:
    run = shell.folder / "cut"
    code, out = shell.stopped(new_study("cut", num_trials=2), _seen(run, "result", 1), KILL)
    assert (code, out) == (-KILL, "")
    told, before = shell.told(), num_events(run, "result")
    assert before < NUM_TRIALS
    resume = ["--resume", "cut", "--max-concurrent", "1"]
    code, out = shell.stopped(resume, _seen(run, "result", before + 1), INTERRUPT)
    assert (code, out) == (130, "")
    told = shell.told().removeprefix(told)
    assert "--resume cut" in told
    assert "Traceback" not in told
    assert num_events(run, "resumed") == 1
    assert num_events(run, "started") == 1
    table = pd.read_parquet(run / "trials.parquet")
    states = {"paused": TrialState.WAITING, "pruned": TrialState.PRUNED}
    states["finished"] = TrialState.COMPLETE
    rows = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}").trials
    assert [row.state for row in rows] == [states[status] for status in table["status"]]
    assert not (run / ".ray").exists()
    assert not RunFolder(run).selection.exists()
    code, out = shell.study("--extend", "cut", "--num-trials", "+2", "--max-concurrent", "1")
    assert code == 0, shell.told()
    assert "Selected trial" in out
    _same_end(run, finished)
    assert num_events(run, "started") == 1
    assert read_ledger(run / "ledger.jsonl")[0][-2]["event"] != "started"
    (extended,) = [r for r in read_ledger(run / "ledger.jsonl")[0] if r["event"] == "extended"]
    assert extended["num_trials"] == 4


def test_finished_study_resumes_to_the_same_words_without_new_decisions(
    shell: Shell, finished: Path, copied: Path
) -> None:
    code, out = shell.study("--resume", copied.name)
    assert code == 0, shell.told()
    _same_end(copied, finished)
    said = (finished.parent / "stdout.txt").read_text()
    assert out == said  # the folder is called the same, from where the command runs


def test_folder_without_a_study_is_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--resume", str(tmp_path)]) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert "holds no study" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "count"),
    [("started", 1), ("ask", 1), ("ask", 2), ("result", 3), ("result", 5), ("selected", 1)],
)
def test_study_killed_at_any_event_resumes_to_the_same_end(
    shell: Shell, finished: Path, event: str, count: int
) -> None:
    run = shell.folder / "cut"
    shell.stopped(new_study("cut"), _seen(run, event, count), KILL)
    _resume(shell)
    _same_end(run, finished)


@pytest.mark.slow
def test_study_killed_again_and_again_at_random_resumes_to_the_same_end(
    shell: Shell, finished: Path
) -> None:
    run = shell.folder / "cut"
    draw = random.Random(0)
    shell.stopped(new_study("cut"), _seen(run, "started", 1), KILL)
    resume = ["--resume", "cut", "--max-concurrent", "1"]
    for _ in range(20):
        lines = len(read_ledger(run / "ledger.jsonl")[0])
        at = _seen(run, "", lines + draw.randint(1, 3))  # any event
        code, _ = shell.stopped(resume, at, KILL)
        assert code in (0, -KILL), shell.told()
        if code == 0:  # it was quicker; a finished study has nothing left to kill
            break
    _resume(shell)
    _same_end(run, finished)


@pytest.mark.slow
@pytest.mark.parametrize("number", [KILL, INTERRUPT])
def test_study_stopped_in_the_training_of_its_base_resumes_to_the_same_end(
    fresh_shell: Shell, finished: Path, number: signal.Signals
) -> None:
    bases = fresh_shell.folder / "cache" / "bases"

    def one_epoch() -> bool:
        return any(bases.glob("*/epoch_0001"))

    code, _ = fresh_shell.stopped(new_study("cut"), one_epoch, number)
    assert code == (-KILL if number == KILL else 130)
    assert decisions(fresh_shell.folder / "cut") == []
    _resume(fresh_shell)
    _same_end(fresh_shell.folder / "cut", finished)


@pytest.mark.slow
def test_ledger_with_a_torn_last_line_resumes_and_says_so(shell: Shell, finished: Path) -> None:
    run = shell.folder / "cut"
    shell.stopped(new_study("cut"), _seen(run, "result", 3), KILL)
    content = (run / "ledger.jsonl").read_bytes()
    (run / "ledger.jsonl").write_bytes(content[:-20])
    _resume(shell)
    assert "torn last line" in shell.told()
    _same_end(run, finished)


@pytest.mark.slow
def test_ledger_damaged_in_the_middle_is_refused(shell: Shell, finished: Path) -> None:
    run = shell.folder / "cut"
    shell.stopped(new_study("cut"), _seen(run, "result", 3), KILL)
    content = bytearray((run / "ledger.jsonl").read_bytes())
    content[len(content) // 2] ^= 1
    (run / "ledger.jsonl").write_bytes(content)
    code, _ = shell.study("--resume", "cut")
    assert code == 2
    assert "does not match its checksum" in shell.told()
    assert (run / "ledger.jsonl").read_bytes() == content


@pytest.mark.slow
def test_second_interrupt_ends_at_once_and_the_study_resumes_to_the_same_end(
    shell: Shell, finished: Path
) -> None:
    run = shell.folder / "cut"
    process = shell.start(str(PROJECT / "run_study.py"), *new_study("cut"))
    while process.poll() is None and num_events(run, "result") < 2:
        time.sleep(0.005)
    for _ in range(2):
        os.killpg(process.pid, INTERRUPT)
        time.sleep(0.2)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume cut" in shell.told()
    assert "Traceback" not in shell.told()
    statuses = pd.read_parquet(run / "trials.parquet")["status"].tolist()
    assert "running" not in statuses
    _resume(shell)
    _same_end(run, finished)


@pytest.mark.slow
def test_study_whose_driver_alone_is_killed_resumes_beside_its_orphans(
    shell: Shell, finished: Path
) -> None:
    run = shell.folder / "cut"
    process = shell.start(str(PROJECT / "run_study.py"), *new_study("cut"))
    while process.poll() is None and num_events(run, "result") < 2:
        time.sleep(0.005)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert any(child.is_running() for child in children)
    _resume(shell)
    _same_end(run, finished)
    psutil.wait_procs(children, timeout=120)
    assert [child.pid for child in children if child.is_running()] == []
    assert list(sessions_folder().glob(f"session_*_{process.pid}")) == []


@pytest.mark.slow
def test_trial_whose_worker_is_killed_goes_on_and_the_study_ends_the_same(
    shell: Shell, finished: Path
) -> None:
    run = shell.folder / "cut"
    process = shell.start(str(PROJECT / "run_study.py"), *new_study("cut"))
    while process.poll() is None and num_events(run, "result") < 2:
        time.sleep(0.005)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "ImplicitFunc" in "".join(child.cmdline())  # Tune's name for a function's actor
    ]
    assert len(workers) == 1
    left = run / "checkpoints" / "00000" / ".weights.safetensors.1.tmp"
    left.write_bytes(b"half")  # as a worker leaves it that is killed while it writes
    workers[0].kill()
    process.communicate(timeout=300)
    assert process.returncode == 0, shell.told()
    (lost,) = [one for one in read_ledger(run / "ledger.jsonl")[0] if one["event"] == "lost"]
    assert f"trial {lost['number']:05d}: its worker died, " in shell.told()
    for noise in ("Traceback", "did not complete", "ActorDiedError"):
        assert noise not in shell.told()
        assert noise in (run / "ray.log").read_text()
    assert not list(run.rglob(".*.tmp"))
    _same_end(run, finished)


@pytest.mark.slow
def test_every_trial_of_a_finished_study_replays_to_the_same_bits(
    shell: Shell, finished: Path
) -> None:
    for number in range(NUM_TRIALS):
        code, out = shell.study("--replay", str(finished), str(number))
        assert code == 0, out + shell.told()
        assert out.startswith(f"Trial {number:05d} repeats bit for bit")
