"""A local Ray kept to itself: loopback alone, folders and token that only their owner can read.

Ray leaves one folder of logs and sockets a session and removes none, opens them to everybody, and
writes its token where others can read it. Here its folders lie in one of our own, below which
nobody else gets, and the token in the environment of its processes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault

# Ray is imported inside functions: commands that run no trial, and bad input, do not wait for it.
# Without it Ray replaces 127.0.0.1 by the machine's address and listens on all of them.
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Ray starts a worker for each core at once. Trials never get one of them: Ray Tune gives theirs
# variables of their own, for which others are started.
_WORKERS = "RAY_prestart_worker_first_driver"
# Nor is there a cluster to grow, a driver that wants its workers' output, or a dashboard, whose
# process starts all the same.
_UNUSED: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
_TOKEN, _TOKEN_FILE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
FALLBACK = "/tmp"
_OWNER = getattr(os, "getuid", lambda: 0)()  # Windows numbers no users
# A socket's path has at most 107 bytes; below this folder Ray adds a session's name and its own.
_LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")


@contextmanager
def kept_local() -> Iterator[Path]:
    """Around a local Ray: its folder of sessions, which are swept after it.

    Of its processes those do not start that no study uses: two to three CPU seconds of each start
    on two cores.

    Raises:
        BadInput: where no folder can hold its sockets.
    """
    from ray._private import parameter, ray_constants, services, utils

    sessions = sessions_folder()
    sweep_sessions(sessions)
    told = {_CLUSTERS: "0", _WORKERS: "0"}
    if _TOKEN not in os.environ and _TOKEN_FILE not in os.environ:
        told[_TOKEN] = _token()
    try:
        Path.home()
    except RuntimeError:  # a user without a name, as in a container; Ray asks all the same
        told["HOME"] = str(sessions.parent)
    os.environ.update(told)  # for Ray's own processes
    before = ray_constants.ENABLE_RAY_CLUSTER, utils.set_sigterm_handler
    started = parameter.RayParams, services.start_api_server
    parameter.RayParams = partial(started[0], **_UNUSED)  # type: ignore[misc, assignment]
    services.start_api_server = lambda *_, **__: (None, None)  # as where it does not come up
    ray_constants.ENABLE_RAY_CLUSTER = False
    utils.set_sigterm_handler = lambda _handler: None  # one handler is ours: study.ending
    try:
        yield sessions
    finally:
        parameter.RayParams, services.start_api_server = started  # type: ignore[misc]
        ray_constants.ENABLE_RAY_CLUSTER, utils.set_sigterm_handler = before
        for name in told:
            os.environ.pop(name, None)
        sweep_sessions(sessions)


@cache
def _token() -> str:
    """One a process: Ray keeps the first that it was given."""
    return secrets.token_hex(32)


def sessions_folder() -> Path:
    """Where local sessions keep sockets and logs; only its owner can read what lies in it.

    The first of RAY_TMPDIR, the system's folder for temporary files (TMPDIR) and /tmp whose path
    is short and plain enough for sockets, and that can be written.

    Raises:
        BadInput: where there is none.
    """
    named = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"), _temporary(), FALLBACK]
    wrong: dict[str, str] = {}
    for root in (one for one in named if one):
        folder = Path(root).absolute() / f"ood-ray-{_OWNER}" / "r"
        if not (why := _unfit(folder) or _made(folder.parent)):
            return folder
        wrong[root] = why
    told = "; ".join(f"{root} {why}" for root, why in wrong.items())
    rule = f"no folder for temporary files can hold Ray's sockets ({told})"
    way_out = "Set RAY_TMPDIR to a folder with a short, plain name that can be written."
    raise BadInput(Fault("Ray", "", rule, way_out))


def _temporary() -> str | None:
    with suppress(OSError):  # none that can be written
        return tempfile.gettempdir()
    return None


def _unfit(folder: Path) -> str:
    if not str(folder).isascii():
        return "has characters beyond ASCII in its name"
    too_long = len(str(folder)) - _LONGEST
    return f"has {too_long} characters too many in its name" if too_long > 0 else ""


def _made(folder: Path) -> str:
    """Make a folder that is its owner's alone; why not, where that fails."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != _OWNER:
            return "holds somebody else's folder of this name"
        folder.chmod(0o700)
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written"


def sweep_sessions(sessions: Path) -> int:
    """Remove the sessions whose process is gone, or is this one with Ray shut down.

    Args:
        sessions: see `sessions_folder`; all that lies there is ours.

    Returns:
        How many were removed.
    """
    import ray

    removed = 0
    for folder in sessions.glob("session_*_*"):
        pid = _driver(folder)
        ours_is_down = pid == os.getpid() and not ray.is_initialized()
        if folder.is_symlink() or not (ours_is_down or _is_gone(pid)):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed


def _driver(folder: Path) -> int:
    """The process that began a session: its folder's name ends with it."""
    last = folder.name.rpartition("_")[2]
    return int(last) if last.isdigit() else -1


def _is_gone(pid: int) -> bool:
    import psutil  # signal 0, the usual question, ends a process on Windows

    return pid > 0 and not psutil.pid_exists(pid)
