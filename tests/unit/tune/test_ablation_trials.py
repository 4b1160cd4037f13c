"""Arms and seeds through ledger, tables, database and forecast; no Ray, no training."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest

from study.forecast import forecast
from study.records.files import LOOK, TUNED
from study.space.loading import load_resolved
from study.space.study_spec import StudySpec
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.study_db import StudyDatabase
from study.tune.tables import trials_table
from study.watch.progress import Progress
from tests.toy_ablation import ablation_space, ledger_lines, run_ablation
from tests.toys import toy_data

ARMS = ["baseline", "lr=0.01", "lr=0.02", "warm=up"]
SPACES = {
    "plain": """
  seeds: [3, 1]
  factors: {lr: [0.01, 0.02], warm: {up: {warmup_epochs: 1}}}
""",
    "stop": """
  seeds: [3, 1, 4, 5, 9, 2]
  factors: {lr: [0.01, 0.02], warm: {up: {warmup_epochs: 1}}}
  stop: {alpha: 0.05, min_seeds: 3, margin: 0.01}
""",
    "retune": """
  seeds: [3, 1]
  factors: {momentum: [0.5], augment: [none]}
  retune: {num_trials: 3, seed: 1000, search: {lr: {loguniform: [1.0e-3, 1.0e-1]}}}
""",
}


def space(folder: Path, *overrides: str, kind: str = "plain") -> StudySpec:
    return ablation_space(SPACES[kind], folder, *overrides)


def accuracy(record: TrialRecord) -> float:
    """Of every arm, seed and point of re-tuning another; lr=0.02 is clearly worse."""
    key = [record.seed, len(record.arm), *map(ord, str(record.params.get("retune", "")))]
    noise = float(np.random.default_rng(key).normal(0, 0.005))
    return 0.9 + noise - 0.2 * (record.arm == "lr=0.02")


def run(folder: Path, spec: StudySpec, **how: int) -> Decisions:
    return run_ablation(folder, spec, accuracy, **how)[0]


@pytest.fixture
def forecast_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The forecast of the space with overrides, without a probe."""
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))

    def told(*overrides: str) -> str:
        spec = space(tmp_path, *overrides)
        progress = Progress(io.StringIO(), live=False, quiet=True)
        return forecast(spec, toy_data(), progress, probe_s=0.0)

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


@pytest.mark.parametrize(
    ("kind", "stop_after"),
    [
        *(("plain", number) for number in (1, 2, 7, 15)),
        *(("stop", number) for number in (1, 23, 24, 25, 26, 33, 41)),
        *(("retune", number) for number in (1, 2, 17, 18, 19, 20, 25)),
    ],
)
def test_ablation_cut_off_and_resumed_from_its_own_spec_is_the_same(
    tmp_path: Path, kind: str, stop_after: int
) -> None:
    spec = space(tmp_path, kind=kind)
    (whole := tmp_path / "whole").mkdir()
    (cut := tmp_path / "cut").mkdir()
    run(whole, spec)
    run(cut, spec, stop_after=stop_after)
    assert ledger_lines(cut) != ledger_lines(whole)
    (cut / "spec.yaml").write_text(spec.dump())
    run(cut, load_resolved(cut / "spec.yaml"))
    assert ledger_lines(cut) == ledger_lines(whole)


@pytest.mark.parametrize(("kind", "event"), [("stop", LOOK), ("retune", TUNED)])
def test_choices_do_not_hang_on_how_many_trials_run_at_once(
    tmp_path: Path, kind: str, event: str
) -> None:
    spec = space(tmp_path, kind=kind)
    told = []
    for at_once in (1, 5):
        (folder := tmp_path / str(at_once)).mkdir()
        run(folder, spec, at_once=at_once)
        lines = [one for one in ledger_lines(folder) if one["event"] == event]
        told.append(sorted(lines, key=lambda one: str(one.get("arm", one.get("seeds")))))
    assert told[0] == told[1] != []


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
