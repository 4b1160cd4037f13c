from __future__ import annotations

from typing import Any

import pytest

from study.records.words import first_words, todays_words, with_first_defaults

FIRST = {"recipe": "cifar10", "model": {"init": "cifar10", "dropout": 0.0}}
TODAY = {"recipe": "classifier", "model": {"init": "base", "dropout": 0.0}}


def test_words_of_recipe_and_initialisation_go_both_ways() -> None:
    assert todays_words(FIRST) == TODAY
    assert first_words(TODAY) == FIRST
    assert todays_words(TODAY) == TODAY


def test_words_of_the_data_set_stay() -> None:
    told = {"data": {"id": "cifar10"}, "model": {"pretrained_on": ["cifar10"]}}
    assert todays_words(told) == told


def test_words_are_replaced_in_a_copy() -> None:
    given: dict[str, Any] = {"recipe": "cifar10", "model": {"init": "cifar10"}}
    todays_words(given)
    assert given == {"recipe": "cifar10", "model": {"init": "cifar10"}}


@pytest.mark.parametrize("told", [{}, {"recipe": ["cifar10"], "model": "cifar10"}, {"model": {}}])
def test_words_of_what_is_no_space_stay(told: dict[str, Any]) -> None:
    assert todays_words(told) == told


def test_what_a_run_s_spec_left_unsaid_is_said_and_is_unsaid_in_its_first_words() -> None:
    first = {"select": {"metric": "val/fpr95"}, "tune": {"seed": 0}}
    today = with_first_defaults(first)
    meant = {"path": False, "path_halvings": 0, "penalty": None}
    assert today["select"] == {"metric": "val/fpr95", **meant}
    assert today["tune"] == {"seed": 0, "finish": 0, "first": []}
    assert first_words(today) == first


def test_what_a_spec_says_today_stays_in_its_first_words() -> None:
    told = {
        "select": {"path": [0.5], "path_halvings": 3, "penalty": 0.2},
        "tune": {"finish": 2, "first": [{"lr": 0.1}]},
    }
    assert with_first_defaults(told) == told
    assert first_words(told) == told


def test_settings_of_detectors_that_a_run_left_unsaid_are_those_that_it_had() -> None:
    train = {"detectors": ["ash", "knn"], "ash_pruned": None, "dice_sparsity": None}
    first = {"select": {"metric": "val/fpr95"}, "tune": {"seed": 0}, "train": train}
    today = with_first_defaults(first)
    assert today["train"] == {**train, "ash_pruned": 0.65}
    assert first_words(today) == first


def test_settings_of_detectors_in_a_run_of_today_stay_unsaid() -> None:
    told = {
        "select": {"path": [0.5], "path_halvings": 3, "penalty": 0.2},
        "train": {"detectors": ["ash"], "ash_pruned": None},
    }
    assert with_first_defaults(told) == told
