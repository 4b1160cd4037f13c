from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.__main__ import main
from tests.fake_ablation import make_ablation


def test_ablation_prints_tables_with_floor_and_failures(
    ablation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(ablation)]) == 0
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
    ablation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(ablation), "--json", "--metric", "val/auroc"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["metric"] for row in rows] == ["val/auroc"] * 3
    assert rows[2]["num_failed"] == 1
    assert rows[0]["p_floor"] == 0.25


def test_ablation_of_a_wrong_metric_exits_2(
    ablation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablation", str(ablation), "--metric", "val/nothing"]) == 2
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
