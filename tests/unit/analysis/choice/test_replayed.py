from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from simulated.studies import EQUAL, make_cells, trained, true_fpr95

import analysis
from analysis.choice.cells import Cells, all_images, weighed
from analysis.choice.corrected import correct, enough_resamples, pick_on_all, resamples
from analysis.choice.frozen import correct_choice
from analysis.choice.replayed import Search, search_of
from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.searchers.rungs import Rungs
from tests.fake_run import Fake, make_run


def _cells(seed: int, num: int = 14, **more: object) -> Cells:
    rng = np.random.default_rng(seed)
    separations = rng.uniform(1.2, 2.4, num)
    return make_cells(
        rng, separations, correlated=0.5, epochs=9, num_id=120, num_ood=60, gain=0.1, **more
    )  # type: ignore[arg-type]


def _reach_by_rungs(search: Search, objective: Callable[[int, int], float]) -> list[int]:
    """One search with the rungs that a study has, one trial at a time: the readable reference."""
    rungs, reach = Rungs(search.grace, search.reduction), [0] * len(search.lengths)

    def run(number: int, *, to_end: bool = False) -> None:
        for epoch in range(reach[number] + 1, int(search.lengths[number]) + 1):
            reach[number] = epoch
            if epoch == search.lengths[number]:
                return
            value = objective(number, epoch)
            goes_on = to_end or rungs.goes_on(number, epoch, value)
            rungs.arrive(number, epoch, value, stopped=not goes_on)
            if not goes_on:
                return

    begun = 0
    while True:
        ended = sum(one == length for one, length in zip(reach, search.lengths, strict=True))
        if (place := rungs.promotable()) is not None:
            rungs.leave(place.number)
            run(place.number)
        elif begun < len(search.lengths):
            run(begun)
            begun += 1
        elif ended < search.finish and (place := rungs.best_waiting()) is not None:
            rungs.leave(place.number)
            run(place.number, to_end=True)
        else:
            return reach


@pytest.mark.parametrize(("grace", "reduction", "finish"), [(1, 3, 0), (1, 2, 5), (2, 3, 4)])
def test_search_played_in_all_resamples_at_once_equals_rungs_one_by_one(
    grace: int, reduction: int, finish: int
) -> None:
    cells = _cells(grace + reduction)
    search = Search(cells, np.full(14, 9), grace, reduction, finish)
    values = weighed(cells, resamples(cells, 20, 0))
    found = search.reach(values)
    for column in range(20):

        def objective(number: int, epoch: int, column: int = column) -> float:
            own = (cells.trial == number) & (cells.epoch == epoch)
            return float(values.objective[own, column].min())

        assert found[:, column].tolist() == _reach_by_rungs(search, objective)


def test_search_with_every_epoch_on_record_has_nothing_to_stand_in() -> None:
    cells = _cells(0)
    search = Search(cells, np.full(14, 9), 1, 3, 2)
    values = weighed(cells, resamples(cells, 5, 0))
    last, ended = search.ended(values)
    np.testing.assert_array_equal(last.cost, search.at_end(values).cost)
    np.testing.assert_allclose(last.cost, values.cost, atol=1e-12)
    np.testing.assert_array_equal(ended, search.reach(values) == 9)


def test_search_on_all_images_lets_those_finish_that_did() -> None:
    search, candidates = trained(Search(_cells(1), np.full(14, 9), 1, 3, 2))
    whole = weighed(search.cells, iter([all_images(search.cells)]))
    _, ended = search.ended(whole)
    names = [name for name, one in zip(search.cells.trial_ids, ended[:, 0], strict=True) if one]
    assert names == list(candidates.trial_ids)


def test_trial_that_was_stopped_stands_in_with_the_mean_gain_of_the_others() -> None:
    cells = _cells(2, num=3)
    keep = np.flatnonzero((cells.trial < 2) | (cells.epoch <= 1))
    search = Search(cells.only(keep), np.full(3, 9), 1, 3)
    whole = weighed(search.cells, iter([all_images(search.cells)]))
    even = np.arcsin(np.sqrt(whole.cost[:, 0]))
    gains = [even[9 * trial + 8] - even[9 * trial] for trial in (0, 1)]
    moved = np.arcsin(np.sqrt(search.at_end(whole).cost[18, 0]))
    assert moved == pytest.approx(even[18] + np.mean(gains))


def test_correction_that_plays_rungs_again_takes_more_off_than_candidates_alone() -> None:
    alone, played = [], []
    for study in range(8):
        cells = make_cells(
            np.random.default_rng(study), EQUAL[:16], correlated=0.0, epochs=4, num_id=143,
            num_ood=100, gain=0.25,
        )  # fmt: skip
        search, candidates = trained(Search(cells, np.full(16, 4), 1, 3, 2))
        for found, more in ((alone, None), (played, search)):
            found.append(correct(candidates, search=more, num_resamples=60, seed=study).optimism)
    assert np.mean(played) > np.mean(alone) + 0.005


@pytest.mark.slow
def test_correction_under_asha_is_right_on_average() -> None:
    """`benchmarks/coverage.py chosen` has the table."""
    errors = []
    for study in range(60):
        cells = make_cells(
            np.random.default_rng([study, 20]), EQUAL, correlated=0.7, epochs=4, gain=0.25
        )
        search, candidates = trained(Search(cells, np.full(20, 4), 1, 3, 2))
        found = correct(candidates, search=search, num_resamples=200, seed=study)
        picks = pick_on_all(candidates)
        epoch = candidates.epoch[picks.cell[picks.winner[0], 0]]
        errors.append(found.corrected - true_fpr95(1.8 + 0.25 * (epoch - 4)))
    assert abs(np.mean(errors)) < 0.015


def _under_asha(path: Path, *, rules: bool = True, scheduler: str = "asha") -> RunFolder:
    fake = Fake(spec={
        "tune": {"searcher": "tpe", "scheduler": scheduler, "num_trials": 10, "seed": 0,
                 "grace_epochs": 1, "reduction_factor": 3, "finish": 2},
    })  # fmt: skip
    run = make_run(path, fake)
    spec = yaml.safe_load(run.spec.read_text())
    assert spec["tune"]["scheduler"] == scheduler
    run.ledger.unlink()
    with Ledger(run.ledger) as ledger:
        ledger.append("started", rules={"asha": "promotes"} if rules else {})
    return run


def test_search_of_a_study_holds_stopped_trials_and_no_failed_one(tmp_path: Path) -> None:
    study = analysis.load(_under_asha(tmp_path).path)
    search = search_of(study)
    assert search is not None
    failed = study.trials.loc[study.trials["status"] == "failed", "trial_id"]
    assert not set(failed) & set(search.cells.trial_ids)
    assert len(search.cells.trial_ids) == len(study.trials) - len(failed)
    assert (search.grace, search.reduction, search.finish) == (1, 3, 2)
    assert search.lengths.tolist() == [4] * 9


def test_correction_of_a_study_under_asha_says_that_rungs_were_played_again(
    tmp_path: Path,
) -> None:
    found = correct_choice(analysis.load(_under_asha(tmp_path).path), 20)
    assert "stops and promotions of ASHA were played again in each resample" in found.how
    assert "what the searcher (tpe) proposed" in found.how


@pytest.mark.parametrize(
    ("rules", "scheduler", "told"),
    [(False, "asha", "what ASHA stopped"), (True, "median", "what the median rule stopped")],
)
def test_correction_without_rungs_to_play_again_says_what_it_leaves_out(
    tmp_path: Path, rules: bool, scheduler: str, told: str
) -> None:
    study = analysis.load(_under_asha(tmp_path, rules=rules, scheduler=scheduler).path)
    assert search_of(study) is None
    assert told in correct_choice(study, 20).how


def test_correction_of_twelve_trials_and_of_very_many_takes_fewer_resamples() -> None:
    cells = make_cells(np.random.default_rng(0), (1.8,), correlated=0.0, num_id=20, num_ood=20)
    many = replace(cells, trial=np.zeros(3000, dtype=np.intp))
    assert (enough_resamples(cells), enough_resamples(many)) == (1000, 200)
