from __future__ import annotations

import numpy as np
import pytest
from replay.truth import States
from replay.ways import PATH, Judged, Way, could_hold

from study.scoring.objective import SHORTFALL, objective
from study.scoring.path import HALVINGS


def _states(accuracy: list[float], fpr95: list[float], error: float = 0.01) -> States:
    told = np.array([accuracy])
    return States(told, np.array([fpr95]), np.full_like(told, error))


def _judged(margin: list[float], metric: list[float]) -> Judged:
    return Judged(np.array([margin]), np.array([metric]), np.array([metric]))


def test_read_way_takes_every_setting() -> None:
    way = Way.read("gp asha grace=2 reduction=4 penalty=0.2 confidence=0.9 path")

    assert way == Way("gp", "asha", 2, 4, 0, 0.2, 0.9, PATH, HALVINGS)


def test_read_way_with_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="no setting graze"):
        Way.read("tpe graze=2")


def test_judged_under_the_floor_is_a_step_without_a_penalty() -> None:
    judged = Way().judged(_states([0.80, 0.77], [0.5, 0.2]), base_accuracy=0.80)

    assert judged.passes.tolist() == [[True, False]]
    assert judged.objective[0] == pytest.approx([0.5, 1.02])


def test_judged_with_a_penalty_has_no_cliff() -> None:
    judged = Way(penalty=0.1).judged(_states([0.80, 0.77], [0.5, 0.2]), base_accuracy=0.80)

    assert judged.objective[0] == pytest.approx([0.5, 0.2 + 0.1 * 2])


def test_judged_with_a_confidence_asks_for_more_than_the_floor() -> None:
    states = _states([0.800, 0.805], [0.5, 0.5])

    judged = Way(confidence=0.9).judged(states, base_accuracy=0.80)

    assert judged.passes.tolist() == [[False, True]]  # 1.28 standard errors of .01 above .79


def test_best_of_what_passes_comes_before_a_lower_objective() -> None:
    judged = _judged(margin=[0.0, -0.01, 0.0], metric=[0.5, 0.1, 0.4])

    assert judged.best() == 2


def test_best_of_equals_is_the_largest_alpha() -> None:
    judged = _judged(margin=[0.0, 0.0, -0.01], metric=[0.5, 0.5, 0.1])

    assert judged.best() == 1


@pytest.mark.parametrize(
    ("tells", "told"), [("best", 0.5), ("lowest", 0.2), ("floor", 0.4)], ids=str
)
def test_told_of_a_path_that_leaves_the_floor_is_as_the_way_says(tells, told) -> None:
    judged = _judged(margin=[0.01, -0.02, -0.03], metric=[0.5, 0.2, 0.3])

    assert Way(tells=tells).told(judged) == pytest.approx([told])


def test_told_at_the_floor_of_a_path_that_never_leaves_it_is_the_best() -> None:
    judged = _judged(margin=[0.01, 0.02, 0.01], metric=[0.5, 0.2, 0.3])

    assert Way(tells="floor").told(judged) == pytest.approx([0.2])


@pytest.mark.parametrize("penalty", [None, 0.2])
def test_judged_objective_is_that_of_a_study(penalty) -> None:
    states = _states([0.80, 0.785, 0.77], [0.5, 0.3, 0.2])

    judged = Way(penalty=penalty).judged(states, base_accuracy=0.80)

    told = zip(states.fpr95[0], judged.shortfall[0], strict=True)
    of_study = [objective({"val/fpr95": f, SHORTFALL: s}, "val/fpr95", penalty) for f, s in told]
    assert judged.objective[0] == pytest.approx(of_study)


def test_could_hold_at_even_odds_is_the_floor_itself() -> None:
    states = _states([0.790, 0.789, 0.805], [0.5, 0.5, 0.5])

    assert could_hold(states, 0.80, None).tolist() == [[True, False, True]]
    assert could_hold(states, 0.80, 0.9).tolist() == [[False, False, True]]


def test_among_many_trials_each_state_is_asked_for_more() -> None:
    assert Way(confidence=0.9).among(48).confidence == pytest.approx(0.95)
    assert Way().among(48).confidence is None
