from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import optuna
import pytest

from study.data.roles import StudyData
from study.errors import BadInput
from study.records.ledger import Ledger
from study.space.loading import load_space
from study.space.study_spec import StudySpec
from study.tune import decisions as decisions_module
from study.tune.decisions import Decisions
from study.tune.sampler import make_study
from study.warm_start import WarmStart, read_warm_start
from tests.toys import toy_plan

SPACE = """
recipe: energy
train: {weight_decay: 0.0}
search:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  schedule: {choice: [cosine, constant]}
  min_lr: {loguniform: [1.0e-6, 1.0e-5], when: {schedule: cosine}}
  m_in: {below: id_energy, sd: {uniform: [0, 6]}}
"""
POINTS = [
    {"train.lr": 1e-3, "train.schedule": "constant", "train.m_in.sd": 1.0},
    {"train.lr": 1e-3, "train.schedule": "cosine", "train.min_lr": 2e-6, "train.m_in.sd": 5.0},
    {"train.lr": 5e-3, "train.schedule": "constant", "train.m_in.sd": 2.0},
]
DECISIONS = ["finished", "finished", "pruned"]


def space(folder: Path, text: str = SPACE, *overrides: str) -> StudySpec:
    file = folder / "space.yaml"
    file.write_text(text)
    return load_space(str(file), overrides)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three trials, the last one pruned."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "spec.yaml").write_text(space(tmp_path).dump())
    (folder / "manifest.json").write_text("{}")
    with Ledger(folder / "ledger.jsonl") as ledger:
        ledger.append("started", data_sha256="abc")
        for number, (params, decision) in enumerate(zip(POINTS, DECISIONS, strict=True)):
            ledger.append("ask", number=number, seed=0, params=params)
            for epoch, told in ((1, "continue"), (2, decision)):
                metrics = {"val/fpr95": 0.5 / epoch, "val/id_accuracy": 0.8, "val/objective": 1.9}
                event = {"number": number, "epoch": epoch, "metrics": metrics, "decision": told}
                ledger.append("result", **event)
    return folder


def told(caught: pytest.ExceptionInfo[BadInput]) -> dict[str, str]:
    return {fault.key: fault.rule for fault in caught.value.faults}


def test_finished_trials_come_with_the_metrics_that_decide(run: Path, tmp_path: Path) -> None:
    warm = read_warm_start(run, space(tmp_path))
    assert [one["params"] for one in warm.trials] == POINTS[:2]
    assert warm.trials[0]["epochs"][1] == {"val/fpr95": 0.25, "val/id_accuracy": 0.8}
    assert (warm.left_out, warm.fixed) == (0, ())


def test_trials_outside_the_domains_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    narrow = SPACE.replace("[0, 6]", "[0, 3]")
    warm = read_warm_start(run, space(tmp_path, narrow))
    assert [one["trial"] for one in warm.trials] == [0]
    assert warm.left_out == 1
    assert any("1 trial left out: outside this space" in line for line in warm.lines())


def test_none_inside_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="2 finished trials, 0 of them within"):
        read_warm_start(run, space(tmp_path, SPACE.replace("[0, 6]", "[5.5, 6]")))


def test_few_are_too_few_for_cma_es(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cmaes needs 10"):
        read_warm_start(run, space(tmp_path, SPACE, "tune.searcher=cmaes"))


def test_every_difference_is_told_at_once(run: Path, tmp_path: Path) -> None:
    changed = """
recipe: energy
search:
  lr: {choice: [0.001, 0.002]}
  schedule: {choice: [cosine, constant]}
  min_lr: {choice: [0.0, 1.0e-6]}
  m_in: {above: id_energy, sd: {uniform: [-6, -1]}}
  momentum: {uniform: [0.1, 0.9]}
"""
    with pytest.raises(BadInput) as caught:
        read_warm_start(run, space(tmp_path, changed, "select.metric=val/auroc"))
    assert told(caught) == {
        "select.metric": "is val/fpr95 there and val/auroc here",
        "search.lr": "is a range there and a choice here",
        "search.momentum": "is searched here and not there",
        "search.min_lr": "exists under another condition there (`when`)",
        "search.m_in": "is measured otherwise there",
    }


def test_other_recipe_is_refused(run: Path, tmp_path: Path) -> None:
    text = (
        "recipe: classifier\nselect: {metric: val/id_accuracy}\n"
        "search: {lr: {uniform: [0.1, 1]}}\n"
    )
    with pytest.raises(BadInput) as caught:
        read_warm_start(run, space(tmp_path, text))
    assert told(caught)["recipe"] == "is energy there and classifier here"


@pytest.mark.parametrize("searcher", ["random"])
def test_searcher_that_learns_nothing_is_refused(run: Path, tmp_path: Path, searcher: str) -> None:
    with pytest.raises(BadInput, match="random learns nothing"):
        read_warm_start(run, space(tmp_path, SPACE, f"tune.searcher={searcher}"))


def test_objective_that_the_other_study_did_not_record_is_refused(
    run: Path, tmp_path: Path
) -> None:
    spec = space(tmp_path, SPACE, "tune.objectives=[val/fpr95, val/auroc]", "tune.scheduler=none")
    with pytest.raises(BadInput) as caught:
        read_warm_start(run, spec)
    rule = "val/auroc is an objective here and not on record there"
    assert told(caught) == {"tune.objectives": rule}


def test_other_data_is_refused(run: Path, tmp_path: Path) -> None:
    warm = read_warm_start(run, space(tmp_path))
    warm.check_data(cast(StudyData, SimpleNamespace(fingerprint="abc")))
    with pytest.raises(BadInput, match="other data or another split"):
        warm.check_data(cast(StudyData, SimpleNamespace(fingerprint="abd")))


def test_other_fixed_values_are_told(run: Path, tmp_path: Path) -> None:
    spec = space(tmp_path, SPACE, "train.weight_decay=0.1")
    assert read_warm_start(run, spec).fixed == ("train.weight_decay is 0.0 there and 0.1 here",)


def test_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no study"):
        read_warm_start(tmp_path, space(tmp_path))


def test_history_is_worth_what_this_studys_floor_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies: list[optuna.Study] = []

    def noted(*given: Any) -> optuna.Study:
        studies.append(make_study(*given))
        return studies[-1]

    def rejudged(metrics: Any) -> dict[str, float]:
        return {**metrics, "val/objective": metrics["val/fpr95"] + 1}  # as under the floor

    trial = {"trial": 0, "params": {"x": 0.2, "kind": "a"}, "epochs": [{"val/fpr95": 0.5}]}
    warm = WarmStart("run", "abc", (trial,), 0, ())
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append("started", warm_start=warm.event())
        monkeypatch.setattr(decisions_module, "make_study", noted)
        decisions = Decisions(toy_plan(rejudged=rejudged), ledger)
        assert [[one.value for one in study.trials] for study in studies] == [[1.5]]
        assert decisions.trials == []
