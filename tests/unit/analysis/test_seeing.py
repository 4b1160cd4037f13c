from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.__main__ import main
from analysis.plots import search as plots_search
from analysis.plots.scores import roc_points
from analysis.plots.search import rungs_of
from analysis.report.methods import methods_text
from analysis.report.page import Report, make_report
from analysis.report.papers import escape, results_table
from analysis.results.importance import FANOVA, importance
from analysis.results.margins import reached_energies
from analysis.study import Study
from study.errors import BadInput
from study.scoring.measuring import ood_metric
from tests.fake_run import Fake, make_run
from tests.fake_search import fake_search

NOW = datetime(2025, 1, 2, 3, 4, tzinfo=UTC)
DRAWS = {"x": lambda rng: float(rng.uniform()), "y": lambda rng: float(rng.uniform(1, 9))}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("seeing")
    make_run(folder, Fake(num_id=60))
    return analysis.load(folder)


@pytest.fixture(scope="module")
def report(study: Study) -> Report:
    return make_report(study, NOW)


def _texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_rungs_count_the_trials_that_still_run(study: Study) -> None:
    assert rungs_of(study) == (1, 3)
    text = _texts(study.plots.rungs())
    assert "10" in text.split()  # all ten reached the first epoch
    assert "Trials" in text


def test_roc_points_hold_the_auroc() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=200).round(1), rng.normal(1.0, size=150).round(1)
    accepted, kept = roc_points(inside, outside)
    assert np.trapezoid(kept, accepted) == pytest.approx(ood_metric("auroc", inside, outside))


def test_roc_names_each_set_with_units(study: Study) -> None:
    text = _texts(study.plots.roc("00000", 1))
    for word in ("objects_val, AUROC", "blobs, AUROC", "OOD images accepted (%)"):
        assert word in text


def test_energies_show_both_margins_and_the_base(study: Study) -> None:
    text = _texts(study.plots.energies("00000", 4))
    for word in ("Base", "Trial 00000", "m_in", "m_out", "nats"):
        assert word in text


def test_reached_energies_are_means_over_the_validation_images(study: Study) -> None:
    row = reached_energies(study).iloc[0]
    at = int(study.trials.set_index("trial_id").loc[row["trial_id"], "checkpoint_epoch"])
    energies = study.scores(row["trial_id"]).sets["val_id"].scores["energy"][at - 1]
    assert row["id_energy"] == pytest.approx(energies.mean())
    assert row["id_above"] == pytest.approx((energies > row["m_in"]).mean())


def test_contour_needs_two_parameters_with_numbers() -> None:
    draws = {**DRAWS, "word": lambda rng: str(rng.choice(["a", "b"]))}
    study = fake_search(lambda p: float(p["x"]), draws, 20)
    figure = study.plots.contour("param/train.x", "param/train.y")
    assert "Rank (0 = best)" in _texts(figure)
    with pytest.raises(BadInput, match="two searched parameters with numbers"):
        study.plots.contour("param/train.x", "param/train.word")


def test_importance_figure_has_a_row_for_each_parameter() -> None:
    study = fake_search(lambda p: float(p["x"]), DRAWS, 20)
    table = importance(study, num_resamples=2)
    labels = [
        t.get_text() for t in plots_search.importance_bars(study, table).axes[0].get_yticklabels()
    ]
    assert sorted(labels) == ["x", "y"]
    only = importance(study, methods=[FANOVA], num_resamples=2)
    assert plots_search.importance_bars(study, only).axes


@pytest.mark.parametrize("draw", ["trade", "rungs", "times", "calibration"])
def test_figure_fits_a_column(study: Study, draw: str) -> None:
    assert getattr(study.plots, draw)().get_figwidth() <= 3.3


def test_methods_text_names_data_search_selection_and_intervals(study: Study) -> None:
    text = methods_text(study)
    for word in (
        "resnet20", "45,000 ID images", "60 held-out ID images", "objects_val (n = 240 images",
        "from 30 sources", "10 trials", "TPE", "ASHA", "seed 0", "lowest validation FPR95",
        "at least 0.", "have not been opened", "1,000 resamples",
    ):  # fmt: skip
        assert word in text, word


def test_latex_table_escapes_and_has_n_and_intervals(study: Study, report: Report) -> None:
    table = results_table(study, report.content["validation"])
    assert r"objects\_val & 240 (30) & base & $" in table
    assert len(re.findall(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]", table)) == 18
    assert "Validation (selection was made on these sets)" in table
    assert table.count("{") == table.count("}")
    assert escape("a_b & 5 %") == r"a\_b \& 5 \%"


def test_report_command_prints_json_without_nan(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(study.folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["methods"].startswith("We trained")
    assert told["selection"]["trial_id"]
    assert 0 < told["hypervolume"]["value"] < 1
    assert told["front"]


def test_report_shows_methods_accesses_and_front(report: Report) -> None:
    html = report.html
    for word in ("For the methods section", "Test accesses", "Hypervolume", "What can be had"):
        assert word in html


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


@pytest.mark.parametrize(
    "fake",
    [
        Fake(statuses=()),
        Fake(statuses=("failed", "failed"), num_id=30),
        Fake(statuses=("finished",), num_id=30, epochs=1, below_base=None),
    ],
    ids=["empty", "all failed", "one trial"],
)
@pytest.mark.parametrize("command", ["trials", "margins", "select", "importance", "report"])
def test_every_command_answers_poor_studies_with_a_sentence(
    tmp_path: Path, fake: Fake, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, fake)
    code = main([command, str(tmp_path)])
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    assert not re.search(r"(?<!loss is )\b(nan|inf)\b", out + err)
    assert code == 0 or err.strip()


def test_torn_epochs_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    run.epochs.write_bytes(run.epochs.read_bytes()[:300])
    study = analysis.load(tmp_path)
    assert "epochs.parquet: not a readable Parquet file" in study.faults[0]
    assert study.select(10).trial_id


def test_epoch_with_nan_is_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    frame = pd.read_parquet(run.epochs)
    frame.loc[1, "val/auroc"] = math.nan
    frame.to_parquet(run.epochs, index=False)
    study = analysis.load(tmp_path)
    assert study.faults == ("epochs.parquet: trial 00000, epoch 2 has no val/auroc; left out.",)
    assert len(study.epochs) == len(frame) - 1


def test_half_written_ledger_line_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30))
    with run.ledger.open("ab") as file:
        file.write(b'{"event":"sel')
    assert analysis.load(tmp_path).faults == (
        "ledger.jsonl: the last line is half-written; left out.",
    )


def test_load_of_two_studies_joins_them_by_name(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Fake(num_id=30))
    make_run(tmp_path / "b", Fake(num_id=30, statuses=("finished", "failed")))
    joined = analysis.load(tmp_path / "a", tmp_path / "b")
    assert joined.trials.groupby("study").size().to_dict() == {"a": 10, "b": 2}
    assert joined.trials.columns[0] == joined.epochs.columns[0] == "study"
    assert joined.trials["status"].dtype == "category"
    assert joined.comparable
    assert joined.faults == ()


def test_studies_on_different_data_joined_get_a_sentence(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Fake(num_id=30))
    make_run(tmp_path / "b", Fake(num_id=30, ood_sets={"letters": (20, 1)}))
    joined = analysis.load(tmp_path / "a", tmp_path / "b")
    assert not joined.comparable
    assert "a and b were validated on different data" in joined.faults[0]
    assert "letters" in joined.faults[0]


def test_studies_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        make_run(tmp_path / parent / "run", Fake(num_id=30))
    joined = analysis.load(tmp_path / "one" / "run", tmp_path / "two" / "run")
    assert list(joined.studies) == ["one/run", "two/run"]
