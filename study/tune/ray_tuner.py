"""Ray: started quietly and closed to the outside, one Tune experiment a session, then gone."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from study import ending
from study.errors import FAILED, INTERRUPTED, BadInput, Fault
from study.plugins import VARIABLE
from study.tune.ray_local import kept_local
from study.tune.resources import Resources
from study.tune.session import INTERRUPT, Session

# Ray is imported once these are set, and only where trials run.
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
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
_LOOK_EVERY_S = 1.0
_COUNT_EVERY_S = 5.0  # a machine takes longer to join
_PATIENCE_S = 10.0
_NEEDED = ("raylet", "gcs_server")  # Ray's names of those that it does not go on without
_SLACK = 1_000_000  # the searcher says when it is enough, not Ray's sample count

AtATime = Callable[[list[dict[str, float]]], int]
"""Resources of each machine of a cluster -> trials that run on them at a time."""


@contextmanager
def ray_running(
    address: str | None, num_cpus: int | None = None
) -> Iterator[list[dict[str, float]]]:
    """Ray, local or at ``address``; gives each machine's resources and shuts down after.

    A local Ray binds to loopback, has no dashboard and sends no usage statistics; token
    authentication stays as Ray's default has it. Workers' output is not echoed: what matters of
    it (failures) comes through the trials' own messages.

    Raises:
        BadInput: where no cluster answers at ``address``, or it refuses this user's token.
    """
    if address:
        _refuse_silence(address)
        _show_token(address)
    os.environ.update(_ENVIRONMENT)
    with nullcontext() if address else kept_local() as sessions:
        yield from _connected(address, num_cpus, sessions)


def _connected(
    address: str | None, num_cpus: int | None, sessions: Path | None
) -> Iterator[list[dict[str, float]]]:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        plugins = {name: os.environ[name] for name in (VARIABLE,) if name in os.environ}
        variables = _ENVIRONMENT | plugins
        options |= {"address": address, "runtime_env": {"env_vars": variables}}
    else:
        # "local" by name: without it Ray joins whatever cluster it finds on the machine.
        options |= {"address": "local", "include_dashboard": False, "num_cpus": num_cpus}
        options |= {"_node_ip_address": "127.0.0.1", "_temp_dir": str(sessions)}
    try:
        ray.init(**options)
        ending.hear_again()  # its core takes SIGTERM, and leaves it to the system at the end
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # of every kind, where one of Ray's processes dies meanwhile
        why = str(error).partition("\n")[0] or type(error).__name__
        raise BadInput(_no_cluster(address, why, sessions)) from error
    over = threading.Event()
    threading.Thread(target=_end_with_ray, args=(over,), daemon=True).start()
    try:
        yield _alive(nodes)
    finally:
        over.set()
        ray.shutdown()
        ending.hear_again()


def _end_with_ray(over: threading.Event) -> None:
    """End the process once Ray's own are gone; its calls then wait, for minutes or for ever.

    Where the study was started by the command line it says how to go on.
    """
    from ray._private import worker

    node: Any = worker._global_node
    while not over.wait(_LOOK_EVERY_S):
        if node is None or over.is_set():
            return
        if (gone := _gone(node)) and not over.wait(_LOOK_EVERY_S):
            if ending.asked.is_set():  # a batch system tells every process of a job to end
                ending.end(INTERRUPTED, "Interrupted.")
            ending.end(FAILED, f"Ray has ended under the study ({gone}), which is paused.")


def _gone(node: Any) -> str:
    """Which of Ray's processes no longer runs or answers; empty where all do."""
    dead = [name for name, _ in node.dead_processes() if name in _NEEDED]
    if dead:
        return f"its {' and '.join(dead)} died"
    if node.head:
        return ""
    # Of a cluster nothing is our child: what still runs takes a connection.
    host, _, port = node.gcs_address.rpartition(":")
    if not _answers(lambda: socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S)):
        return "the cluster's head does not answer"
    if not _answers(lambda: _connected_to(node.raylet_socket_name)):
        return "the cluster's process on this machine died"
    return ""


def _answers(connect: Callable[[], socket.socket]) -> bool:
    for _ in range(2):  # one may be lost
        with suppress(OSError):
            connect().close()
            return True
    return False


def _connected_to(path: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_PATIENCE_S)
        one.connect(path)
        return one


def cluster_nodes(address: str) -> list[dict[str, float]]:
    """Resources of each machine of a running cluster.

    Raises:
        BadInput: where no cluster answers, or it refuses this user's token.
    """
    with ray_running(address) as nodes:
        return nodes


def _refuse_silence(address: str) -> None:
    """Refuse a ``host:port`` where nothing listens; Ray itself would try for ten minutes."""
    if address.startswith("ray://"):  # a driver elsewhere, which cannot write the run's ledger
        raise BadInput(_no_cluster(address, "a study is driven from a machine of the cluster"))
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        return  # "auto", or a form that Ray resolves itself
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:  # there are ports up to 65535
        raise BadInput(_no_cluster(address, str(error))) from error


def _show_token(address: str) -> None:
    """Let a cluster of this machine see the token that it was started with.

    Ray looks for the token by itself where it finds a cluster by itself ("auto"), but not where
    the address is spelled out. Another machine is shown no token that the user has not named.
    """
    files = [os.environ.get("RAY_AUTH_TOKEN_PATH")]
    with suppress(RuntimeError, OSError):  # a user without a home, or without a token there
        own = Path.home() / ".ray" / "auth_token"
        files.append(str(own))
        own.chmod(0o600)  # Ray makes it readable by everybody
    has_token = "RAY_AUTH_TOKEN" in os.environ or any(
        file is not None and Path(file).is_file() for file in files
    )
    if has_token and address.rpartition(":")[0] in _LOOPBACK:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _no_cluster(address: str | None, why: str, sessions: Path | None = None) -> Fault:
    if address is None:
        rule = f"Ray does not start on this machine ({why})"
        return Fault(
            "Ray", "", rule, f"Look at the free memory, and at its logs under {sessions}."
        )
    way_out = (
        "Start one with `ray start --head`, or leave --address out. If it is up and wants its "
        "token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the file with the token that "
        "it was started with (on its head, `ray get-auth-token` prints it)."
    )
    return Fault("--address", "", f"no Ray cluster lets us in ({why})", way_out, address)


def run_session(
    session: Session,
    function: Callable[..., None],
    payload: dict[str, Any],
    resources: Resources,
    scratch: Path,
    at_a_time: AtATime | None = None,
) -> None:
    """Run trials until the session is exhausted; a fatal error is left in ``Session.error``.

    Args:
        session: gives out assignments and takes what trials tell.
        function: ``function(config, **payload)``, run in a worker.
        payload: put into the object store once; arrays in it reach the workers uncopied.
        resources: of one trial.
        scratch: absolute folder for Ray's own files; removed afterwards.
        at_a_time: of a cluster, how many trials its machines run at a time; asked anew as they
            join and go. None where ``Session.max_concurrent`` stays.
    """
    from ray import tune

    from study.tune.ray_adapters import LedgerScheduler, LedgerSearcher

    shutil.rmtree(scratch, ignore_errors=True)  # of a session that was killed
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
        following = _following_machines(session, at_a_time) if at_a_time else nullcontext()
        with session.pausing_on_full_disk(), _pausing_on_interrupt(session), following:
            tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _following_machines(session: Session, at_a_time: AtATime) -> Iterator[None]:
    """As many trials at a time as fit the machines that the cluster has by now."""
    import ray

    over = threading.Event()

    def follow() -> None:
        while not over.wait(_COUNT_EVERY_S):
            with suppress(BadInput, ConnectionError, RuntimeError):  # none fits; Ray is ending
                nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
                session.max_concurrent = at_a_time(_alive(nodes))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _alive(nodes: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [node["Resources"] for node in nodes if node["Alive"]]


@contextmanager
def _pausing_on_interrupt(session: Session) -> Iterator[None]:
    """The first signal to end pauses trials at their next epoch, the second ends at once."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if session.stopping == INTERRUPT:
            raise KeyboardInterrupt
        ending.asked.set()
        session.stop(INTERRUPT)

    heard = (kind for kind in ending.SIGNALS if signal.getsignal(kind) is not signal.SIG_IGN)
    before = {kind: signal.signal(kind, handle) for kind in heard}
    try:
        yield
    finally:
        ending.asked.clear()
        for kind, handler in before.items():
            signal.signal(kind, handler)
