"""study.scoring.path: which points of a path are scored, and when."""

from study.scoring.path import ALPHAS, PathPlan


def test_every_epoch_is_scored_and_the_base_once() -> None:
    plan = PathPlan()
    assert plan.scored_at(1, 3) == (0.0, *ALPHAS)
    assert plan.scored_at(2, 3) == plan.scored_at(3, 3) == ALPHAS


def test_named_epochs_and_the_last_are_scored() -> None:
    plan = PathPlan((0.5,), frozenset({2, 8}))
    scored = {epoch: plan.scored_at(epoch, 5) for epoch in range(1, 6)}
    assert scored == {1: (), 2: (0.0, 0.5), 3: (), 4: (), 5: (0.5,)}


def test_trial_that_ends_before_the_named_epochs_has_its_base_at_the_end() -> None:
    plan = PathPlan((0.5,), frozenset({4}))
    assert [plan.scored_at(epoch, 2) for epoch in (1, 2)] == [(), (0.0, 0.5)]


def test_path_that_costs_little_is_scored_at_every_epoch() -> None:
    told = {"trained": 135_000, "validated": 7_000, "rungs": frozenset({1, 3})}
    assert PathPlan.within_cost(ALPHAS, **told).epochs is None
    assert PathPlan.within_cost(ALPHAS, **told | {"trained": 12_000}).epochs == {1, 3}
