from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.statistics.surrogate import enough_trials, is_category, space_of
from tests.fake_run import Fake, make_run


@pytest.mark.parametrize(("num_parameters", "trials"), [(1, 30), (3, 30), (4, 40), (7, 70)])
def test_ten_trials_a_parameter_are_enough_and_thirty_the_least(
    num_parameters: int, trials: int
) -> None:
    assert enough_trials(num_parameters) == trials


def test_trials_are_compared_at_the_latest_epoch_that_most_reached(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",) * 3 + ("pruned",) * 10, num_id=30))
    study = analysis.load(tmp_path)
    space = space_of(study, "val/fpr95")
    assert (space.epoch, len(space.trial_id)) == (2, 13)
    early = study.epochs[study.epochs["epoch"] <= 2].sort_values("val/objective", kind="stable")
    best = early.drop_duplicates("trial_id").set_index("trial_id")["val/fpr95"]
    assert space.target.tolist() == best[list(space.trial_id)].tolist()


@pytest.mark.parametrize(
    ("values", "category"),
    [
        ([64, 128, 256, 64, 512, 1024], True),  # five numbers
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False),
        ([True, False, True], True),
        (["huber", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], True),  # one text among many numbers
        ([None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False),  # a parameter that a trial did not have
    ],
)
def test_few_numbers_and_any_text_are_levels(values: list[object], category: bool) -> None:
    assert is_category(pd.Series(values, dtype=object)) is category
