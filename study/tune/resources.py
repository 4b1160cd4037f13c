"""What each trial gets of a machine or a cluster, and how many run at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.errors import BadInput, Fault

_SHARE_OF_GPU = 0.25  # small networks leave most of a GPU idle


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

    @property
    def device(self) -> str:
        """Where trials train: "cuda" where they get (a share of) a GPU, else "cpu"."""
        return "cuda" if self.gpus else "cpu"


def plan_resources(
    available: Mapping[str, float],
    *,
    cpus: float | None,
    gpus: float | None,
    max_concurrent: int | None,
) -> Resources:
    """What a trial gets where the user leaves it open.

    With GPUs, ``gpus=None`` lets up to four trials share one. Without, a trial gets one CPU, since
    two single-threaded trials train more images per second than one with two threads.

    Args:
        available: "CPU" and "GPU" of the machine or cluster.
        cpus: of a trial; None decides.
        gpus: of a trial; None decides.
        max_concurrent: trials at a time; None for as many as fit.

    Raises:
        BadInput: where not even one trial fits.
    """
    num_gpus, num_cpus = available.get("GPU", 0.0), available.get("CPU", 1.0)
    if gpus is None:
        gpus = _SHARE_OF_GPU if num_gpus else 0.0
    if cpus is None:
        cpus = max(1.0, num_cpus // (num_gpus / gpus)) if gpus and num_gpus else 1.0
    fits = {"--cpus-per-trial": int(num_cpus / cpus + 1e-9)}
    if gpus:
        fits["--gpus-per-trial"] = int(num_gpus / gpus + 1e-9)
    wanted = {"--cpus-per-trial": (cpus, num_cpus), "--gpus-per-trial": (gpus, num_gpus)}
    faults = [
        Fault(option, "", f"there are only {wanted[option][1]:g}", "Lower it.", wanted[option][0])
        for option, fit in fits.items()
        if fit < 1
    ]
    if faults:
        raise BadInput(faults)
    fit = min(fits.values())
    return Resources(cpus, gpus, min(fit, max_concurrent or fit))
