from __future__ import annotations

import numpy as np
import pytest

from analysis.plots.scores import roc_points
from analysis.study import Study
from study.scoring.measuring import ood_metric
from tests.drawn import words_of


def test_roc_points_hold_the_auroc() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=200).round(1), rng.normal(1.0, size=150).round(1)
    accepted, kept = roc_points(inside, outside)
    assert np.trapezoid(kept, accepted) == pytest.approx(ood_metric("auroc", inside, outside))


def test_roc_names_each_set_with_units(study: Study) -> None:
    text = words_of(study.plots.roc("00000", 1))
    for word in ("objects_val, AUROC", "blobs, AUROC", "OOD images accepted (%)"):
        assert word in text


def test_roc_shows_the_base_beside_the_trial_on_every_set(study: Study) -> None:
    figure = study.plots.roc("00000", 1)
    assert words_of(figure).count(", base, AUROC") == len(study.ood_sets)
