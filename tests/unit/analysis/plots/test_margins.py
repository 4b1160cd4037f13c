from __future__ import annotations

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.study import Study
from tests.fake_run import Fake, make_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("seeing")
    make_run(folder, Fake(num_id=60))
    return analysis.load(folder)


def _texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_energies_show_both_margins_and_the_base(study: Study) -> None:
    text = _texts(study.plots.energies("00000", 4))
    for word in ("Base", "Trial 00000", "m_in", "m_out", "nats"):
        assert word in text
