from __future__ import annotations

import pytest

from analysis.study import Study


@pytest.mark.parametrize("draw", ["trade", "rungs", "times", "calibration"])
def test_figure_fits_a_column(study: Study, draw: str) -> None:
    assert getattr(study.plots, draw)().get_figwidth() <= 3.3
