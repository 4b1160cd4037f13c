"""What each trial gets of a machine or a cluster, and how many run at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from study.errors import BadInput, Fault
from study.space.study_spec import StudySpec

_SHARE_OF_GPU = 0.25  # where nothing was measured: small networks leave most of a GPU idle


@dataclass(frozen=True)
class Machine:
    """Where and how a session runs; of a trial's numbers only the threads decide anything.

    Attributes:
        address: of a running Ray cluster; None starts one here.
        max_concurrent: trials at a time; None for as many as fit.
        cpus_per_trial: None decides by the machine.
        gpus_per_trial: a share of one or a whole number; None decides by the machine.
        time_budget_s: of the session; None for no limit.
    """

    address: str | None = None
    max_concurrent: int | None = None
    cpus_per_trial: float | None = None
    gpus_per_trial: float | None = None
    time_budget_s: float | None = None


def machine_of(
    spec: StudySpec,
    address: str | None,
    *,
    max_concurrent: int | None = None,
    time_budget_s: float | None = None,
) -> Machine:
    """The machine as the spec has it, but for what this session chooses anew."""
    tune = spec.tune
    return Machine(
        address=address,
        max_concurrent=max_concurrent or tune.max_concurrent,
        cpus_per_trial=tune.cpus_per_trial,
        gpus_per_trial=None if tune.gpus_per_trial == "auto" else float(tune.gpus_per_trial),
        time_budget_s=time_budget_s or tune.time_budget_s,
    )


def this_machine() -> list[dict[str, float]]:
    """CPUs and GPUs of this machine, as a cluster of one."""
    import torch  # the rest of this module serves torch-free rooms too

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [{"CPU": float(os.cpu_count() or 1), "GPU": float(gpus)}]


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


def plan_resources(nodes: Sequence[Mapping[str, float]], machine: Machine) -> Resources:
    """What a trial gets where the user leaves it open.

    With GPUs, up to four trials share one where nothing was measured (`study.tune.gpu_share`).
    Without, a trial gets one CPU, since two single-threaded trials train more images per second
    than one with two threads.

    Args:
        nodes: "CPU" and "GPU" of each machine; a trial runs on one of them.
        machine: what was asked for.

    Raises:
        BadInput: where not even one trial fits.
    """
    cpus, gpus = machine.cpus_per_trial, machine.gpus_per_trial
    num_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    if gpus is None:
        gpus = _SHARE_OF_GPU if num_gpus else 0.0
    if gpus > 1 and gpus % 1:
        rule = "above one GPU a trial takes whole ones"
        raise BadInput(Fault("--gpus-per-trial", "", rule, "Write 0.5, 1 or 2.", gpus))
    if cpus is None:
        cpus = _cpus_beside(gpus, nodes) if gpus else 1.0
    fit = sum(_fit(node, cpus, gpus) for node in nodes)
    if not fit:
        raise BadInput(_nothing_fits(nodes, cpus, gpus))
    return Resources(cpus, gpus, min(fit, machine.max_concurrent or fit))


def _cpus_beside(gpus: float, nodes: Sequence[Mapping[str, float]]) -> float:
    """CPUs of a trial so that the trials on a machine's GPUs share all its CPUs."""
    shares = [
        node.get("CPU", 1.0) // on_gpus for node in nodes if (on_gpus := _fit_gpus(node, gpus))
    ]
    return max(1.0, min(shares, default=1.0))


def _fit_gpus(node: Mapping[str, float], gpus: float) -> int:
    num_gpus = node.get("GPU", 0.0)
    if gpus < 1:  # two thirds of one GPU and one third of the next are not a trial's
        return int(num_gpus) * int(1 / gpus + 1e-9)
    return int(num_gpus // gpus)


def _fit(node: Mapping[str, float], cpus: float, gpus: float) -> int:
    on_cpus = int(node.get("CPU", 1.0) / cpus + 1e-9)
    return min(on_cpus, _fit_gpus(node, gpus)) if gpus else on_cpus


def _nothing_fits(nodes: Sequence[Mapping[str, float]], cpus: float, gpus: float) -> list[Fault]:
    most_cpus = max((node.get("CPU", 1.0) for node in nodes), default=0.0)
    most_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    wanted = {"--cpus-per-trial": (cpus, most_cpus), "--gpus-per-trial": (gpus, most_gpus)}
    where = "" if len(nodes) == 1 else " on any one machine"
    faults = [
        Fault(option, "", f"there are only {most:g}{where}", "Lower it.", asked)
        for option, (asked, most) in wanted.items()
        if asked > most
    ]
    rule = f"no machine has {cpus:g} CPUs and {gpus:g} GPUs"
    return faults or [Fault("--gpus-per-trial", "", rule, "Lower the one or the other.", gpus)]
