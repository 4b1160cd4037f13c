"""Effects of arms by hand, with failures counted, and main effects of factorial designs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.report.arms import effect_notes
from analysis.results.effects import arm_levels, arm_means, effects
from study.errors import BadInput
from study.records.files import LOOK, RunFolder
from study.records.ledger import Ledger
from study.space.ablation.designs import Factor, Level, make_arms
from tests.fake_ablation import ARMS, make_ablation
from tests.fake_run import Fake, make_run

BASE = {0: 0.30, 1: 0.40, 2: 0.50}
SHIFT = {
    "energy_weight=0": {0: 0.10, 1: 0.20, 2: 0.30},
    "energy_weight=0.3": {0: -0.05, 1: -0.05, 2: -0.05},
    "plain=sgd": {0: 0.0, 1: 0.1, 2: -0.1},
}


def _value(arm: str, seed: int) -> float:
    return BASE[seed] + SHIFT.get(arm, {}).get(seed, 0.0)


def _row(table: pd.DataFrame, effect: str, kind: str = "arm") -> pd.Series:
    rows = table[(table["effect"] == effect) & (table["kind"] == kind)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_effects_of_arms_by_hand(tmp_path: Path) -> None:
    table = make_ablation(tmp_path, _value).effects("val/fpr95")
    assert table["effect"].tolist() == list(ARMS[1:])
    row = _row(table, "energy_weight=0")
    assert (row["n"], row["num_seeds"], row["num_failed"], row["num_missing"]) == (3, 3, 0, 0)
    assert row["reference_mean"] == pytest.approx(0.4)
    assert row["mean"] == pytest.approx(0.2)
    assert row["sd"] == pytest.approx(0.1)
    assert row["standardised"] == pytest.approx(2.0)
    assert row["high"] - row["low"] == pytest.approx(2 * 4.302653 * 0.1 / 3**0.5, abs=1e-6)
    assert (row["p"], row["p_floor"], row["p_holm"]) == (0.25, 0.25, 0.75)
    assert (row["method"], row["direction"], row["reference"]) == ("t", "min", "baseline")
    assert _row(table, "plain=sgd")["mean"] == pytest.approx(0.0)


def test_effects_columns_are_the_documented_ones(tmp_path: Path) -> None:
    table = make_ablation(tmp_path, _value).effects()
    assert table.columns.tolist() == [
        "metric", "kind", "effect", "reference", "num_seeds", "n", "num_failed",
        "num_failed_reference", "num_stopped", "num_missing", "reference_mean", "mean", "sd",
        "low", "high", "method", "standardised", "p", "p_floor", "p_holm", "direction",
    ]  # fmt: skip
    assert all(f"{name}" in (effects.__doc__ or "") for name in table.columns)
    assert table["metric"].unique().tolist() == ["val/fpr95", "val/id_accuracy"]


def test_failed_trial_of_an_arm_is_counted_and_its_pair_left_out(tmp_path: Path) -> None:
    study = make_ablation(tmp_path, _value, failed=[("energy_weight=0", 1)])
    row = _row(study.effects("val/fpr95"), "energy_weight=0")
    assert (row["n"], row["num_failed"], row["num_failed_reference"]) == (2, 1, 0)
    assert row["mean"] == pytest.approx((0.1 + 0.3) / 2)
    assert row["reference_mean"] == pytest.approx(0.4)


def test_failed_baseline_is_counted_at_every_arm(tmp_path: Path) -> None:
    table = make_ablation(tmp_path, _value, failed=[("baseline", 2)]).effects("val/fpr95")
    assert table["num_failed_reference"].tolist() == [1, 1, 1]
    assert table["n"].tolist() == [2, 2, 2]


def test_arm_that_always_failed_has_no_number_and_no_share_in_holm(tmp_path: Path) -> None:
    failed = [("plain=sgd", seed) for seed in (0, 1, 2)]
    table = make_ablation(tmp_path, _value, failed=failed).effects("val/fpr95")
    row = _row(table, "plain=sgd")
    assert (row["n"], row["num_failed"]) == (0, 3)
    assert pd.isna(row[["mean", "sd", "low", "high", "p", "p_holm"]]).all()
    assert _row(table, "energy_weight=0")["p_holm"] == 0.5  # two tests, not three


def test_stopped_arm_is_told_with_its_caveat_and_its_trials_are_no_failures(
    tmp_path: Path,
) -> None:
    seeds, rule = (0, 1, 2, 3, 4), {"alpha": 0.05, "min_seeds": 3, "margin": 0.0}
    gone = [("energy_weight=0", 3), ("energy_weight=0", 4)]
    make_ablation(
        tmp_path, lambda arm, seed: _value(arm, seed % 3), seeds=seeds, stopped=gone, stop=rule
    )
    found = {"arm": "energy_weight=0", "n": 3, "mean": 0.2, "sd": 0.1, "bound": 0.1}
    others = [{"arm": arm, "n": 3, "stopped": False} for arm in ARMS[2:]]
    with Ledger(RunFolder(tmp_path).ledger) as ledger:
        ledger.append(LOOK, seeds=3, level=0.025, arms=[{**found, "stopped": True}, *others])
        ledger.append(LOOK, seeds=4, level=0.025, arms=others)
    study = analysis.load(tmp_path)
    table = study.effects("val/fpr95")
    counted = ["n", "num_failed", "num_stopped", "num_missing"]
    assert _row(table, "energy_weight=0")[counted].tolist() == [3, 0, 2, 0]
    assert _row(table, "plain=sgd")[counted].tolist() == [5, 0, 0, 0]
    notes = [note for note in effect_notes(study, table) if "energy_weight=0:" in note]
    (note,) = notes
    assert "stopped after 3 of 5 seeds by the rule, at look 1, with 3 pairs" in note
    assert "biased away from zero" in note
    assert any("alpha 0.05 over 2 looks" in one for one in effect_notes(study, table))
    assert study.status_counts() == {"finished": 18, "stopped": 2}


def test_pruned_and_unbegun_trials_are_missing_not_failed(tmp_path: Path) -> None:
    study = make_ablation(
        tmp_path, lambda a, s: None if (a, s) == ("plain=sgd", 0) else _value(a, s), begun=10
    )
    table = study.effects("val/fpr95")
    # Of the last seed baseline and the first arm have begun.
    assert table["num_missing"].tolist() == [0, 1, 2]
    assert table["n"].tolist() == [3, 2, 1]
    assert table["num_failed"].tolist() == [0, 0, 0]


def test_arm_means_over_seeds(tmp_path: Path) -> None:
    means = arm_means(make_ablation(tmp_path, _value, failed=[("plain=sgd", 0)]), "val/fpr95")
    assert means["arm"].tolist() == list(ARMS)
    assert means["mean"].tolist() == pytest.approx([0.4, 0.6, 0.35, (0.5 + 0.4) / 2])
    assert means["n"].tolist() == [3, 3, 3, 2]
    assert means["num_failed"].tolist() == [0, 0, 0, 1]
    assert means["sd"].iloc[0] == pytest.approx(0.1)


def test_path_tells_each_step_against_the_one_before(tmp_path: Path) -> None:
    arms = ("baseline", "lr=0.1", "lr=0.1 + nesterov=false")
    values = dict(zip(arms, (0.5, 0.4, 0.1), strict=True))
    factors = {"lr": [0.1], "nesterov": [False]}
    study = make_ablation(
        tmp_path, lambda arm, _: values[arm], arms=arms, design="path", factors=factors
    )
    table = study.effects("val/fpr95")
    assert _row(table, arms[2])["mean"] == pytest.approx(-0.4)
    step = _row(table, arms[2], "step")
    assert (step["reference"], step["mean"]) == (arms[1], pytest.approx(-0.3))
    assert _row(table, arms[1], "step")["reference"] == "baseline"


FACTORS = {"lr": [0.1, 0.2], "nesterov": [False], "momentum": [0.5]}


def _factorial(path: Path, design: str, **more: object) -> analysis.study.Study:
    factors = [
        Factor(name, tuple(Level(str(v).lower(), {name: v}) for v in levels), named=False)
        for name, levels in FACTORS.items()
    ]
    if design == "fractional_factorial":
        factors[0] = Factor("lr", factors[0].levels[:1], named=False)
    arms = [arm.name for arm in make_arms(design, factors)]  # type: ignore[arg-type]
    worth = {"lr=0.1": 0.1, "lr=0.2": 0.2, "nesterov=false": -0.03, "momentum=0.5": 0.0}

    def value(arm: str, seed: int) -> float:
        return 0.3 + 0.01 * seed + sum(worth[part] for part in arm.split(" + ") if part in worth)

    return make_ablation(path, value, arms=arms, design=design, factors=FACTORS, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("design", ["factorial", "fractional_factorial"])
def test_main_effects_of_additive_factors_are_exact(tmp_path: Path, design: str) -> None:
    table = _factorial(tmp_path, design).effects("val/fpr95")
    main = table[table["kind"] == "main effect"].set_index("effect")
    wanted = {"lr=0.1": 0.1, "lr=0.2": 0.2, "nesterov=false": -0.03, "momentum=0.5": 0.0}
    if design == "fractional_factorial":
        del wanted["lr=0.2"]
    assert main.index.tolist() == list(wanted)
    assert main["mean"].tolist() == pytest.approx(list(wanted.values()))
    assert main["n"].tolist() == [3] * len(wanted)
    assert set(main["reference"]) == {f"{name} of the baseline" for name in FACTORS}


def test_main_effects_of_a_seed_with_a_failure_are_left_out_and_counted(tmp_path: Path) -> None:
    table = _factorial(tmp_path, "factorial", failed=[("lr=0.2", 1)]).effects("val/fpr95")
    main = table[table["kind"] == "main effect"].set_index("effect")
    assert main.loc["lr=0.2", ["n", "num_failed"]].tolist() == [2, 1]
    assert main.loc["lr=0.1", ["n", "num_failed"]].tolist() == [3, 0]
    assert main.loc["nesterov=false", ["n", "num_failed_reference"]].tolist() == [2, 1]
    assert main.loc["nesterov=false", "mean"] == pytest.approx(-0.03)


def test_main_effects_of_arms_that_are_no_design_are_not_told(tmp_path: Path) -> None:
    # Five of twelve arms have begun: lr=0.2 would be mixed up with nesterov and momentum.
    table = _factorial(tmp_path, "factorial", seeds=(0,), begun=5).effects("val/fpr95")
    main = table[table["kind"] == "main effect"].set_index("effect")
    assert main["n"].max() == 0
    assert main["mean"].isna().all()


def test_interval_of_an_arm_covers_its_true_effect(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    draws = {(arm, seed): rng.normal() for arm in ("baseline", "lr=0.1") for seed in range(12)}
    study = make_ablation(
        tmp_path,
        lambda arm, seed: draws[arm, seed] + 3 * (arm != "baseline"),
        arms=("baseline", "lr=0.1"),
        seeds=range(12),
        factors={"lr": [0.1]},
    )
    row = study.effects("val/fpr95").iloc[0]
    assert row["method"] == "bootstrap"
    assert row["low"] < 3 < row["high"]
    assert row["p_holm"] < 0.05


@pytest.mark.parametrize(
    ("arm", "levels"),
    [
        ("baseline", {}),
        ("a=x", {"a": "x"}),
        ("a=1e+20 + model.b=y", {"a": "1e+20", "model.b": "y"}),
    ],
)
def test_arm_levels_an_arm_from_its_name(arm: str, levels: dict[str, str]) -> None:
    assert arm_levels(arm) == levels


def test_names_of_arms_that_the_study_makes_are_read_back() -> None:
    factors = [
        Factor("f", (Level("x", {"lr": 0.1}), Level("y z", {"lr": 0.2})), named=True),
        Factor("model.dropout", (Level("1e-05", {"model.dropout": 1e-5}),), named=False),
    ]
    for arm in make_arms("factorial", factors):
        assert arm_levels(arm.name) == dict(arm.levels)


def test_study_that_searched_has_no_effects(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(("finished",), epochs=1, num_id=20, ood_sets={"blobs": (12, 1)}))
    with pytest.raises(BadInput, match="searched parameters and has no arms"):
        analysis.load(tmp_path).effects()


def test_metric_that_was_not_recorded_is_named_with_those_that_were(tmp_path: Path) -> None:
    study = make_ablation(tmp_path, _value)
    with pytest.raises(BadInput, match=r"val/auc: this metric was not recorded; .*val/auroc"):
        study.effects(["val/auc", "val/fpr95"])


def test_ablation_that_has_not_begun_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no trial of this ablation has begun"):
        make_ablation(tmp_path, _value, begun=0).effects()


def test_one_seed_gives_differences_without_intervals(tmp_path: Path) -> None:
    table = make_ablation(tmp_path, _value, seeds=(0,)).effects("val/fpr95")
    assert table["mean"].tolist() == pytest.approx([0.1, -0.05, 0.0])
    assert table["low"].isna().all()
    assert table["method"].isna().all()


def test_several_metrics_are_corrected_apart(tmp_path: Path) -> None:
    table = make_ablation(tmp_path, _value).effects(["val/fpr95", "val/id_accuracy"])
    for _, rows in table.groupby("metric"):
        finite = sorted(rows["p"] * 3)
        assert max(rows["p_holm"]) <= 1
        assert min(rows["p_holm"]) == min(1.0, finite[0])
    assert len(table) == 2 * len(list(itertools.islice(ARMS, 1, None)))


def test_pairs_of_several_hold_outs_are_a_hold_out_and_a_seed(tmp_path: Path) -> None:
    def second(arm: str, seed: int) -> float:  # another base, and an effect of .4 at every seed
        return 0.1 + 0.1 * seed + (0.4 if arm == "energy_weight=0" else 0.0)

    studies = [
        make_ablation(tmp_path / "hold_out_1", _value),
        make_ablation(tmp_path / "hold_out_2", second),
    ]
    row = _row(effects(studies, "val/fpr95"), "energy_weight=0")
    assert (row["n"], row["num_seeds"]) == (6, 6)
    assert row["mean"] == pytest.approx((0.1 + 0.2 + 0.3 + 3 * 0.4) / 6)
    # Over hold-outs: means .2 and .4, of which Student's interval has one degree of freedom.
    assert row["among_high"] - row["among_low"] == pytest.approx(2 * 12.7062 * 0.1, abs=1e-4)


def test_one_hold_out_has_no_interval_over_hold_outs(tmp_path: Path) -> None:
    row = _row(effects([make_ablation(tmp_path, _value)], "val/fpr95"), "energy_weight=0")
    assert (row["n"], np.isnan(row["among_low"])) == (3, True)
