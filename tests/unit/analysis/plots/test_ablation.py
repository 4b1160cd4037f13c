from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.plots.ablation import forest
from analysis.report.page import make_report
from study.errors import BadInput
from tests.drawn import texts_of, words_of
from tests.fake_ablation import make_ablation, shifted

pytestmark = pytest.mark.usefixtures("unrendered")

PATH = ("baseline", "energy_weight=0.3", "energy_weight=0.3 + plain=sgd")


STEPS: dict[str, Any] = {"energy_weight": [0.3], "plain": {"sgd": {"nesterov": False}}}


def _path(folder: Path, **more: Any) -> Any:
    def value(arm: str, seed: int) -> float:
        return 0.5 - 0.1 * PATH.index(arm) + 0.01 * seed * PATH.index(arm)

    return make_ablation(folder, value, arms=PATH, design="path", factors=STEPS, **more)


def test_forest_shows_every_arm_with_n_failures_and_units(ablation: Path) -> None:
    study = analysis.load(ablation)
    texts = texts_of(study.plots.effects())
    assert {"energy_weight=0", "energy_weight=0.3", "plain=sgd"} <= set(texts)
    assert "n = 2, 1 failed" in texts
    assert any("difference from baseline, points" in text and "better" in text for text in texts)


def test_forest_colours_whole_intervals_by_their_side(ablation: Path) -> None:
    study = analysis.load(ablation)
    table = study.effects("val/fpr95")
    lines = [
        line for line in forest(study, table=table).axes[0].lines if len(line.get_xdata()) == 2
    ][1:]
    assert [line.get_color() for line in lines] == ["#D55E00", "#0072B2", "#767676"]


def test_forest_without_pairs_is_refused(tmp_path: Path) -> None:
    failed = [("baseline", seed) for seed in range(3)]
    study = make_ablation(tmp_path, shifted, failed=failed)
    with pytest.raises(BadInput, match="nothing to draw"):
        forest(study, "val/fpr95")


def test_path_names_what_each_step_adds_and_its_difference(tmp_path: Path) -> None:
    words = words_of(_path(tmp_path).plots.path())
    for word in ("baseline", "+ energy_weight=0.3", "+ plain=sgd", "−9.0 [", "n = 3"):
        assert word in words


def test_path_with_failures_counts_them_and_is_in_the_report(tmp_path: Path) -> None:
    study = _path(tmp_path, failed=[(PATH[2], 1)])
    assert "n = 2, 1 failed" in words_of(study.plots.path())
    assert "The path: each arm keeps" in make_report(study).html


def test_path_of_another_design_or_without_a_finished_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="do not follow from each other"):
        make_ablation(tmp_path / "a", lambda arm, seed: 0.5).plots.path()
    with pytest.raises(BadInput, match="no arm has a finished trial"):
        _path(
            tmp_path / "b", failed=[(arm, seed) for arm in PATH for seed in range(3)]
        ).plots.path()
