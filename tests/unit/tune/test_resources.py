from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from study.errors import BadInput
from study.tune.resources import Machine, Resources, plan_resources

ONE_GPU = {"CPU": 16.0, "GPU": 1.0}
THREE_GPUS = {"CPU": 16.0, "GPU": 3.0}


@pytest.mark.parametrize(
    ("available", "asked", "planned"),
    [
        # Without a GPU: one CPU and one thread a trial, as many trials as there are CPUs.
        ({"CPU": 2.0}, {}, Resources(1.0, 0.0, 2)),
        ({"CPU": 8.0}, {"cpus_per_trial": 2.0}, Resources(2.0, 0.0, 4)),
        ({"CPU": 8.0}, {"max_concurrent": 3}, Resources(1.0, 0.0, 3)),
        ({"CPU": 2.0}, {"max_concurrent": 9}, Resources(1.0, 0.0, 2)),
        ({"CPU": 8.0}, {"cpus_per_trial": 0.5}, Resources(0.5, 0.0, 16)),
        ({}, {}, Resources(1.0, 0.0, 1)),
        # Up to four trials share a GPU, and the CPUs.
        (ONE_GPU, {}, Resources(4.0, 0.25, 4)),
        ({"CPU": 2.0, "GPU": 1.0}, {}, Resources(1.0, 0.25, 2)),
        (ONE_GPU, {"gpus_per_trial": 1.0}, Resources(16.0, 1.0, 1)),
        (ONE_GPU, {"gpus_per_trial": 0.1, "cpus_per_trial": 1.0}, Resources(1.0, 0.1, 10)),
        ({"CPU": 16.0, "GPU": 4.0}, {"gpus_per_trial": 2.0}, Resources(8.0, 2.0, 2)),
        # A GPU that the user does not want.
        (ONE_GPU, {"gpus_per_trial": 0.0}, Resources(1.0, 0.0, 16)),
        # The halves of three GPUs are six trials, their 0.6s only three.
        (
            {"CPU": 16.0, "GPU": 3.0},
            {"gpus_per_trial": 0.5, "cpus_per_trial": 1.0},
            Resources(1.0, 0.5, 6),
        ),
        (
            {"CPU": 16.0, "GPU": 3.0},
            {"gpus_per_trial": 0.6, "cpus_per_trial": 1.0},
            Resources(1.0, 0.6, 3),
        ),
    ],
)
def test_resources_are_what_was_asked_for_or_a_sensible_share(
    available: dict[str, float], asked: dict[str, Any], planned: Resources
) -> None:
    assert plan_resources([available], Machine(**asked)) == planned


@pytest.mark.parametrize(
    ("available", "asked", "option"),
    [
        ({"CPU": 2.0}, {"cpus_per_trial": 4.0}, "--cpus-per-trial: 4.0"),
        (ONE_GPU, {"gpus_per_trial": 2.0}, "--gpus-per-trial: 2.0"),
        ({"CPU": 2.0}, {"gpus_per_trial": 1.0}, "--gpus-per-trial: 1.0"),
        ({"CPU": 8.0, "GPU": 4.0}, {"gpus_per_trial": 1.5}, "--gpus-per-trial: 1.5: .* whole"),
    ],
)
def test_more_than_there_is_is_refused_by_the_option(
    available: dict[str, float], asked: dict[str, Any], option: str
) -> None:
    with pytest.raises(BadInput, match=option):
        plan_resources([available], Machine(**asked))


def test_each_trial_fits_one_machine_of_a_cluster() -> None:
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}]
    planned = plan_resources(nodes, Machine(cpus_per_trial=2.0))
    assert planned == Resources(2.0, 0.0, 2)  # not the three that six CPUs would be
    with pytest.raises(BadInput, match="only 3 on any one machine"):
        plan_resources(nodes, Machine(cpus_per_trial=4.0))


def test_cpus_and_gpus_on_different_machines_fit_no_trial() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 1.0, "GPU": 1.0}]
    with pytest.raises(BadInput, match="no machine has 4 CPUs and 1 GPUs"):
        plan_resources(nodes, Machine(cpus_per_trial=4.0, gpus_per_trial=1.0))


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1.0, 1), (3.0, 3), (2.5, 2)])
def test_threads_follow_the_cpus_of_a_trial(cpus: float, threads: int) -> None:
    assert Resources(cpus, 0.0, 1).threads == threads


def test_planning_resources_needs_no_ray() -> None:
    code = "import sys, study.tune.resources; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
