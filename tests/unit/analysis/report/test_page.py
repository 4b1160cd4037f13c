from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

import analysis
from analysis.report.page import Report, make_report, page_of, write_report
from analysis.study import Study
from study.records.frozen import read_frozen
from tests.fake_run import Fake, freeze, make_run

NOW = datetime(2025, 1, 2, 3, 4, tzinfo=UTC)


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def _render(folder: Path, fake: Fake | None = None) -> str:
    make_run(folder, fake)
    return make_report(analysis.load(folder), NOW).html


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("frozen")
    make_run(folder)
    study = analysis.load(folder)
    freeze(study)
    return analysis.load(folder)


@pytest.fixture(scope="module")
def html(frozen: Study) -> str:
    return make_report(frozen, NOW).html


@pytest.fixture(scope="module")
def report(study: Study) -> Report:
    return make_report(study, NOW)


def test_report_needs_no_network_and_no_other_file(html: str) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", html)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "<script" not in html


def test_report_tells_the_choice_the_base_and_the_data(frozen: Study, html: str) -> None:
    chosen = frozen.select()
    text = _text(html)
    assert f"Trial {chosen.trial_id} , epoch {chosen.epoch}" in text
    assert f"{100 * chosen.value:.1f} %" in text
    assert chosen.rule.split(" with ")[0] in text
    for word in ("Leak check", "objects_val", "outliers/objects", "0123456789abcdef", "1 failed"):
        assert word in text
    assert "Demo data" not in text


@pytest.mark.usefixtures("unrendered")
def test_report_on_the_demo_says_so_loudly(tmp_path: Path) -> None:
    assert "Demo data: these numbers say nothing about CIFAR-10" in _render(
        tmp_path, Fake(statuses=("finished",), demo=True)
    )


@pytest.mark.usefixtures("unrendered")
def test_report_shows_a_name_that_no_file_can_be_written_with(tmp_path: Path) -> None:
    shown = {"name": "caf\udce9 \x1b[31m", "tables": {}, "notes": [], "folders": []}
    page = page_of("hold_outs.html.j2", shown)
    assert r"caf\xe9 \x1b[31m" in page.encode().decode()


def test_report_shows_each_traceback_once(tmp_path: Path) -> None:
    html = _render(tmp_path, Fake(statuses=("finished", "failed", "failed")))
    assert html.count("Traceback (most recent call last)") == 1
    assert "00001, 00002" in html


def test_report_names_the_seal_of_the_frozen_choice(frozen: Study, html: str) -> None:
    assert read_frozen(frozen.folder.path)["sha256"][:16] in html


def test_report_of_the_same_study_is_the_same_text(frozen: Study, html: str) -> None:
    assert make_report(analysis.load(frozen.folder.path), NOW).html == html


def test_report_escapes_what_a_record_holds(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("failed",)))
    run.failures.write_text("<script>alert(1)</script>")
    assert "<script>" not in make_report(analysis.load(tmp_path), NOW).html


@pytest.mark.parametrize(
    ("fake", "sentence"),
    [
        (Fake(statuses=()), "the study has no trials"),
        (Fake(statuses=("failed", "failed")), "no trial finished (2 failed)"),
        (Fake(statuses=("pruned", "paused")), "no trial finished"),
        (Fake(below_base=-0.2), "reaches the floor"),
    ],
)
def test_report_without_a_choice_says_why(tmp_path: Path, fake: Fake, sentence: str) -> None:
    text = _text(_render(tmp_path, fake))
    assert "No trial was chosen" in text
    assert sentence in text


def test_report_of_one_trial_is_written(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), below_base=None, epochs=1))
    assert write_report(analysis.load(tmp_path)) == tmp_path / "report.html"


def test_report_without_manifest_spec_and_scores_is_written(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for path in (run.manifest, run.spec, run.ledger, run.failures, *run.scores.iterdir()):
        path.unlink()
    assert "The manifest names no data" in make_report(analysis.load(tmp_path), NOW).html


def test_report_of_a_study_by_accuracy_trades_it_against_fpr95(tmp_path: Path) -> None:
    select = {"metric": "val/id_accuracy", "floor": None, "checkpoint": "best"}
    make_run(tmp_path, Fake(below_base=None, spec={"select": select}))
    study = analysis.load(tmp_path)
    assert study.select().metric == "val/id_accuracy"
    assert "ID accuracy" in make_report(study, NOW).html
    state = ["trial_id", "epoch", "alpha"]
    assert list(study.pareto().columns) == [*state, "val/fpr95", "val/id_accuracy"]


def test_report_shows_methods_accesses_and_front(report: Report) -> None:
    html = report.html
    for word in ("For the methods section", "Test accesses", "Hypervolume", "What can be had"):
        assert word in html


@pytest.mark.usefixtures("unrendered")
def test_report_names_collapsed_trials_and_shows_the_panel(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=40))
    frame = pd.read_parquet(run.trials)
    frame.loc[0, "reason"] = "all epochs trained; upper features collapsed (mean cosine 0.99)"
    frame.to_parquet(run.trials, index=False)
    study = analysis.load(tmp_path)
    panel = run.panel(study.select(10).trial_id, 4)
    panel.parent.mkdir(parents=True)
    panel.write_bytes(b"\x89PNG")
    html = make_report(study, NOW).html
    assert "upper features collapsed" in html
    assert "data:image/png;base64" in html
