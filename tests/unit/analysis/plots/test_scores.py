from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.plots.scores import roc_points
from analysis.study import Study
from study.scoring.measuring import ood_metric
from tests.fake_run import Fake, make_run


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("seeing")
    make_run(folder, Fake(num_id=60))
    return analysis.load(folder)


def _texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_roc_points_hold_the_auroc() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=200).round(1), rng.normal(1.0, size=150).round(1)
    accepted, kept = roc_points(inside, outside)
    assert np.trapezoid(kept, accepted) == pytest.approx(ood_metric("auroc", inside, outside))


def test_roc_names_each_set_with_units(study: Study) -> None:
    text = _texts(study.plots.roc("00000", 1))
    for word in ("objects_val, AUROC", "blobs, AUROC", "OOD images accepted (%)"):
        assert word in text


def test_roc_shows_the_base_beside_the_trial_on_every_set(study: Study) -> None:
    figure = study.plots.roc("00000", 1)
    assert _texts(figure).count(", base, AUROC") == len(study.ood_sets)
