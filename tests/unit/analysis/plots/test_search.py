from __future__ import annotations

import pytest

from analysis.plots import search as plots_search
from analysis.plots.search import rungs_of
from analysis.results.importance import FANOVA, importance
from analysis.study import Study
from study.errors import BadInput
from tests.drawn import words_of
from tests.fake_search import fake_search

DRAWS = {"x": lambda rng: float(rng.uniform()), "y": lambda rng: float(rng.uniform(1, 9))}


def test_rungs_count_the_trials_that_still_run(study: Study) -> None:
    assert rungs_of(study) == (1, 3)
    text = words_of(study.plots.rungs())
    assert "10" in text.split()  # all ten reached the first epoch
    assert "Trials" in text


def test_contour_needs_two_parameters_with_numbers() -> None:
    draws = {**DRAWS, "word": lambda rng: str(rng.choice(["a", "b"]))}
    study = fake_search(lambda p: float(p["x"]), draws, 20)
    figure = study.plots.contour("param/train.x", "param/train.y")
    assert "Rank (0 = best)" in words_of(figure)
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
