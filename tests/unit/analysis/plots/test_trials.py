from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.plots import trials as plots
from analysis.plots.scores import histogram
from analysis.study import Study
from study.errors import BadInput
from tests.drawn import words_of
from tests.fake_run import Fake, make_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return analysis.load(folder)


def test_trade_shows_floor_base_and_choice_with_units(study: Study) -> None:
    text = words_of(study.plots.trade())
    for word in ("floor", "base", "chosen", "FPR95, ID positive (%)", "ID accuracy (%)"):
        assert word in text


def test_slices_cover_every_searched_parameter(study: Study) -> None:
    figures = study.plots.slices()
    assert tuple(figures) == study.searched
    assert figures["param/train.lr"].axes[0].get_xscale() == "log"
    assert figures["param/train.m_in.sd"].axes[0].get_xscale() == "linear"
    assert "m_in (sd)" in words_of(figures["param/train.m_in.sd"])


@pytest.mark.parametrize("told", [True, False], ids=["as told", "of an older run"])
def test_slice_caps_what_lies_under_the_floor(tmp_path: Path, told: bool) -> None:
    make_run(tmp_path)
    path = tmp_path / "trials.parquet"
    frame = pd.read_parquet(path)
    names = ["val/objective", "val/floor_shortfall", "val/id_accuracy"]
    frame.loc[0, names] = 1.02, 0.02, 0.5
    frame = frame if told else frame.drop(columns="val/floor_shortfall")
    frame.to_parquet(path, index=False)
    figure = plots.slice_of(analysis.load(tmp_path), "param/train.lr")
    assert "× under the floor, ▲ beyond: 1.02" in words_of(figure)
    assert figure.axes[0].get_ylim()[1] < 1.0


def test_parallel_has_an_axis_for_each_parameter_and_the_objective(study: Study) -> None:
    ticks = study.plots.parallel().axes[0].get_xticklabels()
    labels = [one.get_text().replace("\n", "") for one in ticks]
    assert labels == ["lr", "m_in (sd)", "m_out (sd)", "batch_size", "scheduler_step", "Objective"]


def test_parallel_draws_no_objective_that_no_trial_has(tmp_path: Path) -> None:
    make_run(tmp_path)
    path = tmp_path / "trials.parquet"
    frame = pd.read_parquet(path)
    for row, value in ((0, 1.04), (1, 1.86)):
        frame.loc[row, ["val/objective", "val/floor_shortfall", "val/id_accuracy"]] = (
            value,
            0.1,
            0.5,
        )
    frame.to_parquet(path, index=False)
    study = analysis.load(tmp_path)
    axes = study.plots.parallel().axes[0]
    assert "1.04 to 1.86" in words_of(axes.figure)
    lines = [line for line in axes.lines if len(line.get_xdata()) == 6]
    dashed = [line for line in lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[-1] for line in dashed] == [1.0, 1.0]
    # The others end on an axis whose numbers they have: the best at 0, the worst below the top.
    others = sorted(line.get_ydata()[-1] for line in lines if line not in dashed)
    assert (others[0], others[-1]) == (0.0, pytest.approx(0.86))


def test_axes_of_metrics_end_at_100_percent(study: Study) -> None:
    frame = study.trials.assign(**{"val/id_accuracy": 1.0, "val/fpr95": 0.0})
    axes = plots.trade(replace(study, trials=frame)).axes[0]
    assert max(axes.get_xticks()) <= 1.0 or axes.get_xlim()[1] < 1.04
    assert axes.get_xlim()[1] <= 1.03
    assert axes.get_ylim()[0] >= -0.03


def test_learning_shows_every_epoch_of_the_trial(study: Study) -> None:
    figure = study.plots.learning("00000")
    assert [len(axes.lines[0].get_xdata()) for axes in figure.axes] == [4, 4]


def test_learning_of_a_trial_without_epochs_is_refused(study: Study) -> None:
    with pytest.raises(BadInput, match="no epoch of trial 99999"):
        study.plots.learning("99999")


def test_histogram_states_the_share_of_ood_below_the_threshold() -> None:
    figure = histogram(np.arange(100.0), np.arange(45.0, 145.0), "blobs", "energy")
    text = words_of(figure)
    assert "50.0 % of OOD" in text  # 45..94 lie at or below the threshold 94
    assert "ID, n = 100" in text


def test_histograms_give_one_figure_a_set(study: Study) -> None:
    assert set(study.plots.histograms("00000", 1)) == {"objects_val", "blobs"}


def test_plots_leave_the_users_own_style_alone(study: Study) -> None:
    before = dict(mpl.rcParams)
    study.plots.trade()
    assert dict(mpl.rcParams) == before


def test_trade_of_a_study_without_numbers_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("failed",)))
    with pytest.raises(BadInput, match="no trial has a value"):
        analysis.load(tmp_path).plots.trade()
