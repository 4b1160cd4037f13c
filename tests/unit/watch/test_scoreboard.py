"""study.watch.scoreboard: counts, the best candidate so far, speed and time left."""

import pytest

from study.watch.scoreboard import Scoreboard


def board(num_trials: int = 4, budget: float | None = None) -> Scoreboard:
    return Scoreboard(num_trials, "val/fpr95", now=100.0, time_budget_s=budget)


def metrics(value: float, objective: float | None = None) -> dict[str, float]:
    return {"val/fpr95": value, "val/objective": value if objective is None else objective}


def test_counts_of_a_new_search_are_all_waiting() -> None:
    assert board().counts == {
        "finished": 0, "pruned": 0, "stopped": 0, "failed": 0, "paused": 0, "running": 0,
        "waiting": 4,
    }  # fmt: skip


def test_counts_follow_trials_from_start_to_end() -> None:
    search = board()
    for trial_id in ("a", "b", "c"):
        search.start(trial_id, {})
    search.end("a", "finished", metrics(0.5))
    search.end("b", "failed", {})
    assert search.counts == {
        "finished": 1, "pruned": 0, "stopped": 0, "failed": 1, "paused": 0, "running": 1,
        "waiting": 1,
    }  # fmt: skip
    assert search.num_ended == 2


def test_best_is_the_lowest_objective_not_the_lowest_metric() -> None:
    search = board()
    search.epoch("a", 1, 5, metrics(0.5))
    search.epoch("b", 1, 5, metrics(0.1, objective=1.02))
    search.epoch("a", 2, 5, metrics(0.6))
    assert search.best is not None
    assert (search.best.trial_id, search.best.epoch) == ("a", 1)
    assert search.best.above_floor


def test_best_below_the_floor_says_so() -> None:
    search = board()
    search.epoch("b", 1, 5, metrics(0.1, objective=1.02))
    assert search.best is not None
    assert not search.best.above_floor


@pytest.mark.parametrize("status", ["pruned", "failed", "paused"])
def test_best_of_a_trial_that_is_no_candidate_is_dropped(status: str) -> None:
    search = board()
    search.epoch("a", 1, 5, metrics(0.1))
    search.epoch("b", 1, 5, metrics(0.4))
    search.end("a", status, metrics(0.1))
    assert search.best is not None
    assert search.best.trial_id == "b"


def test_best_without_objective_goes_by_the_metric_and_its_direction() -> None:
    search = Scoreboard(2, "val/auroc", now=0.0)
    search.epoch("a", 1, 2, {"val/auroc": 0.7})
    search.epoch("b", 1, 2, {"val/auroc": 0.9})
    search.epoch("c", 1, 2, {"val/auroc": float("nan")})
    assert search.best is not None
    assert search.best.trial_id == "b"


def test_fraction_counts_ended_trials_whole_and_running_ones_by_epoch() -> None:
    search = board()
    search.start("a", {})
    search.epoch("a", 1, 4, metrics(0.5))
    search.end("b", "pruned", metrics(0.5))
    assert search.fraction == pytest.approx((1 + 0.25) / 4)


def test_time_left_is_unknown_at_first_then_by_pace() -> None:
    search = board()
    assert search.time_left_s(110.0) is None
    search.end("a", "finished", metrics(0.5))
    assert search.time_left_s(130.0) == pytest.approx(90.0)


def test_time_left_after_a_resume_goes_by_this_session_alone() -> None:
    search = board(num_trials=4)
    search.recorded("a", "finished", metrics(0.5))
    search.recorded("b", "finished", metrics(0.4))
    assert search.time_left_s(101.0) is None
    search.end("c", "finished", metrics(0.3))
    assert search.time_left_s(160.0) == pytest.approx(60.0)


def test_recorded_trial_that_was_paused_is_still_waiting() -> None:
    search = board()
    search.recorded("a", "paused", metrics(0.5))
    assert search.counts["waiting"] == 4
    assert search.best is None


def test_time_left_is_bounded_by_the_budget() -> None:
    search = board(budget=50.0)
    assert search.time_left_s(110.0) == pytest.approx(40.0)
    search.end("a", "finished", {})
    assert search.time_left_s(130.0) == pytest.approx(20.0)
    assert search.time_left_s(900.0) == 0.0


def test_images_per_s_is_the_mean_rate_times_the_running_trials() -> None:
    search = board()
    assert search.images_per_s == 0.0
    search.start("a", {})
    search.start("b", {})
    search.epoch("a", 1, 2, {"images_per_s": 100.0})
    search.epoch("b", 1, 2, {"images_per_s": 300.0})
    assert search.images_per_s == pytest.approx(400.0)
    search.end("a", "finished", {})
    assert search.images_per_s == pytest.approx(200.0)


def test_pruned_trial_that_is_promoted_runs_again_and_counts_once() -> None:
    search = board()
    search.start("a", {})
    search.end("a", "pruned", metrics(0.5))
    search.start("a", {})
    assert (search.counts["pruned"], search.counts["running"], search.num_ended) == (0, 1, 0)
    search.end("a", "finished", metrics(0.4))
    assert (search.counts["finished"], search.num_ended) == (1, 1)


def test_best_is_above_the_floor_before_its_objective_counts() -> None:
    search = Scoreboard(3, "val/fpr95", 0.0)
    search.epoch("a", 1, 5, {**metrics(0.1), "val/floor_shortfall": 0.002})
    assert search.best is not None
    assert not search.best.above_floor
    search.epoch("a", 2, 5, {**metrics(0.3), "val/floor_shortfall": 0.0})
    search.epoch("b", 1, 5, {**metrics(0.2), "val/floor_shortfall": 0.001})
    assert (search.best.trial_id, search.best.epoch, search.best.above_floor) == ("a", 2, True)
