from __future__ import annotations

import pytest
from replay.measures import best_there_is, interval
from replay.rivals import RIVALS
from replay.searching import Found, ProjectSearch, replayed
from replay.table import table_of
from replay.truth import Truth
from replay.ways import PATH, Way

from tests.fake_table import BASE_FPR95, EPOCHS, fake_rows, fake_space


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(table_of(fake_rows(), fake_space()))


def _found(truth: Truth, way: str, *, trials: int = 6, at_a_time: int = 1) -> Found:
    rival = RIVALS.get(way)
    begin, judged = (rival.begin, rival.way) if rival else (ProjectSearch, Way.read(way))
    return replayed(begin, truth, judged, 0, trials, at_a_time)


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_replayed_without_a_scheduler_trains_every_trial_to_its_end(truth, at_a_time) -> None:
    found = _found(truth, "random", at_a_time=at_a_time)

    assert (found.epochs, found.finished) == (6 * EPOCHS, 6)
    assert found.selected
    assert found.fpr95 < BASE_FPR95


def test_replayed_twice_finds_the_same(truth) -> None:
    assert _found(truth, "tpe asha", at_a_time=2) == _found(truth, "tpe asha", at_a_time=2)


def test_replayed_with_asha_trains_fewer_epochs(truth) -> None:
    assert _found(truth, "random asha").epochs < 6 * EPOCHS


def test_replayed_with_the_path_always_chooses(truth) -> None:
    assert _found(truth, "random path", trials=1).selected


@pytest.mark.parametrize("name", ["optuna", "optuna, constrained"])
def test_replayed_rival_ends_all_its_trials(truth, name) -> None:
    found = _found(truth, name, at_a_time=2)

    assert 6 <= found.epochs <= 6 * EPOCHS
    assert found.finished >= 1


def test_best_there_is_lies_on_the_floor_and_lower_with_the_path(truth) -> None:
    alone, path = best_there_is(truth, Way()), best_there_is(truth, Way(alphas=PATH))

    # accuracy .8 - .1 s^2 meets .79 at s = .316, where FPR95 is .7 - .5 s
    assert alone == pytest.approx(0.7 - 0.5 * 0.1**0.5, abs=0.02)
    assert path <= alone + 0.01


def test_interval_of_equal_values_is_their_value() -> None:
    told = interval([0.1] * 5)

    assert (told.mean, told.low, told.high) == pytest.approx((0.1, 0.1, 0.1))
    assert told.points() == "+10.0 [+10.0, +10.0]"
