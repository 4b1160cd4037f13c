from __future__ import annotations

from pathlib import Path

import analysis
from tests.fake_run import make_run


def test_expected_draws_what_was_seen_and_what_was_not(tmp_path: Path) -> None:
    make_run(tmp_path)
    study = analysis.load(tmp_path)
    budget = study.budget()
    (axes,) = study.plots.expected(budget).axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn["as seen"] == budget.table["seen"].tolist()
    assert drawn["other images"] == budget.table["other"].tolist()
