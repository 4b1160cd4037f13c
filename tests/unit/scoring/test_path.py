"""study.scoring.path: which points of a path are scored, and when."""

from study.scoring.path import ALPHAS, PathPlan


def test_every_epoch_is_scored_where_none_are_named() -> None:
    assert PathPlan().scored_at(1, 3) == PathPlan().scored_at(3, 3) == ALPHAS


def test_named_epochs_and_the_last_are_scored() -> None:
    plan = PathPlan((0.5,), frozenset({2, 8}))
    scored = {epoch: plan.scored_at(epoch, 5) for epoch in range(1, 6)}
    assert scored == {1: (), 2: (0.5,), 3: (), 4: (), 5: (0.5,)}


def test_path_that_costs_little_is_scored_at_every_epoch() -> None:
    told = {"trained": 135_000, "validated": 7_000, "rungs": frozenset({1, 3})}
    assert PathPlan.within_cost(ALPHAS, **told).epochs is None
    assert PathPlan.within_cost(ALPHAS, **told | {"trained": 12_000}).epochs == {1, 3}
