from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.plots.search import rungs, rungs_of, rungs_told
from analysis.report.methods import LEAST_JUDGED, methods_text, search_text
from analysis.study import Study
from study.records.ledger import Lines
from study.searchers.methods import gp, tpe
from study.tune import sampler
from tests.fake_ablation import make_ablation
from tests.fake_run import Fake, freeze, make_run

SMALL: dict[str, Any] = {"num_id": 30, "ood_sets": {"blobs": (20, 1)}}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("methods")
    make_run(folder, Fake(**SMALL))
    return analysis.load(folder)


def _tuned(study: Study, **tune: Any) -> Study:
    return replace(study, spec={**study.spec, "tune": {**study.spec["tune"], **tune}})


def test_numbers_in_the_sentences_are_those_of_the_searchers() -> None:
    assert sampler.LEAST_JUDGED == LEAST_JUDGED
    for module in (tpe, gp):
        assert f"random until {module.STARTUP_TRIALS} trials" in module.SEARCHER["startup"]


@pytest.mark.parametrize(
    ("searcher", "words"),
    [
        ("tpe", "Parzen"),
        ("random", "random search"),
        ("grid", "grid search"),
        ("gp", "Gaussian process"),
        ("cmaes", "CMA-ES"),
        ("nsga2", "NSGA-II (Deb et al., 2002; population 12)"),
    ],
)
def test_searcher_has_its_sentence(study: Study, searcher: str, words: str) -> None:
    assert words in search_text(_tuned(study, searcher=searcher, population=12))


def test_cmaes_says_what_it_does_not_model(study: Study) -> None:
    text = search_text(_tuned(study, searcher="cmaes"))
    assert "It does not model batch_size and scheduler_step, drawn at random." in text
    assert "does not model" not in search_text(_tuned(study, searcher="gp"))


@pytest.mark.parametrize(
    ("scheduler", "words", "compared", "caption"),
    [
        ("asha", "asynchronous successive halving (ASHA", (1, 3), "rungs of ASHA"),
        ("hyperband", "brackets of several first rungs", (1, 3), "brackets begins at another"),
        ("median", "From epoch 1 on", (1, 2, 3), "worse than the median"),
        ("none", "No trial was stopped early.", (), "ran to its end"),
    ],
)
def test_scheduler_has_its_sentence_and_its_marks(
    study: Study, scheduler: str, words: str, compared: tuple[int, ...], caption: str
) -> None:
    tuned = _tuned(study, scheduler=scheduler)
    assert words in methods_text(tuned)
    assert rungs_of(tuned) == compared
    assert caption in rungs_told(tuned)
    assert rungs(tuned).axes


def test_promotions_are_told_with_their_number(study: Study) -> None:
    events = [{"event": "promoted", "why": why} for why in ("rung", "finish", "finish")]
    tuned = _tuned(study, scheduler="asha", finish=4)
    assert "went on when" not in methods_text(tuned)
    told = methods_text(replace(tuned, ledger=Lines([*tuned.ledger, *events])))
    assert "among the best of its rung, which happened once." in told
    assert "went on to their end (2 times), for 4 to finish above the floor." in told


def test_several_objectives_are_named_with_their_directions_and_stop_nobody(
    study: Study,
) -> None:
    text = methods_text(_tuned(study, objectives=["val/fpr95", "val/id_accuracy"]))
    assert "2 objectives at once: validation FPR95 (minimised) and validation ID accuracy" in text
    assert "No trial was stopped early." in text


def test_warm_start_is_told_and_takes_the_random_start_away(study: Study) -> None:
    warm = {"source": "runs/old/", "num_trials": 12, "left_out": 2, "fixed_otherwise": []}
    text = search_text(replace(study, manifest={**study.manifest, "warm_start": warm}))
    assert "told 12 finished trials of the study old (2 more lay outside this space)" in text
    assert "random until" not in text


def test_condition_of_a_parameter_is_told(study: Study) -> None:
    search = {**study.spec["search"]}
    search["lr"] = {"loguniform": [1e-4, 1e-2], "when": {"scheduler_step": "epoch"}}
    text = search_text(replace(study, spec={**study.spec, "search": search}))
    assert "lr (where scheduler_step is epoch)" in text


def test_correction_of_the_frozen_choice_is_told_with_its_unit(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(**SMALL))
    assert "Corrected for" not in methods_text(analysis.load(tmp_path))
    frozen = freeze(analysis.load(tmp_path))
    text = methods_text(analysis.load(tmp_path))
    assert (
        f"the best of 6 candidates: {100 * frozen['corrected_value']:.1f} %, 90 % interval" in text
    )
    assert frozen["corrected_note"] in text
    (tmp_path / "selection.json").write_text(json.dumps({"winner": 1}))
    assert "Corrected for" not in methods_text(analysis.load(tmp_path))


def test_outliers_that_the_recipe_does_not_take_are_not_told_as_training(study: Study) -> None:
    assert "auxiliary outliers" not in methods_text(study)
    train = {**study.spec["train"], "outlier_batch_size": 64}
    assert "auxiliary outliers" in methods_text(
        replace(study, spec={**study.spec, "train": train})
    )


def test_early_stop_of_arms_is_told_with_its_rule_and_its_count(tmp_path: Path) -> None:
    rule = {"alpha": 0.05, "min_seeds": 3, "margin": 0.01}
    told = make_ablation(
        tmp_path / "told", lambda arm, seed: 0.5, stopped=[("plain=sgd", 2)], stop=rule
    )
    text = methods_text(told)
    assert "level 0.05, divided by the number of looks) was worse by more than 0.01" in text
    assert "1 trial was not run for that" in text
    assert "ended early" not in methods_text(
        make_ablation(tmp_path / "plain", lambda arm, seed: 0.5)
    )


def test_methods_text_names_data_search_selection_and_intervals(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=60))
    text = methods_text(analysis.load(tmp_path))
    for word in (
        "resnet20", "45,000 ID images", "60 held-out ID images", "objects_val (n = 240 images",
        "from 30 sources", "10 trials", "TPE", "ASHA", "seed 0", "lowest validation FPR95",
        "at least 0.", "have not been opened", "1,000 resamples",
    ):  # fmt: skip
        assert word in text, word


def _started(study: Study, **facts: Any) -> str:
    """The sentences of a study whose base is told by these facts."""
    base = {**study.manifest["base"], "spec": {"train": {}}, **facts}
    spec = {**study.spec, "model": {"backbone": "resnet20", "init": "nets/mine.pth"}}
    return methods_text(replace(study, manifest={**study.manifest, "base": base}, spec=spec))


def test_base_that_is_a_files_is_told_as_that(study: Study) -> None:
    origin = {"file": "/somewhere/mine.pth", "sha256": "0123456789abcdef" * 4, "head": "linear"}
    text = _started(study, from_file=origin, saw_validation=True)
    assert (
        "starting from a classifier that was not trained for this study (file mine.pth, SHA-256 "
        "0123456789ab), which may have seen the validation images (validation accuracy"
    ) in text
    assert "same split" not in text


def test_base_of_an_older_study_is_known_for_a_files_by_what_it_may_have_seen(
    study: Study,
) -> None:
    spec = {"train": {"epochs": 100}}
    assert "not trained for this study (file mine.pth)" in _started(
        study, spec=spec, saw_validation=True
    )
    trained = _started(study, spec=spec, saw_validation=False, from_file=None)
    assert "a classifier trained on the same split for 100 epochs" in trained


def test_weights_without_a_head_are_told(study: Study) -> None:
    manifest = {**study.manifest, "base": None, "initial": {"resnet20": {"source": "a/byol.pth"}}}
    text = methods_text(replace(study, manifest=manifest))
    assert "starting from the weights of byol.pth" in text


def _told_of_data(study: Study, section: dict[str, Any], plan: dict[str, Any]) -> str:
    roles = {"train": {"num_images": 70}, "val_id": {"num_images": 30}}
    manifest = {**study.manifest, "data": {"roles": roles, "plan": plan}}
    return methods_text(replace(study, spec={**study.spec, "data": section}, manifest=manifest))


def test_share_of_validation_is_the_one_that_was_cut(study: Study) -> None:
    default = {"val_fraction": None, "split_seed": 0}
    assert "30 held-out ID images (a stratified 30 % of" in _told_of_data(study, default, {})
    said = _told_of_data(study, {"val_fraction": 0.25, "split_seed": 0}, {})
    assert "(a stratified 25 % of the training set, split seed 0)" in said


def test_validation_set_of_its_own_was_not_cut_from_training(study: Study) -> None:
    section = {"val_fraction": None, "split_seed": 0}
    said = _told_of_data(study, section, {"val_id": {"name": "own"}})
    assert "stratified" not in said
    assert "30 held-out ID images" in said
