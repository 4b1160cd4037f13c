"""study.searchers.rungs: textbook ASHA, by hand and against a plain simulation of it."""

from __future__ import annotations

import random

import pytest

from study.searchers.rungs import Place, Rungs


def _arrived(values: list[float], reduction: int = 3) -> tuple[Rungs, list[bool]]:
    """Trials 0, 1, ... that come to the first rung one after the other, and who went on."""
    rungs, went = Rungs(1, reduction), []
    for number, value in enumerate(values):
        went.append(rungs.goes_on(number, 1, value))
        rungs.arrive(number, 1, value, stopped=not went[-1])
    return rungs, went


@pytest.mark.parametrize(
    ("epoch", "rung"), [(1, None), (2, 0), (3, None), (6, 1), (8, None), (18, 2)]
)
def test_rung_lies_at_the_grace_and_its_multiples(epoch: int, rung: int | None) -> None:
    assert Rungs(2, 3).rung_at(epoch) == rung


def test_nobody_goes_on_before_eta_have_come() -> None:
    assert _arrived([0.9, 0.1, 0.5])[1] == [False, False, False]
    assert _arrived([0.9, 0.5, 0.1])[1] == [False, False, True]


def test_trial_between_rungs_goes_on() -> None:
    assert Rungs(2, 3).goes_on(0, 1, 9.0)


def test_going_on_is_asked_without_counting() -> None:
    rungs = _arrived([0.9, 0.5])[0]
    assert [rungs.goes_on(2, 1, 0.1) for _ in range(2)] == [True, True]
    assert rungs.promotable() is None


def test_equal_values_rank_by_number() -> None:
    assert _arrived([0.5, 0.5, 0.5])[1] == [False, False, False]
    assert _arrived([0.5, 0.5, 0.5])[0].promotable() == Place(0, 1, 0, 1, 3)


def test_trial_is_promoted_once_enough_worse_ones_have_come() -> None:
    rungs = _arrived([0.2, 0.3])[0]
    assert rungs.promotable() is None
    assert not rungs.goes_on(2, 1, 0.4)
    rungs.arrive(2, 1, 0.4, stopped=True)
    assert rungs.promotable() == Place(number=0, epoch=1, rung=0, place=1, of=3)


def test_promoted_trial_leaves_its_place_to_nobody() -> None:
    rungs = _arrived([0.2, 0.3, 0.4])[0]
    rungs.leave(0)
    assert rungs.promotable() is None
    assert not rungs.waits(0)
    assert rungs.waits(1)


def test_highest_rung_is_promoted_from_first() -> None:
    rungs = _arrived([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], reduction=2)[0]
    for number in (0, 1):
        rungs.leave(number)
        rungs.arrive(number, 2, 0.1 * number, stopped=True)
    assert rungs.promotable() == Place(number=0, epoch=2, rung=1, place=1, of=2)
    rungs.leave(0)
    assert rungs.promotable() == Place(number=2, epoch=1, rung=0, place=3, of=6)


def test_best_waiting_is_of_the_highest_rung_whatever_the_share() -> None:
    rungs = _arrived([0.9, 0.8])[0]
    assert rungs.best_waiting() == Place(1, 1, 0, 1, 2)
    rungs.leave(0)
    rungs.arrive(0, 3, 0.95, stopped=True)
    assert rungs.best_waiting() == Place(0, 3, 1, 1, 1)


def test_nobody_waits_at_first() -> None:
    rungs = Rungs(1, 3)
    assert (rungs.promotable(), rungs.best_waiting()) == (None, None)


def test_coming_to_a_rung_twice_is_refused() -> None:
    rungs = _arrived([0.9])[0]
    with pytest.raises(ValueError, match="trial 0 came to epoch 1 before"):
        rungs.arrive(0, 1, 0.5, stopped=False)


def _textbook(values: list[list[float]], reduction: int) -> list[int]:
    """Algorithm 2 with one worker, as it is written: the rungs each trial has results of.

    ``values[number][rung]``; trials begin in order once nobody is promotable.
    """
    results: list[dict[int, float]] = [{} for _ in values[0]]
    promoted: list[set[int]] = [set() for _ in results]
    begun = 0
    while True:
        for rung in reversed(range(len(results) - 1)):
            top = sorted(results[rung], key=lambda n, k=rung: (results[k][n], n))
            ready = [n for n in top[: len(top) // reduction] if n not in promoted[rung]]
            if ready:
                promoted[rung].add(ready[0])
                results[rung + 1][ready[0]] = values[ready[0]][rung + 1]
                break
        else:
            if begun == len(values):
                return [sum(n in rung for rung in results) for n in range(begun)]
            results[0][begun] = values[begun][0]
            begun += 1


@pytest.mark.parametrize("seed", range(20))
def test_rungs_run_each_trial_as_far_as_the_textbook_does(seed: int) -> None:
    draw = random.Random(seed)
    reduction, num_rungs = draw.choice([2, 3, 4]), 4
    values = [[draw.random() for _ in range(num_rungs)] for _ in range(40)]
    rungs, reached = Rungs(1, reduction), [0] * len(values)

    def run(number: int) -> None:
        """Train on to the rung that stops it, or to the last one, which stops nobody."""
        while True:
            epoch, value = reduction ** reached[number], values[number][reached[number]]
            reached[number] += 1
            if reached[number] == num_rungs:
                return
            goes_on = rungs.goes_on(number, epoch, value)
            rungs.arrive(number, epoch, value, stopped=not goes_on)
            if not goes_on:
                return

    for number in range(len(values)):
        run(number)
        while (place := rungs.promotable()) is not None:
            rungs.leave(place.number)
            run(place.number)
    assert reached == _textbook(values, reduction)


def test_place_of_a_trial_is_among_those_that_have_come_to_its_last_rung() -> None:
    rungs = Rungs(1, 3)
    assert rungs.place_of(0, 0.5) is None
    for number, value in enumerate((0.5, 0.2, 0.9)):
        rungs.arrive(number, 1, value, stopped=True)
    assert rungs.place_of(0, 0.5) == Place(0, 1, 0, 2, 3)
    assert rungs.place_of(2, 0.9) == Place(2, 1, 0, 3, 3)
