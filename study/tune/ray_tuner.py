"""Ray: started quietly and closed to the outside, one Tune experiment a session, then gone."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from study.tune.session import INTERRUPT, Session

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a slow goodbye must not fail the next trial
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Ray's state is scratch
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_SLACK = 1_000_000  # the searcher says when it is enough, not Ray's sample count


@dataclass(frozen=True)
class Resources:
    """What each trial gets, and how many run at once.

    Attributes:
        cpus: CPUs of a trial; its threads are this many, at least one.
        gpus: share of a GPU, 0 for none. Ray schedules by it; memory is not isolated.
        max_concurrent: trials at a time.
    """

    cpus: float
    gpus: float
    max_concurrent: int

    @property
    def threads(self) -> int:
        """CPU threads of a trial."""
        return max(1, int(self.cpus))


@contextmanager
def ray_running(address: str | None, num_cpus: int | None = None) -> Iterator[dict[str, float]]:
    """Ray, local or at ``address``; gives the cluster's resources and shuts down after.

    A local Ray binds to loopback, has no dashboard and sends no usage statistics; token
    authentication stays as Ray's default has it. Workers' output is not echoed: what matters of
    it (failures) comes through the trials' own messages.
    """
    os.environ.update(_ENVIRONMENT)
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        options["address"] = address
        options["runtime_env"] = {"env_vars": _ENVIRONMENT}
    else:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        options["num_cpus"] = num_cpus
    ray.init(**options)
    try:
        available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield available
    finally:
        ray.shutdown()


def plan_resources(
    available: dict[str, float],
    *,
    cpus: float | None,
    gpus: float | None,
    max_concurrent: int | None,
) -> Resources:
    """What a trial gets where the user leaves it open.

    With GPUs, ``gpus=None`` lets up to four trials share one: small networks leave most of it
    idle. Without, a trial gets one CPU, since two single-threaded trials train more images per
    second than one with two threads.
    """
    num_gpus, num_cpus = available.get("GPU", 0.0), available.get("CPU", 1.0)
    if gpus is None:
        gpus = 0.25 if num_gpus else 0.0
    if cpus is None:
        cpus = max(1.0, num_cpus // (num_gpus / gpus)) if gpus else 1.0
    fit = int(num_cpus // cpus)
    if gpus:
        fit = min(fit, int(num_gpus / gpus + 1e-9))
    return Resources(cpus, gpus, max(1, min(fit, max_concurrent or fit)))


def run_session(
    session: Session,
    function: Callable[..., None],
    payload: dict[str, Any],
    resources: Resources,
    scratch: Path,
) -> None:
    """Run trials until the session is exhausted; raise its fatal error, if any.

    Args:
        session: gives out assignments and takes what trials tell.
        function: ``function(config, **payload)``, run in a worker.
        payload: put into the object store once; arrays in it reach the workers uncopied.
        resources: of one trial.
        scratch: absolute folder for Ray's own files; removed afterwards.
    """
    from ray import tune

    from study.tune.ray_adapters import LedgerScheduler, LedgerSearcher

    wrapped = tune.with_parameters(function, **payload) if payload else function
    tuner = tune.Tuner(
        tune.with_resources(wrapped, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=LedgerSearcher(session),
            scheduler=LedgerScheduler(session),
            num_samples=_SLACK,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(storage_path=str(scratch), name="session", verbose=0),
    )
    try:
        with _pausing_on_interrupt(session):
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if session.error is not None:
        raise session.error


@contextmanager
def _pausing_on_interrupt(session: Session) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) pauses trials at their next epoch, the second ends at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if session.stopping == INTERRUPT:
            raise KeyboardInterrupt
        session.stop(INTERRUPT)

    before = {kind: signal.signal(kind, handle) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
