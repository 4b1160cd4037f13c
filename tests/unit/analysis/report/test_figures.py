from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.report.page import make_report
from study.records.files import RunFolder
from tests.fake_ablation import make_ablation
from tests.fake_confirm import FAKE
from tests.fake_run import Fake, make_run

PATH = ("baseline", "energy_weight=0.3", "energy_weight=0.3 + plain=sgd")


STEPS: dict[str, Any] = {"energy_weight": [0.3], "plain": {"sgd": {"nesterov": False}}}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "energy", FAKE)


def _path(folder: Path, **more: Any) -> Any:
    def value(arm: str, seed: int) -> float:
        return 0.5 - 0.1 * PATH.index(arm) + 0.01 * seed * PATH.index(arm)

    return make_ablation(folder, value, arms=PATH, design="path", factors=STEPS, **more)


def test_report_of_an_ablation_names_arms_seeds_and_their_panels(tmp_path: Path) -> None:
    study = _path(tmp_path)
    for number in range(3):
        panel = RunFolder(tmp_path).panel(f"{number:05d}", 1)
        panel.parent.mkdir(parents=True)
        panel.write_bytes(b"\x89PNG")
    html = make_report(study).html
    assert "path ablation, seeds 0, 1, 2" in html
    assert html.count("data:image/png;base64") == 3
    assert "Reconstructions and saliency maps: baseline, trial 00000, epoch 1" in html
    assert "Prefer the other" not in html


def test_panel_of_another_trial_stands_in_where_the_chosen_one_left_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30, statuses=("finished",) * 2, epochs=2))
    study = analysis.load(tmp_path)
    (other,) = set(study.trials["trial_id"]) - {study.select(10).trial_id}
    panel = run.panel(other, 2)
    panel.parent.mkdir(parents=True)
    panel.write_bytes(b"\x89PNG")
    assert f"maps: trial {other}, epoch 2" in make_report(study).html
