from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated.studies import EQUAL, ONE_BETTER, make_cells, plain_interval, true_fpr95

import analysis
from analysis.choice.cells import Cells, NoScores, all_images, weighed
from analysis.choice.corrected import (
    Correction,
    correct,
    mean_interval,
    pick_on_all,
)
from study.records.files import VAL_ID
from study.records.scores import ValidationScores
from tests.fake_run import Fake, make_run


def _winner(cells: Cells) -> int:
    """The cell that the rule chooses on all images."""
    picks = pick_on_all(cells)
    return int(picks.cell[picks.winner[0], 0])


def _cover(
    separations: Sequence[float], correlated: float, num: int, resamples: int
) -> tuple[int, int, float]:
    """Studies whose corrected and plain intervals cover the truth, and the ratio of widths."""
    covered = plain = 0
    widths, fresh = [], []
    for study in range(num):
        rng = np.random.default_rng([study, len(separations)])
        cells = make_cells(rng, separations, correlated=correlated)
        found = correct(cells, num_resamples=resamples, seed=study)
        winner = _winner(cells)
        truth = true_fpr95(separations[int(cells.trial[winner])])
        covered += found.interval.low <= truth <= found.interval.high
        low, high = plain_interval(cells, winner, resamples, study)
        plain += low <= truth <= high
        again = make_cells(rng, separations, correlated=correlated)
        ends = plain_interval(again, winner, resamples, study)
        widths.append(found.interval.high - found.interval.low)
        fresh.append(ends[1] - ends[0])
    return covered, plain, float(np.mean(widths) / np.mean(fresh))


@pytest.mark.slow
@pytest.mark.parametrize("correlated", [0.0, 0.7])
@pytest.mark.parametrize("separations", [EQUAL, ONE_BETTER], ids=["equal", "one better"])
def test_corrected_interval_covers_the_truth_in_90_of_100_studies(
    separations: tuple[float, ...], correlated: float
) -> None:
    covered, plain, ratio = _cover(separations, correlated, num=100, resamples=400)
    assert covered >= 90
    assert covered > plain
    assert ratio <= 1.5


def test_corrected_interval_covers_where_the_plain_one_does_not() -> None:
    covered, plain, ratio = _cover(EQUAL[:8], 0.3, num=12, resamples=100)
    assert covered >= 11
    assert plain <= 9
    assert ratio <= 1.5


@pytest.mark.parametrize("num", [2, 3, 5, 8])
def test_correction_on_very_few_images_leaves_out_resamples_that_hold_all(num: int) -> None:
    cells = make_cells(
        np.random.default_rng(0), (1.8, 2.3), correlated=0.0, num_id=20, num_ood=num
    )
    found = correct(cells, num_resamples=100)
    assert 0 <= found.interval.low <= found.interval.high <= 1


def test_correction_on_a_single_source_says_that_it_cannot_be_had() -> None:
    cells = make_cells(np.random.default_rng(0), (1.8, 2.3), correlated=0.0, num_ood=8, crops=8)
    with pytest.raises(NoScores, match="a has a single source"):
        correct(cells, num_resamples=10)


def test_correction_of_a_single_trial_changes_next_to_nothing() -> None:
    cells = make_cells(np.random.default_rng(0), (1.8,), correlated=0.0, epochs=1)
    found = correct(cells, num_resamples=200)
    assert abs(found.optimism) < 0.2 * (found.interval.high - found.interval.low)
    assert list(found.wins["wins"]) == [1.0]


def test_correction_of_a_metric_to_maximise_lowers_it() -> None:
    cells = make_cells(np.random.default_rng(1), EQUAL[:8], correlated=0.0)
    found = correct(replace(cells, metric="auroc"), num_resamples=60)
    assert found.corrected < found.value
    assert found.interval.low < found.corrected < found.interval.high


def test_correction_repeats_by_seed() -> None:
    cells = make_cells(np.random.default_rng(2), EQUAL[:3], correlated=0.0, num_id=200)
    one, again, other = (correct(cells, num_resamples=50, seed=s).corrected for s in (0, 0, 1))
    assert one == again != other


def test_correction_keeps_the_floor_in_every_resample() -> None:
    cells = make_cells(np.random.default_rng(3), (1.8, 2.6), correlated=0.0, epochs=1)
    right = np.ones_like(cells.correct)
    right[1, :200] = False  # the better one is far below the floor
    found = correct(replace(cells, correct=right, floor=0.9), num_resamples=50)
    assert found.trial_ids == ("00000",)
    assert found.wins.set_index("trial_id")["wins"].to_dict() == {"00000": 1.0, "00001": 0.0}


def test_correction_lets_the_floor_move_with_the_base() -> None:
    """The base is wrong on the same images as the trial, so no resample parts them."""
    cells = make_cells(np.random.default_rng(3), (2.6, 1.8), correlated=0.0, epochs=1)
    right = np.ones_like(cells.correct)
    right[0, :100] = False
    fixed = replace(cells, correct=right, floor=0.9)
    moving = replace(fixed, base_correct=right[0], below_base=0.0)
    first = {"00000": 0}
    for name, one in (("fixed", fixed), ("moving", moving)):
        wins = correct(one, num_resamples=100).wins.set_index("trial_id")["wins"]
        first[name] = wins["00000"]
    assert first["moving"] == 1.0
    assert first["fixed"] < 0.8


def test_correction_of_means_over_seeds_covers_the_configuration() -> None:
    covered = 0
    for study in range(10):
        rng = np.random.default_rng([7, study])
        cells = make_cells(
            rng, EQUAL[:5], correlated=0.3, epochs=1, seeds=4, seed_sd=0.2, num_id=300, num_ood=200
        )
        found = correct(cells, num_resamples=100, seed=study)
        assert found.num_seeds == 4
        assert found.num_candidates == 5
        covered += found.interval.low <= true_fpr95(1.8) <= found.interval.high
    assert covered >= 9


def test_luck_of_a_configurations_seeds_is_judged_on_seeds_that_were_left_out() -> None:
    """The images decide nothing: all that the best of four owes to luck are its seeds."""
    cells = make_cells(
        np.random.default_rng([11, 0]), EQUAL[:4], correlated=1.0, epochs=1, seeds=3, seed_sd=0.6,
        num_id=1000, num_ood=1000,
    )  # fmt: skip
    assert correct(cells, num_resamples=60).optimism > 0.05


def test_mean_interval_is_wider_where_seeds_differ() -> None:
    widths = []
    for sd in (0.0, 0.4):
        cells = make_cells(
            np.random.default_rng(5), (1.8,), correlated=0.3, epochs=1, seeds=3, seed_sd=sd
        )
        low, high = mean_interval(cells, num_resamples=200)
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_mean_interval_of_seeds_without_spread_is_that_of_one_of_them() -> None:
    one, three = (
        make_cells(np.random.default_rng(5), (1.8,), correlated=0.3, epochs=1, seeds=seeds)
        for seeds in (1, 3)
    )
    three = replace(three, scores={name: each[[0, 0, 0]] for name, each in one.scores.items()})
    alone, together = (tuple(mean_interval(each, num_resamples=100)) for each in (one, three))
    assert together == pytest.approx(alone)


def test_mean_interval_of_seeds_that_are_all_the_error_is_students() -> None:
    cells = make_cells(
        np.random.default_rng(0), (1.8,), correlated=1.0, epochs=1, seeds=3, seed_sd=0.6,
        num_id=4000, num_ood=4000,
    )  # fmt: skip
    each = np.arcsin(np.sqrt(weighed(cells, iter([all_images(cells)])).cost[:, 0]))
    low, high = np.arcsin(np.sqrt(tuple(mean_interval(cells, num_resamples=1000))))
    assert (high - low) / 2 == pytest.approx(4.303 * each.std(ddof=1) / np.sqrt(3), rel=0.15)


def test_how_a_correction_came_about_tells_of_seeds_where_there_are_several() -> None:
    told = []
    for seeds in (1, 2):
        cells = make_cells(
            np.random.default_rng(1), (1.8, 1.0), correlated=0.3, epochs=1, seeds=seeds, num_id=50
        )
        told.append("the seeds were drawn anew too" in correct(cells, num_resamples=5).how)
    assert told == [False, True]


def test_equal_trials_are_told_apart_by_auroc() -> None:
    cells = make_cells(np.random.default_rng(0), (1.8, 1.8), correlated=0.0, epochs=1)
    scores = {name: one[[0, 0]].copy() for name, one in cells.scores.items()}
    # The same threshold and FPR, but the rest of ID lies lower: a better AUROC.
    cut = np.quantile(scores[VAL_ID][1], 0.5)
    scores[VAL_ID][1][scores[VAL_ID][1] < cut] -= 5.0
    tied = replace(cells, scores=scores)
    assert pick_on_all(tied).winner.tolist() == [1]
    assert correct(tied, num_resamples=40).wins["trial_id"].iloc[0] == "00001"


def _study_with(tmp_path: Path, trial_id: str, change: str) -> analysis.study.Study:
    run = make_run(tmp_path, Fake(statuses=("finished",) * 3, epochs=2, num_id=40))
    path = run.trial_scores(trial_id)
    if change == "missing":
        path.unlink()
    elif change == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        one = ValidationScores.load(path)
        if change == "nan":
            one.sets["blobs"].scores["energy"][0, 3] = np.nan
        if change == "images":
            one.sets["blobs"].image[0] = b"another"
        one.save(path)
    return analysis.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("missing", "scores of 00002 are missing"),
        ("torn", "no readable scores"),
        ("nan", "00002.npz: 1 energy scores of blobs are not finite"),
        ("images", "are of other images"),
    ],
)
def test_correction_with_a_bad_record_says_which(tmp_path: Path, change: str, told: str) -> None:
    with pytest.raises(NoScores, match=told):
        _study_with(tmp_path, "00002", change).correct()


def test_study_is_corrected_as_its_table_says(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=100))
    study = analysis.load(tmp_path)
    found = study.correct(num_resamples=30)
    assert isinstance(found, Correction)
    assert found.value == pytest.approx(study.select(1).value, abs=1e-12)
    assert "6 candidates, 24 epochs" in found.how


@pytest.mark.slow
def test_correction_of_128_cells_takes_under_ten_seconds() -> None:
    cells = make_cells(
        np.random.default_rng(0),
        np.linspace(1, 2, 32),
        correlated=0.5,
        epochs=4,
        num_id=5000,
        num_ood=2000,
        crops=20,
    )
    start = time.process_time()
    correct(cells, num_resamples=1000)
    assert time.process_time() - start < 10
