"""study.scoring.path: which points of a path are scored, and when."""

import pytest

from study.scoring.path import ALPHAS, HALVINGS, PathPlan, where_it_leaves


def test_every_epoch_is_scored_where_none_are_named() -> None:
    assert PathPlan().scored_at(1, 3) == PathPlan().scored_at(3, 3) == ALPHAS


def test_named_epochs_and_the_last_are_scored() -> None:
    plan = PathPlan((0.5,), epochs=frozenset({2, 8}))
    scored = {epoch: plan.scored_at(epoch, 5) for epoch in range(1, 6)}
    assert scored == {1: (), 2: (0.5,), 3: (), 4: (), 5: (0.5,)}


def test_path_that_costs_little_is_scored_at_every_epoch() -> None:
    told = {"trained": 135_000, "validated": 7_000, "rungs": frozenset({1, 3})}
    assert PathPlan.within_cost(ALPHAS, HALVINGS, **told).epochs is None
    assert PathPlan.within_cost(ALPHAS, HALVINGS, **told | {"trained": 12_000}).epochs == {1, 3}


@pytest.mark.parametrize(
    ("states", "alpha"),
    [
        ([(0.0, True), (0.5, True), (1.0, False)], 0.75),
        ([(1.0, False), (0.0, True), (0.5, False)], 0.25),
        ([(0.0, True), (0.5, False), (0.75, True), (1.0, False)], 0.875),
        ([(0.0, True), (0.5, False), (1.0, True)], None),
        ([(0.0, False), (0.5, False), (1.0, False)], None),
    ],
    ids=["behind the middle", "before it", "after the last that passes", "never", "all under it"],
)
def test_gap_where_a_path_leaves_the_floor_is_halved(states, alpha) -> None:
    assert where_it_leaves(states) == alpha


def test_passes_of_an_epoch_count_every_halving() -> None:
    plan = PathPlan((0.25, 0.5), 3, frozenset({2}))
    assert [plan.most_passes(epoch, 3) for epoch in (1, 2, 3)] == [0, 5, 5]
