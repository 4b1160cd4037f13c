from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated.studies import EQUAL, make_cells, true_fpr95

import analysis
from analysis.__main__ import main
from analysis.choice.alternatives import HALF, RULES, STATED, alternatives, halves, knee, stability
from analysis.choice.cells import Cells, NoScores
from study.records.files import VAL_ID
from tests.fake_run import Fake, make_run


def _accurate_but_blind() -> Cells:
    """Two trials: one detects, the other is right more often; its last epoch is spoilt."""
    cells = make_cells(np.random.default_rng(0), (2.5, 1.0), correlated=0.3, epochs=2)
    right = np.ones_like(cells.correct)
    right[cells.trial == 0, ::20] = False
    return replace(cells, correct=right, floor=0.5)


def test_alternatives_have_a_row_a_rule_and_every_regret() -> None:
    table = alternatives(_accurate_but_blind(), num_splits=10)
    assert list(table["rule"]) == list(RULES)
    for rule in RULES:
        own = table.loc[table["rule"] == rule, f"regret/{rule}"]
        assert own.tolist() == [0.0]
        assert (table[f"regret/{rule}_low"] <= table[f"regret/{rule}_high"]).all()


def test_choosing_by_id_accuracy_alone_costs_what_it_costs() -> None:
    table = alternatives(_accurate_but_blind(), num_splits=10).set_index("rule")
    assert table.loc[STATED, "trial_id"] == "00000"
    assert table.loc["ID accuracy", "trial_id"] == "00001"
    regret = table.loc["ID accuracy", f"regret/{STATED}"]
    held_back = table["held_back"]
    assert regret == pytest.approx(held_back["ID accuracy"] - held_back[STATED])
    assert regret > 0.3
    assert table.loc[STATED, "regret/ID accuracy"] == -regret


def test_best_epoch_and_last_epoch_differ_where_training_spoils_a_trial() -> None:
    cells = _accurate_but_blind()
    scores = {name: one.copy() for name, one in cells.scores.items()}
    scores["a"][1] -= 2.0
    table = alternatives(replace(cells, scores=scores), num_splits=5).set_index("rule")
    assert table.loc["best epoch", "epoch"] == 1
    assert table.loc["last epoch", f"regret/{STATED}"] > 0.2


def test_what_was_chosen_on_a_half_is_judged_on_the_other() -> None:
    cells = make_cells(
        np.random.default_rng(0), EQUAL, correlated=0.0, epochs=1, num_id=200, num_ood=100
    )
    held_back = alternatives(cells, num_splits=30).set_index("rule")["held_back"]
    # On the half that it was chosen on, the best of twenty equals does better by .1.
    assert held_back[STATED] == pytest.approx(true_fpr95(1.8), abs=0.03)


def test_floor_kept_is_of_the_chosen_trial() -> None:
    cells = make_cells(np.random.default_rng(0), (1.0, 2.5), correlated=0.3, epochs=1)
    right = np.ones_like(cells.correct)
    right[1, ::5] = False  # 0.8, where 0.9 is asked for
    kept = alternatives(replace(cells, correct=right, floor=0.9), num_splits=5)
    assert kept.set_index("rule").loc[[STATED, "ID accuracy"], "floor_kept"].tolist() == [1, 1]


def test_alternatives_without_an_ood_set_rank_by_the_metric() -> None:
    cells = _accurate_but_blind()
    alone = {"scores": {VAL_ID: cells.scores[VAL_ID]}, "groups": {VAL_ID: cells.groups[VAL_ID]}}
    table = alternatives(replace(cells, **alone, metric="id_accuracy"), num_splits=3)
    assert set(table["trial_id"]) == {"00001"}
    assert np.isfinite(table["held_back"]).all()


def test_halves_part_sources_and_leave_no_image_out() -> None:
    cells = make_cells(np.random.default_rng(0), (1.0,), correlated=0.0, crops=10, num_ood=110)
    (block,) = halves(cells, 6, seed=0)
    rows = block["a"].rows
    assert (rows[:, :6] + rows[:, 6:] == 1).all()
    for source in np.unique(cells.groups["a"]):
        together = rows[cells.groups["a"] == source]
        assert (together == together[0]).all()
    assert set(rows[:, :6].sum(axis=0)) == {50.0}


def test_halves_of_a_set_with_one_source_are_refused() -> None:
    cells = make_cells(np.random.default_rng(0), (1.0,), correlated=0.0, crops=10, num_ood=10)
    with pytest.raises(NoScores, match="a has a single source"):
        list(halves(cells, 3, seed=0))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.5, 0.9), (0.2, 0.89), (0.1, 0.7)], 1),
        ([(0.5, 0.9), (0.4, 0.7), (0.1, 0.7)], 2),  # dominated ones do not count
        ([(0.5, 0.9), (0.1, 0.7)], 1),  # of two ends the cheaper
        ([(0.5, 0.9)], 0),
    ],
)
def test_knee_is_the_front_point_farthest_from_its_chord(
    points: list[tuple[float, float]], expected: int
) -> None:
    cost, accuracy = np.array(points).T
    assert knee(cost, accuracy) == expected


def _sets_disagree() -> Cells:
    """Trial 0 is best on both together by its lead on ``a``; trial 1 is better on ``b``."""
    cells = make_cells(np.random.default_rng(0), (1.0, 1.0), correlated=0.5, epochs=1)
    scores = {name: one.copy() for name, one in cells.scores.items()}
    scores["a"][0] += 2.0
    scores["b"][1] += 0.5
    return replace(cells, scores=scores)


def test_stability_leaves_each_set_out() -> None:
    table = stability(_sets_disagree(), num_resamples=50).set_index("left_out")
    assert table["trial_id"].to_dict() == {"a": "00001", "b": "00000"}
    assert table["same"].to_dict() == {"a": 0.0, "b": 1.0}
    assert table.loc["b", "regret"] == 0.0
    regret = table.loc["a"]
    assert 0.3 < regret["regret_low"] < regret["regret"] < regret["regret_high"]


def test_stability_with_one_set_takes_halves() -> None:
    table = stability(_sets_disagree().without("b"), num_splits=10)
    assert table["left_out"].tolist() == [HALF]
    assert table["trial_id"].tolist() == ["00000"]
    assert table["same"].tolist() == [1.0]


def test_stability_of_a_choice_by_id_accuracy_takes_halves() -> None:
    table = stability(replace(_sets_disagree(), metric="id_accuracy"), num_splits=10)
    assert table["left_out"].tolist() == [HALF]


def test_select_command_tells_alternatives_and_correction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, Fake(statuses=("finished",) * 3, epochs=2, num_id=60))
    assert main(["select", str(tmp_path), "--alternatives"]) == 0
    text = capsys.readouterr().out
    assert "Corrected for being the best of 3 candidates:" in text
    assert "Not repeated, and not corrected for: what " in text
    assert "Chosen in the resamples of the selection:" in text
    assert "against Pareto knee" in text
    assert "objects_val" in text
    assert main(["select", str(tmp_path), "--alternatives", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["corrected_value"] == analysis.load(tmp_path).correct().corrected
    assert [row["rule"] for row in content["alternatives"]] == list(RULES)
    assert {row["left_out"] for row in content["stability"]} == {"objects_val", "blobs"}


def test_select_command_without_scores_says_why_there_is_no_correction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 2, epochs=1, num_id=60))
    run.trial_scores("00001").unlink()
    assert main(["select", str(tmp_path)]) == 0
    assert "Not corrected for being the best of" in capsys.readouterr().out
    assert main(["select", str(tmp_path), "--alternatives"]) == 1
    assert "scores of 00001 are missing" in capsys.readouterr().err
