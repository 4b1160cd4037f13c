"""benchmarks/paths.py: six trials at a time, chosen by one half and told by the other."""

from __future__ import annotations

import pandas as pd
import pytest
from paths import chosen, judged, sixes

Row = dict[str, float]


def _state(trial: int, alpha: float, accuracy: float, fpr95: float, epoch: int = 4) -> Row:
    """A state whose half b lies a point of FPR95 above, and of accuracy under, its half a."""
    a = {"accuracy_a": accuracy, "fpr95_a": fpr95}
    b = {"accuracy_b": accuracy - 0.01, "fpr95_b": fpr95 + 0.01}
    return {"trial": trial, "epoch": epoch, "alpha": alpha, **a, **b}


def _table(num: int = 6) -> pd.DataFrame:
    """Trials that detect better the later they come, all under the floor but half way back."""
    rows = [_state(-1, 0.0, 0.9, 0.7, epoch=0)]
    for trial in range(num):
        rows += [_state(trial, 1.0, 0.5, 0.1, epoch=1)]
        rows += [_state(trial, 0.5, 0.895, 0.6 - trial / 100), _state(trial, 1.0, 0.8, 0.2)]
    return pd.DataFrame(rows)


def test_judged_with_the_path_is_what_half_b_says_of_its_choice() -> None:
    (row,) = judged(_table()).to_dict("records")

    assert row["base"] == pytest.approx(0.71)
    assert row["without"] == pytest.approx(0.71)  # all trials lie under the floor as trained
    assert row["with"] == pytest.approx(0.56)
    assert row["lost_with"] == pytest.approx(0.005)


def test_sixes_that_are_not_whole_or_have_failed_are_left_out() -> None:
    failed = pd.DataFrame([{"trial": 13}])

    parts = list(sixes(pd.concat([_table(13), failed])))

    assert [sorted(one["trial"].unique()) for one in parts] == [
        [-1, *range(6)],
        [-1, *range(6, 12)],
    ]


def test_chosen_of_equals_is_the_one_nearest_to_what_was_trained() -> None:
    states = pd.DataFrame([_state(-1, 0.0, 0.9, 0.7), _state(0, 0.2, 0.9, 0.7)])

    assert chosen(states)["alpha"] == 0.2
