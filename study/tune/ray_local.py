"""A local Ray kept to itself: it listens on loopback alone, and its folders do not pile up.

Ray leaves one folder of logs and sockets a session under its temporary folder and removes none.
Only those of sessions that this project began are touched: they carry a mark.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Ray is imported inside functions: commands that run no trial, and bad input, do not wait for it.
_MARK = "ood_study"
# Without it Ray replaces 127.0.0.1 by the machine's address and listens on all of them.
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def kept_local(address: str | None) -> Iterator[None]:
    """Around ``ray_running``: where ``address`` is None, Ray stays on loopback and is swept up."""
    if address is not None:
        yield
        return
    from ray._private import ray_constants

    os.environ[_CLUSTERS] = "0"  # for Ray's own processes
    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(_CLUSTERS, None)
        sweep_sessions()


def mark_session() -> None:
    """Mark the folder of the running local Ray as ours; a cluster's is not."""
    from ray._private import worker

    node: Any = worker._global_node
    folder = None if node is None else Path(node.get_session_dir_path())
    if folder is not None and _driver(folder) == os.getpid():
        (folder / _MARK).touch()


def sweep_sessions(root: Path | None = None) -> int:
    """Remove the marked folders whose driver is gone, or is this process with Ray shut down.

    Args:
        root: the folder of sessions; None for Ray's own.

    Returns:
        How many were removed.
    """
    import ray
    from ray._common.utils import get_default_ray_temp_dir

    root = root or Path(get_default_ray_temp_dir())  # type: ignore[no-untyped-call]
    removed = 0
    for mark in root.glob(f"session_*/{_MARK}"):
        folder, pid = mark.parent, _driver(mark.parent)
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
