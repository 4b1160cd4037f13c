from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.choice.confirmation import (
    candidates_to_confirm,
    confirmation,
    confirmation_rule,
    confirmed_table,
    seed_interval,
    waiting_text,
)
from analysis.choice.frozen import freeze_choice
from analysis.choice.selection import NoSelection
from analysis.conclusion import confirmation_lines
from analysis.results.final_test import load_results, load_seeds, run_final_test
from analysis.statistics.bootstrap import interval_of
from analysis.statistics.compare import over_seeds, seed_deviations
from analysis.study import Study
from study.records.files import RunFolder
from study.records.frozen import frozen_models, read_frozen
from study.records.ledger import Ledger
from study.scoring.intervals import Interval
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import Fake, make_run, make_scores


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "energy", FAKE)


def _freeze(run: RunFolder) -> dict[str, Any]:
    study = analysis.load(run.path)
    assert isinstance(study, Study)
    with Ledger(run.ledger) as ledger:
        freeze_choice(study, study.select(), ledger)
    return read_frozen(run.path)


def test_choice_takes_the_best_by_the_rule_above_the_floor(run: RunFolder) -> None:
    ranked = analysis.load(run.path).select().candidates["trial_id"]
    assert candidates_to_confirm(run, 2) == [int(name) for name in ranked[:2]]
    assert len(candidates_to_confirm(run, 99)) == 5


def test_choice_is_empty_where_no_trial_may_be_selected(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("pruned", "failed")))
    assert candidates_to_confirm(run, 3) == []


def test_confirming_trials_are_no_candidates_and_join_no_table(run: RunFolder) -> None:
    before = analysis.load(run.path)
    confirm(run, {0: [(0.80, 9.0)] * 3})
    after = analysis.load(run.path)
    assert after.trials["trial_id"].tolist() == before.trials["trial_id"].tolist()
    assert after.select().trial_id == before.select().trial_id
    assert len(after.confirming) == 3


def test_winner_has_the_best_mean_over_fresh_seeds_and_its_median_is_exported(
    run: RunFolder,
) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(
        run,
        {first: [(0.80, 1.5), (0.80, 1.4), (0.80, 1.6)],
         second: [(0.80, 2.6), (0.80, 2.0), (0.80, 2.3)]},
    )  # fmt: skip
    frozen = _freeze(run)
    assert frozen["trial_id"] == f"{first:05d}"
    told = frozen["confirmation"]
    assert told["candidate"] == f"{second:05d}"
    runs = told["candidates"][1]["runs"]
    values = {one["trial_id"]: one["value"] for one in runs}
    assert frozen["winner"] == sorted(values, key=values.__getitem__)[1]
    assert told["mean"] == pytest.approx(np.mean(list(values.values())))
    assert next(iter(told["tested"])) == frozen["winner"]
    assert set(told["tested"]) == set(values)
    assert told["candidates"][0]["discovery"] == frozen["value"]
    low, high = told["interval"]
    assert low < told["mean"] < high


def test_of_an_even_number_of_seeds_the_worse_middle_one_is_exported(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.6), (0.80, 1.5)]}, seeds=2)
    assert _freeze(run)["winner"] == "00006"


def test_candidate_whose_mean_accuracy_misses_the_floor_does_not_win(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    floor = analysis.load(run.path).floor
    low = [(0.05, 3.0), (0.05, 3.0), (0.10, 3.0)]
    confirm(run, {first: low, second: [(0.80, 1.2)] * 3})
    found = confirmation(analysis.load(run.path))
    assert found is not None
    assert floor is not None
    assert found.winner is found.candidates[1]
    assert f"below the floor, {floor.value:.4f}" in found.candidates[0].why


def test_candidate_of_which_a_run_failed_does_not_win_and_is_told(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 3.0), None, (0.80, 3.0)], second: [(0.80, 1.2)] * 3})
    frozen = _freeze(run)
    told = frozen["confirmation"]["candidates"][0]
    assert frozen["confirmation"]["candidate"] == f"{second:05d}"
    assert told["why"] == "1 of 3 runs failed"
    assert [one["value"] is None for one in told["runs"]] == [False, True, False]


def test_confirmation_that_lets_nobody_through_takes_an_unopened_choice_back(
    run: RunFolder,
) -> None:
    _freeze(run)
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [None] * 3})
    with pytest.raises(NoSelection, match="none of the 1 candidates was confirmed"):
        _freeze(run)
    assert not run.selection.exists()


def test_confirmation_that_is_not_finished_leaves_the_searchs_choice(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 3.0)] * 3, second: [(0.80, 3.0)] * 2})
    frozen = _freeze(run)
    assert frozen["confirmation"] is None
    assert frozen["winner"] == frozen["trial_id"] == f"{first:05d}"
    assert frozen_models(frozen) == {frozen["winner"]: frozen["weights_sha256"]}


def test_confirmation_that_ends_later_replaces_an_unopened_choice_once(run: RunFolder) -> None:
    early = _freeze(run)
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0), (0.80, 2.1), (0.80, 2.2)]})
    late = _freeze(run)
    assert late["winner"] != early["winner"]
    assert late["threshold"] != early["threshold"]
    assert _freeze(run) == late


def test_older_confirmation_stands_until_a_newer_one_has_ended(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0)] * 3})
    whole = _freeze(run)
    with Ledger(run.ledger) as ledger:
        ledger.append("confirm", candidates=[first, 4], seeds=3, num_searched=9)
    assert _freeze(run) == whole


def _keep(run: RunFolder, values: Mapping[str, float]) -> None:
    """A part of validation was kept: its metrics of each confirming run, and its images."""
    table = pd.read_parquet(run.trials)
    for metric in ("fpr95", "id_accuracy"):
        table[f"confirm/{metric}"] = table["trial_id"].map(values)
    table.to_parquet(run.trials, index=False)
    manifest = json.loads(run.manifest.read_text())
    roles = manifest["data"].setdefault("roles", {})
    roles |= {"confirm_id": {"num_images": 30}, "confirm_ood/blobs": {"num_images": 12}}
    run.manifest.write_text(json.dumps(manifest))


def test_kept_part_decides_over_the_winner_and_the_median_and_is_told(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 2.6)] * 3, second: [(0.80, 1.5)] * 3})
    before = _freeze(run)
    assert before["confirmation"]["candidate"] == f"{first:05d}"
    runs = [f"{5 + number:05d}" for number in range(6)]  # of first and second in turn
    _keep(run, dict(zip(runs, [0.5, 0.1, 0.6, 0.3, 0.7, 0.2], strict=True)))
    study = analysis.load(run.path)
    assert study.select().trial_id == before["trial_id"]
    found = confirmation(study)
    assert found is not None
    assert found.winner is found.candidates[1]
    assert found.winner.metric == "confirm/fpr95"
    assert found.winner.mean == pytest.approx(0.2)
    assert found.winner.discovery == study.trials["val/fpr95"].iloc[second]
    told = _freeze(run)
    assert told["winner"] == runs[5]  # 0.2, the median of 0.1, 0.3, 0.2
    assert told["confirmation"]["kept_images"] == {"val_id": 30, "blobs": 12}
    each = told["confirmation"]["candidates"][1]["runs"]
    assert [one["value"] for one in each] == [0.1, 0.3, 0.2]
    assert [one["other_part"] for one in each] == study.confirming["val/fpr95"].tolist()[1::2]
    note = told["confirmation_note"]
    assert "images kept for confirmation alone (30 of val_id, 12 of blobs)" in note
    assert "12 of blobs" in "\n".join(confirmation_lines(study))


def test_floor_is_held_to_the_images_that_it_was_measured_on(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0)] * 3})
    _keep(run, dict.fromkeys([f"{5 + number:05d}" for number in range(3)], 0.01))
    found = confirmation(analysis.load(run.path))
    assert found is not None
    assert found.candidates[0].id_accuracy > 0.5
    assert found.candidates[0].passes


def test_metrics_of_the_kept_part_are_in_no_table_of_the_search(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0)]}, seeds=1)
    _keep(run, {"00005": 0.3})
    study = analysis.load(run.path)
    assert not [name for name in study.trials.columns if name.startswith("confirm/")]
    assert study.confirming["confirm/fpr95"].tolist() == [0.3]


def test_lines_for_a_terminal_tell_each_run_and_the_winner(run: RunFolder) -> None:
    assert confirmation_lines(analysis.load(run.path)) == []
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0)] * 3})
    title, line, exported = confirmation_lines(analysis.load(run.path))
    assert "3 fresh seeds" in title
    assert line.startswith(f"  {first:05d}: found ")
    assert line.endswith("<- winner")
    assert "median seed" in exported


def test_seed_interval_is_students_and_stays_within_fractions() -> None:
    assert seed_interval([0.4]) is None
    interval = seed_interval([0.1, 0.2, 0.3])
    assert interval is not None
    assert tuple(interval) == (0.0, pytest.approx(0.2 + 4.302653 * 0.1 / np.sqrt(3)))


@pytest.mark.parametrize("num", [2, 5])
def test_over_seeds_has_the_variance_of_both_sources(num: int) -> None:
    """Against the crossed model: variance of seeds over S, plus that of the images."""
    rng = np.random.default_rng(0)
    found, true = [], 0.2**2 / num + 0.1**2
    for study in range(200):
        of_seed = rng.normal(0, 0.2, size=(num, 1))
        images = rng.normal(0, 0.1, size=(1, 400))
        found.append(over_seeds(list(of_seed + images), seed=study).var())
    assert np.mean(found) == pytest.approx(true, rel=0.2)


def over_three(drawn: list[np.ndarray], sources: int, **more: bool) -> Interval:
    """The interval of an AUROC over three seeds."""
    values, added = over_seeds(drawn, seed=0), seed_deviations(drawn, seed=0)
    point = float(np.mean(drawn))
    told = {"num_seeds": 3, "deviations": added, "difference": True} | more
    return interval_of("auroc", point, values, sources, **told)  # type: ignore[arg-type]


def test_interval_is_students_of_the_seeds_where_they_are_all_the_error() -> None:
    low, high = over_three([np.full(1000, value) for value in (0.5, 0.52, 0.54)], 10_000)
    assert high - low == pytest.approx(2 * 4.302653 * 0.02 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("sources", [3, 50])
def test_interval_without_spread_over_seeds_is_the_images_own(sources: int) -> None:
    images = np.random.default_rng(0).normal(0.5, 0.02, size=1000)
    own = interval_of("auroc", float(images.mean()), images, sources, difference=True)
    assert tuple(over_three([images] * 3, sources)) == pytest.approx(tuple(own))


def test_interval_over_seeds_is_the_wider_the_fewer_sources() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.02, size=1000)
    drawn = [middle + images for middle in (0.49, 0.5, 0.51)]
    few, many = (over_three(drawn, sources) for sources in (3, 50))
    assert few.high - few.low > 1.2 * (many.high - many.low)


def test_interval_of_a_difference_over_seeds_may_reach_below_zero_of_a_fraction_not() -> None:
    drawn = [np.full(1000, value) for value in (0.01, 0.05, 0.09)]
    assert over_three(drawn, 10).low < 0.0
    assert over_three(drawn, 10, difference=False).low >= 0.0


def test_final_test_of_a_confirmed_winner_is_the_mean_over_its_seeds(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0), (0.80, 2.2), (0.80, 2.1)]})
    frozen = _freeze(run)
    exported, *others = frozen_models(frozen)
    names = {"winner": 2.1, "base": 1.3, f"winner_{others[0]}": 2.0, f"winner_{others[1]}": 2.2}
    for name, separation in names.items():
        scores = make_scores(FAKE, name, [(0.80, separation)], test=True)
        scores.save(run.final_test / f"{name}.npz")
    with Ledger(run.ledger) as ledger:
        ledger.append("test opened", selection=frozen["sha256"])
    table = run_final_test(analysis.load(run.path))
    assert table["model"].unique().tolist() == ["winner", "base", "winner - base"]
    each = load_seeds(run)
    assert each is not None
    assert set(each["trial_id"]) == {exported, *others}
    assert sorted(each["seed"].unique()) == [1000 * first + k for k in range(3)]
    key = ["score", "dataset"]
    means = each.groupby(key)["fpr95"].mean()
    winner = table[table["model"] == "winner"].set_index(key)["fpr95"]
    pd.testing.assert_series_equal(winner.sort_index(), means.sort_index(), check_index_type=False)
    again = load_results(run)
    assert again is not None
    assert len(again) == len(table)


def test_winner_of_a_metric_to_maximise_has_the_highest_mean(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 1.5), (0.80, 1.4)], second: [(0.80, 2.6), (0.80, 2.0)]}, seeds=2)
    study = analysis.load(run.path)
    chosen = {**study.spec["select"], "metric": "val/auroc"}
    found = confirmation(replace(study, spec={**study.spec, "select": chosen}))
    assert found is not None
    assert found.winner is found.candidates[1]
    assert found.exported is not None
    runs = found.winner.runs
    assert found.exported["trial_id"] == runs.loc[runs["val/auroc"].idxmin(), "trial_id"]


def test_trial_under_the_floor_is_not_trained_anew(run: RunFolder) -> None:
    best, *others = candidates_to_confirm(run, 99)
    table = pd.read_parquet(run.trials)
    table.loc[best, "val/id_accuracy"] = 0.01
    table.to_parquet(run.trials, index=False)
    assert candidates_to_confirm(run, 99) == others


def test_newest_of_several_confirmations_counts(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 2.6)] * 3})
    confirm(run, {second: [(0.80, 1.2)] * 3})
    found = confirmation(analysis.load(run.path))
    assert found is not None
    assert [one.trial_id for one in found.candidates] == [f"{second:05d}"]


def test_waiting_text_counts_the_runs_that_ended_and_all_that_may_come(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0), None]}, seeds=3)
    study = analysis.load(run.path)
    assert waiting_text(study) == ""
    asked = {**study.spec["select"], "confirm": {"top": 2, "seeds": 3}}
    told = waiting_text(replace(study, spec={**study.spec, "select": asked}))
    assert told.startswith("The 2 best candidates are to be trained anew on 3 fresh seeds each")
    assert "2 of at most 6 runs have ended" in told


@pytest.mark.parametrize(
    ("metric", "extreme"), [("val/fpr95", "lowest"), ("val/auroc", "highest")]
)
def test_confirmation_rule_says_which_mean_wins(run: RunFolder, metric: str, extreme: str) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 2.0)] * 3})
    study = analysis.load(run.path)
    chosen = {**study.spec["select"], "metric": metric}
    study = replace(study, spec={**study.spec, "select": chosen})
    found = confirmation(study)
    assert found is not None
    assert f"the winner has the {extreme} mean {metric}" in confirmation_rule(study, found)


def test_confirmed_table_counts_the_runs_that_finished(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 3.0), None, (0.80, 3.0)], second: [(0.80, 1.2)] * 3})
    table = confirmed_table(analysis.load(run.path)).set_index("trial_id")
    counts = table[["num_finished", "num_seeds", "winner"]].to_numpy().tolist()
    assert counts == [[2, 3, False], [3, 3, True]]
    assert table["discovery"].is_monotonic_increasing


def test_confirmation_of_which_a_candidate_has_no_run_yet_has_not_ended(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    confirm(run, {first: [(0.80, 2.0)], second: []}, seeds=1)
    assert confirmation(analysis.load(run.path)) is None
