"""Ray: started quietly and closed to the outside, one Tune experiment a session, then gone."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from study.errors import BadInput, Fault
from study.tune.resources import Resources
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
        options |= {"address": address, "runtime_env": {"env_vars": _ENVIRONMENT}}
    else:
        # "local" by name: without it Ray joins whatever cluster it finds on the machine.
        options |= {"address": "local", "include_dashboard": False, "num_cpus": num_cpus}
        options["_node_ip_address"] = "127.0.0.1"
    try:
        ray.init(**options)
    except (ConnectionError, ValueError) as error:
        raise BadInput(_no_cluster(address, str(error))) from error
    try:
        available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        yield available
    finally:
        ray.shutdown()


def check_address(address: str | None) -> None:
    """Whether anything listens at ``host:port``; Ray itself would try for ten minutes.

    Raises:
        BadInput: if nothing does within 5 s.
    """
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdigit():
        return  # none, "auto", or a form that Ray resolves itself
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise BadInput(_no_cluster(address, str(error))) from error


def _no_cluster(address: str | None, why: str) -> Fault:
    way_out = "Start one with `ray start --head`, or leave --address out."
    return Fault("--address", "", f"no Ray cluster answers ({why})", way_out, address or "local")


def run_session(
    session: Session,
    function: Callable[..., None],
    payload: dict[str, Any],
    resources: Resources,
    scratch: Path,
) -> None:
    """Run trials until the session is exhausted; a fatal error is left in ``Session.error``.

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
