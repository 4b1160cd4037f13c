"""``python -m analysis ablation`` and the forest: what readers see of effects."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.__main__ import main
from analysis.plots.ablation import forest
from analysis.report.arms import p_text
from analysis.report.papers import effects_table
from study.errors import BadInput
from tests.fake_ablation import make_ablation

SHIFT = {"energy_weight=0": 0.1, "energy_weight=0.3": -0.1, "plain=sgd": 0.0}
SEEDS = {0: 0.30, 1: 0.41, 2: 0.52}


def _value(arm: str, seed: int) -> float:
    return SEEDS[seed] + SHIFT.get(arm, 0.0) + 0.01 * seed * (arm != "baseline")


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ablation")
    make_ablation(path, _value, failed=[("plain=sgd", 2)])
    return path


def test_ablation_prints_tables_with_floor_and_failures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "FPR95, ID positive (%), against the baseline; baseline 41.0" in out
    assert "lower is better" in out
    line = next(line for line in out.splitlines() if "energy_weight=0.3" in line)
    for cell in ("32.0", "−9.0", "3 of 3", "0.25"):
        assert cell in line
    assert "2 of 3" in next(line for line in out.splitlines() if "plain=sgd" in line)
    assert "no p value can be below 0.25 (2/2^3)" in out
    assert "arm plain=sgd failed at seed 2: epoch 2, step 118: loss is nan" in out
    assert "ID accuracy (%), against the baseline" in out


def test_ablation_as_json_is_the_whole_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(folder), "--json", "--metric", "val/auroc"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in rows] == ["val/auroc"] * 3
    assert rows[2]["num_failed"] == 1
    assert rows[0]["p_floor"] == 0.25


def test_ablation_of_a_wrong_metric_exits_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(folder), "--metric", "val/nothing"]) == 2
    assert "was not recorded" in capsys.readouterr().err


def test_ablation_of_a_path_tells_arms_and_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ("baseline", "lr=0.1", "lr=0.1 + nesterov=false")
    factors = {"lr": [0.1], "nesterov": [False]}
    make_ablation(
        tmp_path, lambda a, s: 0.1 * len(a) + s, arms=arms, design="path", factors=factors
    )
    assert main(["ablation", str(tmp_path)]) == 0
    assert "steps of the path" in capsys.readouterr().out


def test_fractional_design_says_what_its_effects_are_mixed_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factors = {"lr": [0.1], "nesterov": [False], "momentum": [0.5]}
    arms = (
        "baseline",
        "lr=0.1 + momentum=0.5",
        "nesterov=false + momentum=0.5",
        "lr=0.1 + nesterov=false",
    )
    make_ablation(
        tmp_path, lambda a, s: 0.01 * len(a) + s, arms=arms, design="fractional_factorial",
        factors=factors, resolution=3,
    )  # fmt: skip
    assert main(["ablation", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "main effects" in out
    assert "Resolution 3: each main effect is mixed up" in out


@pytest.mark.parametrize(
    ("p", "text"), [(0.25, "0.25"), (1.0, "1"), (0.00012, "0.00012"), (1e-9, "< 0.0001")]
)
def test_p_text(p: float, text: str) -> None:
    assert p_text(p) == text


def test_forest_shows_every_arm_with_n_failures_and_units(folder: Path) -> None:
    study = analysis.load(folder)
    texts = _texts(study.plots.effects())
    assert {"energy_weight=0", "energy_weight=0.3", "plain=sgd"} <= set(texts)
    assert "n = 2, 1 failed" in texts
    assert any("difference from baseline, points" in text and "better" in text for text in texts)


def test_forest_colours_whole_intervals_by_their_side(folder: Path) -> None:
    study = analysis.load(folder)
    table = study.effects("val/fpr95")
    lines = [
        line for line in forest(study, table=table).axes[0].lines if len(line.get_xdata()) == 2
    ][1:]
    assert [line.get_color() for line in lines] == ["#D55E00", "#0072B2", "#767676"]


def test_forest_without_pairs_is_refused(tmp_path: Path) -> None:
    failed = [("baseline", seed) for seed in range(3)]
    study = make_ablation(tmp_path, _value, failed=failed)
    with pytest.raises(BadInput, match="nothing to draw"):
        forest(study, "val/fpr95")


def test_latex_table_tells_what_each_effect_is_against(folder: Path) -> None:
    study = analysis.load(folder)
    table = study.effects("val/fpr95")
    steps = table.assign(kind="step")
    text = effects_table(study, pd.concat([table, steps], ignore_index=True))
    assert "FPR95, ID positive, points, against the baseline" in text
    assert "FPR95, ID positive, points, steps of the path" in text
    assert text.count("energy\\_weight=0.3 & $-9.00$") == 2
