from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).with_name("ray")


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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A head on loopback that wants a token: its address, and the home of its user."""
    if not RAY.exists():
        pytest.skip("the ray command is not beside this Python")
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a" * 64)
    sockets = Path("/tmp") / f"ood-ray-{os.getpid()}"
    port = _free_port()
    head = ["start", "--head", "--port", str(port), "--node-ip-address", "127.0.0.1"]
    head += ["--num-cpus", "2", "--include-dashboard=false", "--temp-dir", str(sockets), "--block"]
    log = (home / "head.log").open("w")
    process = subprocess.Popen(
        [str(RAY), *head],
        env=_environment(home, RAY_AUTH_MODE="token"),
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(port, process)
        yield f"127.0.0.1:{port}", home
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(sockets, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    import time

    for _ in range(600):
        assert process.poll() is None, "the head ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the head does not listen")


def test_study_runs_on_a_cluster_by_its_address(cluster: tuple[str, Path]) -> None:
    address, home = cluster
    out = home / "run"
    done = _run(
        *("--space", "energy", "--data", "demo", "--smoke", "--out", str(out)),
        *(
            "--set",
            "base.epochs=1",
            "--set",
            "base.warmup_epochs=0",
            "--num-trials",
            "2",
            "--address",
            address,
            "--quiet",
        ),
        **_environment(home),
    )
    assert done.returncode == 0, done.stderr
    ledger = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    finished = [line for line in ledger if line.get("decision") in {"finished", "pruned"}]
    assert len(finished) == 2


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
        *("--address", address, "--cpus-per-trial", "3"),
        **_environment(home),
    )
    assert done.returncode == 2
    assert "--cpus-per-trial" in done.stderr
    assert "only 2" in done.stderr
