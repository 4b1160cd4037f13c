"""Arms and seeds through ledger, tables, database and forecast; no Ray, no training."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from study import forecast as forecast_module
from study.forecast import forecast
from study.records.ledger import Ledger
from study.space.study_spec import StudySpec
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.study_db import StudyDatabase
from study.tune.tables import trials_table
from study.watch.progress import Progress
from tests.toy_ablation import (
    ablation_plan,
    ablation_space,
    cut_and_resumed,
    ledger_lines,
    run_trials,
)
from tests.toys import toy_data

SPACE = """
recipe: classifier
train: {epochs: 2, batch_size: 8, epoch_images: 16}
ablate:
  design: one_at_a_time
  seeds: [3, 1]
  factors: {lr: [0.01, 0.02], warm: {up: {warmup_epochs: 1}}}
select: {metric: val/id_accuracy}
"""
ARMS = ["baseline", "lr=0.01", "lr=0.02", "warm=up"]


def space(folder: Path, *overrides: str) -> StudySpec:
    return ablation_space(SPACE, folder, *overrides)


def metrics(record: TrialRecord, epoch: int) -> dict[str, float]:
    value = len(record.arm) / 100 + record.seed / 10 + 0.01 / epoch
    return {"val/objective": value, "val/id_accuracy": 1 - value, "time_s": 1.0}


def run(folder: Path, spec: StudySpec, *, stop_after: int | None = None) -> Decisions:
    """One trial at a time to the end, or until so many results are recorded."""
    with Ledger(folder / "ledger.jsonl") as ledger:
        decisions = Decisions(ablation_plan(spec), ledger)
        run_trials(decisions, decisions.ask, metrics, stop_after=stop_after)
    return decisions


@pytest.fixture
def forecast_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The forecast of the space with overrides, without a probe."""
    monkeypatch.setattr(forecast_module, "PROBE_S", 0.0)
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))

    def told(*overrides: str) -> str:
        spec = space(tmp_path, *overrides)
        return forecast(spec, toy_data(), Progress(io.StringIO(), live=False, quiet=True))

    return told


def test_asks_name_arm_and_seed_and_stop_after_the_last(tmp_path: Path) -> None:
    run(tmp_path, space(tmp_path))
    asks = [one for one in ledger_lines(tmp_path) if one["event"] == "ask"]
    assert [one["params"]["arm"] for one in asks] == ARMS * 2
    assert [one["seed"] for one in asks] == [3] * 4 + [1] * 4
    assert all(one["params"]["seed"] == one["seed"] for one in asks)


def test_every_trial_trains_all_epochs(tmp_path: Path) -> None:
    decisions = run(tmp_path, space(tmp_path))
    assert {(one.status, len(one.epochs)) for one in decisions.trials} == {("finished", 2)}


@pytest.mark.parametrize("stop_after", [1, 2, 7, 15])
def test_ablation_cut_off_and_resumed_from_its_own_spec_is_the_same(
    tmp_path: Path, stop_after: int
) -> None:
    whole, cut, resumed = cut_and_resumed(tmp_path, space(tmp_path), run, stop_after)
    assert cut != whole
    assert resumed == whole


def test_table_has_arm_and_seed_of_each_trial(tmp_path: Path) -> None:
    decisions = run(tmp_path, space(tmp_path))
    table = trials_table(decisions.trials, lambda record: {}, "best", live=False)
    assert table["arm"].tolist() == ARMS * 2
    assert table["seed"].tolist() == [3] * 4 + [1] * 4


def test_trial_of_a_search_has_the_arm_search() -> None:
    record = TrialRecord(0, 0, {"train.lr": 0.1})
    table = trials_table([record], lambda one: {}, "best", live=True)
    assert table["arm"].tolist() == ["search"]


def test_database_shows_arms_and_seeds_as_parameters(tmp_path: Path) -> None:
    decisions = run(tmp_path, space(tmp_path))
    database = StudyDatabase(tmp_path / "study.db", "toy")
    database.update(decisions.frozen)
    database.close(decisions.frozen)
    rows = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/study.db").trials
    assert [row.params["arm"] for row in rows] == ARMS * 2
    assert [row.params["seed"] for row in rows] == [3] * 4 + [1] * 4


def test_forecast_counts_arms_times_seeds(forecast_of: Callable[..., str]) -> None:
    text = forecast_of("tune.max_concurrent=1")
    assert "8 (4 arms x 2 seeds), 1 at a time" in text
    assert f"{8 * 2 * 16}" in text


def test_forecast_takes_the_arm_with_the_most_images(forecast_of: Callable[..., str]) -> None:
    text = forecast_of("ablate.factors={epoch_images: [32, null]}", "tune.max_concurrent=1")
    assert "60 (60 ID" in text


def test_forecast_states_the_stop_rule_and_what_it_takes(forecast_of: Callable[..., str]) -> None:
    text = forecast_of("ablate.seeds=[0, 1, 2, 3]", "ablate.stop={margin: 0.02}")
    assert "less what ablate.stop stops early" in text
    assert "one look, after 3 of 4 seeds" in text
    assert "worse by more than 0.02" in text
