from __future__ import annotations

from pathlib import Path

import pytest

from study.training.assignment import Assignment
from study.training.loop import Goal
from study.training.starting import Starting
from study.training.trial import TrialSetting
from study.tune.gpu_share import Together, probe, trials_per_gpu
from tests.toys import toy_data, train_section

GIB = 2**30


@pytest.mark.parametrize(
    ("speeds", "memory", "expected"),
    [
        ((100, 190, 350), (2, 4, 8), 4),
        ((100, 190, 200), (2, 4, 8), 2),  # a twentieth more is not worth it
        ((100, 104, 108), (2, 4, 8), 1),
        ((100, 105, 130), (2, 4, 8), 4),  # against the best smaller one, not the one before
        ((100, 190, 350), (2, 4, 15), 2),  # nine tenths of 16 GiB are 14.4
        ((100, 190, 0), (2, 4, 0), 2),  # one of four ran out of memory
        ((100, 0, 0), (2, 0, 0), 1),
        ((0, 0, 0), (0, 0, 0), 1),
        ((100,), (2,), 1),  # the processes did not answer
        ((), (), 1),
    ],
)
def test_trials_share_a_gpu_where_they_fit_and_train_more_together(
    speeds: tuple[float, ...], memory: tuple[int, ...], expected: int
) -> None:
    measured = [
        Together(trials, speed, size * GIB)
        for trials, speed, size in zip((1, 2, 4), speeds, memory, strict=False)
    ]
    assert trials_per_gpu(measured, 16 * GIB) == expected


@pytest.mark.slow  # a process that loads torch
def test_probe_whose_trial_cannot_train_ends_at_once_with_nothing(tmp_path: Path) -> None:
    goal = Goal("val/fpr95", None)
    setting = TrialSetting("baselines", toy_data(), Starting(), tmp_path, goal, "best", 1, "cpu")
    trial = Assignment(0, 0, {"backbone": "resnet20", "dropout": 0.0}, {"detector": "energy"})
    assert probe(setting, trial, together=(1,), seconds=0.5) == []


@pytest.mark.slow  # three processes that load torch
def test_probe_measures_trials_alone_and_together_and_writes_nothing(tmp_path: Path) -> None:
    goal = Goal("val/fpr95", None)
    setting = TrialSetting("energy", toy_data(), Starting(), tmp_path, goal, "best", 1, "cpu")
    trial = Assignment(0, 0, {"backbone": "resnet20", "dropout": 0.0}, train_section("energy"))
    found = probe(setting, trial, together=(1, 3), seconds=0.5)
    assert [one.trials for one in found] == [1, 3]
    assert all(one.images_per_s > 0 for one in found)
    assert list(tmp_path.iterdir()) == []
