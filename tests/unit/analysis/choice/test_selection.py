from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.selection import (
    NoSelection,
    base_scores,
    describe_rule,
    metric_interval,
    rank_candidates,
    scores_at,
    select,
)
from analysis.tables import Records
from study.errors import BadInput
from study.records.files import VAL_ID, RunFolder
from study.records.scores import ValidationScores
from study.scoring.measuring import fpr_at_recall
from tests.fake_run import Fake, make_run


def _study(rows: list[dict[str, object]], floor: float | None = 0.79) -> Records:
    """A study of hand-made finished trials without score files."""
    defaults = {"status": "finished", "checkpoint_epoch": 1, "val/auroc": 0.9}
    trials = pd.DataFrame([defaults | row for row in rows])
    manifest = {"own_score": "energy", "floor": {"value": floor, "how": "0.01 below the base"}}
    return Records(RunFolder(Path("run")), trials, pd.DataFrame(), manifest=manifest)


def _row(trial_id: str, fpr95: float, accuracy: float, **more: object) -> dict[str, object]:
    return {"trial_id": trial_id, "val/fpr95": fpr95, "val/id_accuracy": accuracy, **more}


def test_select_takes_the_lowest_metric_above_the_floor() -> None:
    study = _study([_row("a", 0.2, 0.78), _row("b", 0.4, 0.80), _row("c", 0.3, 0.79)])
    chosen = select(study)
    assert chosen.trial_id == "c"
    assert chosen.value == 0.3
    assert chosen.interval is None
    assert list(chosen.candidates["trial_id"]) == ["c", "b", "a"]
    assert chosen.candidates["rank"].isna().tolist() == [False, False, True]


def test_select_never_takes_a_trial_that_did_not_finish() -> None:
    pruned = _row("a", 0.1, 0.9, status="pruned")
    paused = _row("b", 0.1, 0.9, status="paused")
    assert select(_study([pruned, paused, _row("c", 0.5, 0.8)])).trial_id == "c"


def test_select_breaks_ties_by_auroc_then_by_trial_id() -> None:
    rows = [
        _row("c", 0.3, 0.8, **{"val/auroc": 0.95}),
        _row("b", 0.3, 0.8, **{"val/auroc": 0.95}),
        _row("a", 0.3, 0.8, **{"val/auroc": 0.94}),
    ]
    assert list(rank_candidates(_study(rows))["trial_id"]) == ["b", "c", "a"]


def test_select_of_a_metric_to_maximise_takes_the_highest() -> None:
    rows = [_row("a", 0.3, 0.80), _row("b", 0.2, 0.81)]
    study = replace(_study(rows), spec={"select": {"metric": "val/id_accuracy"}})
    assert select(study).trial_id == "b"


def test_select_without_a_floor_takes_the_best_of_all() -> None:
    assert select(_study([_row("a", 0.2, 0.1), _row("b", 0.4, 0.8)], floor=None)).trial_id == "a"


def test_select_under_the_floor_says_by_how_much() -> None:
    study = _study([_row("a", 0.2, 0.70), _row("b", 0.4, 0.78)])
    with pytest.raises(NoSelection, match=r"none of the 2 .* trial b with 0.7800, 1.00 points"):
        select(study)


def test_select_with_all_trials_failed_says_so() -> None:
    study = _study([_row("a", float("nan"), float("nan"), status="failed")])
    with pytest.raises(NoSelection, match=r"no trial finished \(1 failed\)"):
        select(study)


def test_select_of_an_empty_study_says_so(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=()))
    with pytest.raises(NoSelection, match="the study has no trials"):
        analysis.load(tmp_path).select()


def test_select_by_a_metric_that_was_not_recorded_names_those_that_were() -> None:
    study = replace(_study([_row("a", 0.2, 0.8)]), spec={"select": {"metric": "val/aupr_in"}})
    with pytest.raises(BadInput, match=r"val/aupr_in: .*was not recorded.*val/fpr95"):
        select(study)


def test_select_of_one_trial_works(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), below_base=None))
    assert analysis.load(tmp_path).select().trial_id == "00000"


def test_selected_value_and_threshold_follow_from_the_stored_scores(tmp_path: Path) -> None:
    make_run(tmp_path)
    study = Records.read(tmp_path)
    chosen = select(study)
    scores = scores_at(study, chosen.trial_id, chosen.epoch)
    id_scores = scores[VAL_ID].scores["energy"][0]
    fprs = [fpr_at_recall(id_scores, scores[s].scores["energy"][0]) for s in study.ood_sets]
    assert chosen.value == pytest.approx(np.mean(fprs), abs=1e-12)
    assert chosen.interval is not None
    assert chosen.interval.low < chosen.value < chosen.interval.high
    assert chosen.threshold is not None
    assert np.mean(id_scores <= chosen.threshold) >= 0.95


def test_interval_by_source_group_is_wider_than_by_image(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=("finished",), num_id=3000, ood_sets={"crops": (800, 20)}))
    study = Records.read(tmp_path)
    scores = scores_at(study, "00000", 1)
    by_group = metric_interval(study, scores, "val/fpr95")
    alone = {name: replace(one, group=one.image) for name, one in scores.items()}
    by_image = metric_interval(study, alone, "val/fpr95")
    assert by_group is not None
    assert by_image is not None
    assert by_group.high - by_group.low > 1.3 * (by_image.high - by_image.low)


def test_interval_of_id_accuracy_matches_the_normal_approximation(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=2000))
    study = Records.read(tmp_path)
    scores = scores_at(study, "00000", 1)
    interval = metric_interval(study, scores, "val/id_accuracy")
    accuracy = np.mean(scores[VAL_ID].prediction[0] == scores[VAL_ID].label)
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert interval is not None
    assert interval.low == pytest.approx(accuracy - half, abs=0.004)
    assert interval.high == pytest.approx(accuracy + half, abs=0.004)


def test_interval_of_the_objective_is_none(tmp_path: Path) -> None:
    make_run(tmp_path)
    study = Records.read(tmp_path)
    assert metric_interval(study, scores_at(study, "00000", 1), "val/objective") is None


def test_scores_at_an_epoch_that_was_not_reported_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path)
    with pytest.raises(BadInput, match="epoch 99 was not reported"):
        scores_at(Records.read(tmp_path), "00000", 99)


def test_interval_on_a_full_validation_takes_under_two_seconds(tmp_path: Path) -> None:
    sets = {"a": (2000, 20), "b": (2000, 1)}
    make_run(tmp_path, Fake(statuses=("finished",), epochs=1, num_id=5000, ood_sets=sets))
    study = Records.read(tmp_path)
    scores = scores_at(study, "00000", 1)
    start = time.process_time()
    metric_interval(study, scores, "val/fpr95")
    assert time.process_time() - start < 2.0


def _ablation(rows: list[dict[str, object]], seeds: int = 3) -> Records:
    return replace(_study(rows), spec={"ablate": {"seeds": list(range(seeds))}})


def _arm(arm: str, first: int, *values: float, accuracy: float = 0.8) -> list[dict[str, object]]:
    names = [f"{first + i:05d}" for i in range(len(values))]
    return [
        _row(name, value, accuracy, arm=arm) for name, value in zip(names, values, strict=True)
    ]


def test_select_of_an_ablation_takes_the_best_mean_and_its_median_seed() -> None:
    lucky, steady = _arm("lucky", 0, 0.1, 0.6, 0.5), _arm("steady", 3, 0.33, 0.25, 0.3)
    chosen = select(_ablation([*lucky, *steady]))
    assert chosen.trial_id == "00005"
    assert chosen.value == pytest.approx((0.33 + 0.25 + 0.3) / 3)
    assert chosen.seed_trials == ("00003", "00004", "00005")
    assert list(chosen.candidates["arm"]) == ["steady", "lucky"]
    assert list(chosen.candidates["num_seeds"]) == [3, 3]
    assert chosen.compared == [f"{i:05d}" for i in range(6)]
    assert "median seed is exported" in chosen.rule


def test_select_of_an_even_number_of_seeds_exports_the_worse_of_the_middle_two() -> None:
    study = _ablation(_arm("a", 0, 0.4, 0.1, 0.2, 0.3), seeds=4)
    assert select(study).trial_id == "00003"


def test_select_of_an_ablation_holds_the_floor_by_the_mean_and_exports_no_seed_below_it() -> None:
    rows = _arm("a", 0, 0.1, 0.2, 0.3)
    for row, accuracy in zip(rows, (0.85, 0.78, 0.80), strict=True):
        row["val/id_accuracy"] = accuracy
    below = _arm("b", 3, 0.05, 0.05, 0.05, accuracy=0.7)
    chosen = select(_ablation([*rows, *below]))
    assert chosen.trial_id == "00002"
    assert chosen.candidates["passes_floor"].tolist() == [True, False]


def test_select_of_an_ablation_passes_over_an_arm_with_few_seeds() -> None:
    chosen = select(_ablation([*_arm("few", 0, 0.1), *_arm("all", 1, 0.3, 0.3, 0.4)]))
    assert list(chosen.candidates["arm"]) == ["all"]
    with pytest.raises(NoSelection, match="more than half of its 3 seeds"):
        select(_ablation(_arm("few", 0, 0.1)))


def test_select_takes_equal_parameters_as_one_candidate() -> None:
    rates = {"a": 0.1, "b": 0.1, "c": 0.2}
    values = {"a": 0.1, "b": 0.5, "c": 0.25}
    rows = [_row(name, values[name], 0.8, **{"param/lr": rate}) for name, rate in rates.items()]
    assert select(_study(rows)).trial_id == "c"


def test_select_without_numbers_says_so() -> None:
    study = _study([_row("a", float("nan"), 0.8), _row("b", 0.3, 0.8, checkpoint_epoch=pd.NA)])
    with pytest.raises(NoSelection, match="none of the 2 finished trials has numbers for"):
        select(study)


def test_scores_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",), epochs=1, num_id=40))
    scores = ValidationScores.load(run.trial_scores("00000"))
    scores.sets["blobs"].scores["energy"][0, 2] = np.inf
    scores.save(run.trial_scores("00000"))
    with pytest.raises(BadInput, match="epoch 1: 1 of 150 scores of blobs are no numbers"):
        scores_at(Records.read(tmp_path), "00000", 1)


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"metric": "val/fpr95"}, "The lowest val/fpr95 among finished trials with val/id_acc"),
        ({"metric": "val/auroc"}, "The highest val/auroc among finished trials"),
        ({"checkpoint": "best"}, "each taken at its best epoch"),
        ({"checkpoint": "last"}, "each taken at its last epoch; ties go to the higher val/auroc"),
    ],
)
def test_describe_rule_says_metric_direction_and_epoch(chosen: dict[str, str], told: str) -> None:
    study = replace(_study([_row("a", 0.2, 0.8)]), spec={"select": chosen})
    assert told in describe_rule(study)


def test_base_scores_are_of_its_one_epoch_or_none_where_none_were_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished",), num_id=40))
    scores = base_scores(Records.read(tmp_path), "00000")
    assert scores is not None
    assert scores[VAL_ID].prediction.shape == (1, 40)
    run.trial_scores("base").unlink()
    assert base_scores(Records.read(tmp_path), "00000") is None


@pytest.mark.parametrize(("num", "told"), [(1, "one candidate"), (4, "4 candidates"), (5, "")])
def test_selection_among_fewer_than_five_candidates_says_so(num: int, told: str) -> None:
    rows = [_row(f"{n:05d}", 0.2 + 0.01 * n, 0.80) for n in range(num)]
    few = select(_study([*rows, _row("00009", 0.1, 0.5)])).few
    assert bool(few) == bool(told)
    assert told in few
