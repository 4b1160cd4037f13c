"""What tests share: the development data where it is there, a local Ray, calm Hypothesis."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, event

PROJECT = Path(__file__).resolve().parents[1]

# A shared two-core machine is at times slow for reasons that no test is about.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Tests kill processes and no machine, so nothing in them waits until it is on the disk."""

    def unsync(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", unsync)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield
    event.remove(Engine, "connect", unsync)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that the tests belong to."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the checkout; the test is skipped where it is not."""
    path = PROJECT.parent / "shared" / "data"
    if not (path / "cifar10" / "train.parquet").is_file():
        pytest.skip("the development data (../shared/data beside the checkout) is not here")
    return path


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One Ray for the whole test run: two CPUs, loopback only, no dashboard, nothing sent home."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # With reused actors a slow exit after STOP otherwise fails the next trial.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "60"
    import ray

    ray.init(
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        # Workers are started elsewhere than in the checkout, which need not be installed.
        runtime_env={"env_vars": {"PYTHONPATH": str(PROJECT)}},
    )
    yield
    ray.shutdown()
