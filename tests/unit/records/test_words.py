from __future__ import annotations

from typing import Any

import pytest

from study.records.words import first_words, todays_words

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
