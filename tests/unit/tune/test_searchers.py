"""Every searcher and trial scheduler: cut off and resumed is as never cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from study.records.ledger import Ledger, read_ledger
from study.space.search.conditions import When
from study.tune.decisions import Decisions
from study.tune.study_db import StudyDatabase
from tests.toys import run_toy_search, toy_plan

WITH = [
    ("tpe", "asha"), ("random", "none"), ("cmaes", "asha"), ("cmaes", "none"), ("nsga2", "asha"),
    ("nsga2", "none"), pytest.param("gp", "none", marks=pytest.mark.slow),
]  # fmt: skip
CONDITIONAL: dict[str, Any] = {
    "distributions": {
        "kind": CategoricalDistribution(["a", "b", 3]),
        "x": FloatDistribution(0, 1),
        "z": FloatDistribution(1e-3, 1, log=True),
        "y": FloatDistribution(0, 1),
        "deep": CategoricalDistribution([1, 2]),
    },
    "conditions": {"y": When((("kind", ("b",)),)), "deep": When((("kind", ("b", 3)),))},
    "parameters": {"population": 4},
    "max_epochs": 9,
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "time"} for r in read_ledger(path)[0]]


def assert_exact(
    folder: Path, num_trials: int, cuts: tuple[int, ...], **changes: Any
) -> Decisions:
    whole = run_toy_search(folder / "whole", num_trials, **changes)
    for cut in cuts:
        run_toy_search(folder / "cut", num_trials, stop_after=cut, **changes)
    run_toy_search(folder / "cut", num_trials, **changes)
    assert lines(folder / "cut") == lines(folder / "whole")
    return whole


@pytest.mark.parametrize(("searcher", "scheduler"), WITH)
def test_searcher_cut_off_and_resumed_goes_on_as_it_would_have(
    tmp_path: Path, searcher: str, scheduler: str
) -> None:
    changes = CONDITIONAL | {"searcher": searcher, "scheduler": scheduler}
    changes["num_epochs"] = lambda point: 2
    whole = assert_exact(tmp_path, 16, (5, 14), **changes)
    assert len({str(trial.params) for trial in whole.trials}) >= 14  # NSGA-II may repeat a parent


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median", "none"])
def test_scheduler_cut_off_and_resumed_goes_on_as_it_would_have(
    tmp_path: Path, scheduler: str
) -> None:
    changes = CONDITIONAL | {"searcher": "random", "scheduler": scheduler}
    changes["num_epochs"] = lambda point: 4
    whole = assert_exact(tmp_path, 16, (3, 17), **changes | {"max_epochs": 4})
    statuses = {trial.status for trial in whole.trials}
    assert statuses == ({"finished"} if scheduler == "none" else {"finished", "pruned"})


@pytest.mark.parametrize("searcher", ["tpe", "nsga2"])
def test_several_objectives_are_told_by_direction_and_resume_exactly(
    tmp_path: Path, searcher: str
) -> None:
    changes = CONDITIONAL | {
        "searcher": searcher,
        "scheduler": "none",
        "objectives": ("val/fpr95", "val/auroc"),
        "num_epochs": lambda point: 2,
    }
    whole = assert_exact(tmp_path, 12, (9,), **changes)
    database = StudyDatabase(tmp_path / "study.db", "toy", whole.plan.directions)
    database.close(whole.frozen)
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [one.name for one in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    best = [(t.epochs[-1]["val/fpr95"], t.epochs[-1]["val/auroc"]) for t in whole.trials]
    assert [tuple(trial.values) for trial in study.trials] == best
    front = {
        i for i, one in enumerate(best)
        if not any(a <= one[0] and b >= one[1] and (a, b) != one for a, b in best)
    }  # fmt: skip
    assert {trial.number for trial in study.best_trials} == front


def test_trial_has_the_parameters_that_exist_and_no_others(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 12, **CONDITIONAL)
    for trial in decisions.trials:
        extra = {"b": {"y", "deep"}, 3: {"deep"}, "a": set()}[trial.params["kind"]]
        assert trial.params.keys() == {"kind", "x", "z"} | extra


def test_stateful_searchers_leave_their_first_generation(tmp_path: Path) -> None:
    for searcher in ("cmaes", "nsga2"):
        changes = CONDITIONAL | {"searcher": searcher, "scheduler": "none"}
        changes["num_epochs"] = lambda point: 1
        decisions = run_toy_search(tmp_path / searcher, 16, **changes)
        attrs = [trial.system_attrs for trial in decisions.frozen]
        generations = {v for one in attrs for k, v in one.items() if k.endswith("generation")}
        assert len(generations) > 1, searcher


def history(count: int) -> dict[str, Any]:
    def params(i: int) -> dict[str, Any]:
        point = {"kind": ["a", "b"][i % 2], "x": i / count, "z": 0.1}
        return point | ({"y": 0.5, "deep": 1} if i % 2 else {})

    trials = [
        {"trial": i, "params": params(i), "epochs": [{"val/objective": (i / count - 0.3) ** 2}]}
        for i in range(count)
    ]
    return {"trials": trials}


@pytest.mark.parametrize("searcher", ["tpe", "cmaes", "nsga2"])
def test_history_is_known_counts_as_nothing_and_survives_a_resume(
    tmp_path: Path, searcher: str
) -> None:
    changes = CONDITIONAL | {"searcher": searcher, "scheduler": "none"}
    changes["num_epochs"] = lambda point: 1
    for name in ("whole", "cut"):
        with Ledger(tmp_path / name) as ledger:
            ledger.append("started", warm_start=history(40))
    whole = assert_exact(tmp_path, 10, (4,), **changes)
    assert [trial.number for trial in whole.trials] == list(range(10))
    assert len(whole.frozen) == 10
    cold = run_toy_search(tmp_path / "cold", 10, **changes)
    away = [
        sum(abs(trial.params["x"] - 0.3) for trial in one.trials) / 10 for one in (whole, cold)
    ]
    assert away[0] < away[1]  # better from the first trial on


def test_median_stops_nobody_before_four_have_finished(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 12, scheduler="median", searcher="random")
    assert [trial.status for trial in decisions.trials[:4]] == ["finished"] * 4
    assert "pruned" in {trial.status for trial in decisions.trials}


def test_hyperband_stops_trials_at_the_rungs_of_its_brackets(tmp_path: Path) -> None:
    plan = {"scheduler": "hyperband", "searcher": "random", "max_epochs": 9}
    decisions = run_toy_search(tmp_path / "ledger", 24, **plan)
    stops = {len(trial.epochs) for trial in decisions.trials if trial.status == "pruned"}
    assert stops == {1, 3}


def test_grid_and_conditions_take_the_points_as_they_are(tmp_path: Path) -> None:
    grid = [{"kind": "b", "x": 0.5, "z": 0.1, "y": 0.2, "deep": 2}, {"kind": "a", "x": 0, "z": 1}]
    changes = CONDITIONAL | {"searcher": "grid", "grid": grid}
    decisions = run_toy_search(tmp_path / "ledger", 9, **changes)
    assert [trial.params for trial in decisions.trials] == grid


def test_plan_without_objectives_minimises_one() -> None:
    assert toy_plan().directions == ("minimize",)


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_no_trial_is_stopped_within_its_grace_epochs(tmp_path: Path, scheduler: str) -> None:
    plan = {"scheduler": scheduler, "searcher": "random", "max_epochs": 9, "grace_epochs": 3}
    decisions = run_toy_search(tmp_path / "ledger", 20, **plan)
    stopped = [len(one.epochs) for one in decisions.trials if one.status == "pruned"]
    assert min(stopped) == 3
