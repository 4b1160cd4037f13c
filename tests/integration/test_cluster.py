"""A cluster by its address: its token, the fit of a trial, and GPUs that trials share."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from study.records.ledger import read_ledger
from study.tune.record import NODE_LOST
from tests.integration.runs import SMALL, num_events

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")
GPU = ("--num-gpus", "1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(home: Path, **more: str) -> dict[str, str]:
    """A user of their own, with a token that nobody else knows."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    cache = {"OOD_STUDY_CACHE": str(home / "cache"), "OOD_STUDY_STATE": str(home / "state")}
    return kept | cache | {"HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"} | more


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_study.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=environment["HOME"],
    )


@contextmanager
def _head(home: Path, *more: str) -> Iterator[str]:
    """A head on loopback that wants a token; gives its address."""
    if not RAY.exists():
        pytest.skip("the ray command is not beside this Python")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 64)
    sockets = Path("/tmp") / f"ood-ray-{os.getpid()}"
    port = _free_port()
    own = ["--port", str(port), "--include-dashboard=false", "--temp-dir", str(sockets)]
    try:
        with _machine(home, "--head", *own, *more):
            yield f"127.0.0.1:{port}"
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


@contextmanager
def _machine(home: Path, *arguments: str) -> Iterator[psutil.Process]:
    """A Ray node of two CPUs that runs, in a process that ends with it; gives that."""
    command = [str(RAY), "start", "--node-ip-address", "127.0.0.1", "--num-cpus", "2", "--block"]
    log = home / f"{len(list(home.glob('*.log')))}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, *arguments],
            env=_environment(home, RAY_AUTH_MODE="token", PYTHONPATH=str(ROOT)),
            stdout=file,
            stderr=file,
        )
        try:
            _wait_for("Ray runtime started", log, process)
            yield psutil.Process(process.pid)
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:  # a head without its GCS does not end by itself
                for one in (process, *started):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a cluster of one machine that says it has a GPU; the home of its user."""
    home = tmp_path_factory.mktemp("home")
    with _head(home, *GPU) as address:
        yield address, home


def _wait_for(line: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if line in log.read_text():
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_study_runs_on_a_cluster_by_its_address(
    cluster: tuple[str, Path], data: Path, caches: dict[str, str]
) -> None:
    address, home = cluster
    out = home / "run"
    done = _run(
        *("--space", "energy", "--data-root", str(data), "--smoke", "--out", str(out)),
        *("--num-trials", "2", "--address", address, "--gpus-per-trial", "0", "--quiet"),
        *("--set", *SMALL),
        **_environment(home, OOD_STUDY_CACHE=caches["OOD_STUDY_CACHE"]),
    )
    assert done.returncode == 0, done.stderr
    ledger = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    last = {line["number"]: line["decision"] for line in ledger if "decision" in line}
    assert sorted(last.values()) == ["finished", "pruned"]


@pytest.mark.slow  # Ray tries for 20 s
def test_cluster_with_another_token_is_refused_before_anything_is_read(
    cluster: tuple[str, Path],
) -> None:
    address, home = cluster
    done = _run(
        *("--space", "energy", "--data", "demo", "--out", str(home / "none")),
        *("--address", address),
        **_environment(home, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="b" * 64),
    )
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "none").exists()


def test_trial_larger_than_every_machine_of_the_cluster_is_refused(
    cluster: tuple[str, Path],
) -> None:
    address, home = cluster
    done = _run(
        *("--space", "energy", "--data", "demo", "--out", str(home / "none")),
        *("--address", address, "--cpus-per-trial", "3", "--gpus-per-trial", "0"),
        **_environment(home),
    )
    assert done.returncode == 2
    assert "--cpus-per-trial" in done.stderr
    assert "only 2" in done.stderr


# The driver of the next tests: six trials of half a GPU each, which train nothing.
SHARED_GPUS = """
import sys
from pathlib import Path
from study.records.ledger import Ledger
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.ray_tuner import ray_running, run_session
from study.tune.resources import Machine, plan_resources
from study.tune.session import Limits, Session
from tests.integration.workers import placed
from tests.toys import toy_plan

address, folder, patience_s = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
assign = lambda record: Assignment(record.number, record.seed, {}, record.params)
with ray_running(address) as nodes, Ledger(folder / "ledger.jsonl") as ledger:
    share = Machine(gpus_per_trial=0.5, cpus_per_trial=1)
    resources = plan_resources(nodes, share)
    at_a_time = lambda now: plan_resources(now, share).max_concurrent
    limits = Limits(6, time_budget_s=None, max_failures=9)
    session = Session(Decisions(toy_plan(scheduler="none"), ledger), assign, limits, [])
    session.max_concurrent = resources.max_concurrent
    marks, scratch = {"marks": str(folder), "patience_s": patience_s}, folder / "scratch"
    marks["together"] = int(sys.argv[4]) if sys.argv[4:] else 4
    run_session(session, placed, marks, resources, scratch, at_a_time)
    assert session.error is None and session.exhausted, session.error
    print(len(nodes), resources.max_concurrent)
"""


def test_four_trials_at_once_share_the_gpus_of_two_machines(
    cluster: tuple[str, Path], tmp_path: Path
) -> None:
    """Two Ray nodes on this machine, each told that it has a GPU: what Ray schedules is real."""
    address, home = cluster
    with _machine(home, "--address", address, *GPU):
        done = subprocess.run(
            [sys.executable, "-c", SHARED_GPUS, address, str(tmp_path), "30"],
            env=_environment(home, RAY_AUTH_MODE="token", PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "4"]
    told = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(6)]
    assert {gpu for _, gpu, _ in told} == {"0"}
    assert sorted(Counter(node for node, _, _ in told[:4]).values()) == [2, 2]
    assert all(live >= 4 for _, _, live in told)


@pytest.mark.slow  # one that takes part in a running search is waited for
def test_machine_that_joins_during_a_search_is_used(
    cluster: tuple[str, Path], tmp_path: Path
) -> None:
    address, home = cluster
    process = subprocess.Popen(
        [sys.executable, "-c", SHARED_GPUS, address, str(tmp_path), "150"],
        env=_environment(home, RAY_AUTH_MODE="token", PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(list(tmp_path.glob("*.live"))) < 2:
        time.sleep(0.05)
    with _machine(home, "--address", address, *GPU):
        out, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    assert out.split() == ["1", "2"]  # machines and trials at a time when it began
    trials = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(6)]
    assert len({node for node, _, _ in trials}) == 2
    assert all(live >= 4 for _, _, live in trials)  # they wait for one another


@pytest.mark.slow  # Ray takes its time to believe it
def test_trials_of_a_machine_that_dies_go_on_elsewhere_and_none_failed(
    cluster: tuple[str, Path], tmp_path: Path
) -> None:
    address, home = cluster
    with _machine(home, "--address", address, *GPU) as machine:
        process = subprocess.Popen(
            [sys.executable, "-c", SHARED_GPUS, address, str(tmp_path), "20", "5"],
            env=_environment(home, RAY_AUTH_MODE="token", PYTHONPATH=str(ROOT)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and len(list(tmp_path.glob("*.live"))) < 4:
            time.sleep(0.05)
        processes = [machine, *machine.children(recursive=True)]
        for how in (psutil.Process.suspend, psutil.Process.kill):  # at once: none tells of another
            for one in processes:
                how(one)
        _, told = process.communicate(timeout=240)
    assert process.returncode == 0, told
    ledger = read_ledger(tmp_path / "ledger.jsonl")[0]
    lost = [line["cause"] for line in ledger if line["event"] == "lost"]
    assert lost == [NODE_LOST, NODE_LOST]  # the two that ran there
    ended = [line for line in ledger if line.get("decision") == "finished"]
    assert sorted(line["number"] for line in ended) == list(range(6))
    assert not [line for line in ledger if line["event"] == "failed"]


@pytest.mark.slow
def test_cluster_whose_head_dies_ends_the_study_with_the_line(tmp_path: Path, data: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with _head(home) as address:
        out = home / "run"
        arguments = ["--space", "energy", "--data-root", str(data), "--smoke", "--out", "run"]
        machine = ["--address", address, "--gpus-per-trial", "0", "--quiet", "--set", *SMALL]
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_study.py"), *arguments, *machine],
            env=_environment(home, PYTHONPATH=str(ROOT)),
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and num_events(out, "result") < 1:
            time.sleep(0.05)
        port = f"--gcs_server_port={address.rpartition(':')[2]}"
        heads = [one for one in psutil.process_iter() if port in _command(one)]
        assert len(heads) == 1, process.communicate()
        heads[0].kill()
        begun = time.monotonic()
        _, told = process.communicate(timeout=120)
    assert (process.returncode, time.monotonic() - begun < 30) == (1, True), told
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    again = f"--resume run --address {address}"
    assert told.endswith(f"which is paused. To go on: python run_study.py {again}\n"), told
    assert "Traceback" not in told


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
