"""Runs that version 2b5b3e9 left behind are loaded, chosen from, reported and resumed.

They were recorded by ``tests/golden/record_runs.py``, which says what was left out of them; every
test works on a copy. A version that can no longer resume one refuses it with the reason, and its
test here holds that reason instead.

Versions: torch 2.14, numpy 2.4. Tolerance: 1e-3 on fractions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.__main__ import main
from analysis.choice.selection import scores_at
from analysis.statistics.bootstrap import Resampler, interval_of, metrics_of_models
from study.records.files import VAL_ID, RunFolder
from study.records.ledger import read_ledger
from study.scoring.intervals import percentile_interval
from tests.golden.driving import RUNS, STUDIES, Checkout, recorded

# Trial, epoch and value as the recording version chose them.
CHOSEN = {
    "energy": ("00002", 2, 0.8643),
    "nordf": ("00001", 3, 0.5286),
    "ablation": ("00000", 2, 0.8929),
}


@pytest.fixture(params=STUDIES)
def finished(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return recorded(f"{request.param}-finished", tmp_path)


def study_of(run: Path) -> str:
    return run.name.partition("-")[0]


def statuses(run: Path) -> list[str]:
    return [str(status) for status in analysis.load(run).trials["status"]]


def test_recorded_runs_are_small():
    assert sum(path.stat().st_size for path in RUNS.rglob("*") if path.is_file()) < 1_000_000


def test_finished_run_is_loaded_without_a_fault(finished: Path):
    study = analysis.load(finished)
    assert not study.faults
    asked = [one for one in read_ledger(RunFolder(finished).ledger)[0] if one["event"] == "ask"]
    assert len(study.trials) == len(asked)
    assert set(study.status_counts()) <= {"finished", "pruned"}
    assert len(study.epochs) == study.trials["epochs"].sum()


def test_trials_of_a_finished_run_are_told(finished: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["trials", str(finished), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["trial_id"] for row in rows] == [f"{n:05d}" for n in range(len(rows))]


def test_select_of_a_finished_run_gives_the_recorded_choice(
    finished: Path, capsys: pytest.CaptureFixture[str]
):
    before = json.loads((finished / "selection.json").read_text())
    assert main(["select", str(finished), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    trial, epoch, value = CHOSEN[study_of(finished)]
    assert (content["trial_id"], content["epoch"]) == (trial, epoch)
    assert content["value"] == pytest.approx(value, abs=1e-3)
    assert content["corrected_value"] == pytest.approx(before["corrected_value"], abs=1e-3)
    assert json.loads((finished / "selection.json").read_text()) == before  # frozen is frozen


def test_choice_of_a_finished_run_is_the_same_without_its_selection_json(finished: Path):
    frozen = json.loads((finished / "selection.json").read_text())
    (finished / "selection.json").unlink()
    chosen = analysis.load(finished).select()
    assert (chosen.trial_id, chosen.epoch) == (frozen["trial_id"], frozen["epoch"])
    assert chosen.value == pytest.approx(frozen["value"], abs=1e-3)
    assert chosen.interval is not None
    if study_of(finished) == "ablation":
        assert list(chosen.interval) == pytest.approx(frozen["interval"], abs=1e-3)


def test_interval_of_a_finished_run_is_of_the_resamples_that_it_had_percentiles_of(
    finished: Path,
):
    frozen, study = json.loads((finished / "selection.json").read_text()), analysis.load(finished)
    chosen = study.select()
    if len(chosen.seed_trials) > 1:
        pytest.skip("an interval over seeds is Student's, then as now")
    sets = scores_at(study, *chosen.place)
    values = {name: one.scores[study.own_score][0] for name, one in sets.items()}
    resampler = Resampler.of(sets, chosen.num_resamples, chosen.seed)
    drawn = metrics_of_models({"model": values}, resampler, metrics=["fpr95"])["model"]
    means = np.mean([one["fpr95"] for one in drawn.values()], axis=0)
    assert list(percentile_interval(means)) == pytest.approx(frozen["interval"], abs=1e-3)
    sources = resampler.num_sources(VAL_ID, list(drawn))
    again = interval_of("fpr95", chosen.value, means, sources)
    assert list(chosen.interval or ()) == pytest.approx(list(again))


def test_report_of_a_finished_run_shows_the_recorded_choice(finished: Path):
    assert main(["report", str(finished)]) == 0
    page = (finished / "report.html").read_text()
    trial, _, _ = CHOSEN[study_of(finished)]
    assert f"trial {trial}" in page.lower()


def test_finished_ablation_still_has_its_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = recorded("ablation-finished", tmp_path)
    assert main(["ablation", str(run), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (effect,) = (row for row in rows if row["metric"] == "val/fpr95")
    assert (effect["effect"], effect["num_seeds"]) == ("loss=outlier_exposure", 2)
    assert effect["mean"] == pytest.approx(0.00357, abs=1e-3)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_interrupted_run_resumes_to_the_end_of_the_finished_one(
    name: str, tmp_path: Path, project_root: Path
):
    run = recorded(f"{name}-interrupted", tmp_path)
    before = read_ledger(RunFolder(run).ledger)[0]
    checkout = Checkout.copied(project_root, tmp_path).with_backbone()
    done = checkout.study("--resume", run.name, "--max-concurrent", "1")
    assert done.returncode == 0, done.stderr
    after = read_ledger(RunFolder(run).ledger)[0]
    assert after[: len(before)] == before
    assert [one["event"] for one in after].count("resumed") == 1
    whole = recorded(f"{name}-finished", tmp_path)
    assert statuses(run) == statuses(whole)
    assert asked(run) == asked(whole)
    tables = [analysis.load(one).epochs for one in (run, whole)]
    metrics = [column for column in tables[0] if column.startswith("val/")]
    pd.testing.assert_frame_equal(*(table[metrics] for table in tables), rtol=0, atol=1e-3)
    one, two = (json.loads((folder / "selection.json").read_text()) for folder in (run, whole))
    assert (one["trial_id"], one["epoch"]) == (two["trial_id"], two["epoch"])


def asked(run: Path) -> list[tuple[Any, ...]]:
    records = read_ledger(RunFolder(run).ledger)[0]
    return [(one["params"], one["seed"]) for one in records if one["event"] == "ask"]
