from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

import analysis
from analysis.report.page import make_report
from study.errors import BadInput
from tests.fake_run import Fake, make_run

pytestmark = pytest.mark.usefixtures("unrendered")

PATHS = Fake(statuses=("finished",) * 4, below_base=0.004, alphas=(0.25, 0.5, 0.75), penalty=0.2)


def test_path_of_the_chosen_trial_is_drawn_from_the_base_to_its_weights(tmp_path: Path) -> None:
    make_run(tmp_path, PATHS)
    study = analysis.load(tmp_path)
    figure = study.plots.trial_path()
    chosen = study.select(1)
    above, below = figure.axes
    heavy = next(line for line in above.lines if line.get_label() == f"epoch {chosen.epoch}")
    assert list(heavy.get_xdata()) == [0, 0.25, 0.5, 0.75, 1]
    assert [line.get_xdata()[0] for line in below.lines if line.get_label() == "chosen"] == [
        chosen.alpha
    ]
    words = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    assert "Place on the path" in words


def test_path_is_shown_on_the_page_with_the_front_over_all_states(tmp_path: Path) -> None:
    make_run(tmp_path, PATHS)
    html = make_report(analysis.load(tmp_path)).html
    assert "The path of the chosen trial from the base" in html
    assert "Small dots: states on their paths" in html
    assert "<th>Alpha</th>" in html


def test_path_of_a_trial_without_one_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, replace(PATHS, alphas=(), num_id=30))
    with pytest.raises(BadInput, match="has no path"):
        analysis.load(tmp_path).plots.trial_path()
