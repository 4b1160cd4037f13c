from __future__ import annotations

import threading

import pytest

from study.training.ahead import Ahead


def test_ahead_makes_the_next_epoch_in_another_thread_and_each_once() -> None:
    made: list[tuple[int, bool]] = []

    def make(epoch: int) -> int:
        made.append((epoch, threading.current_thread() is threading.main_thread()))
        return 10 * epoch

    ahead = Ahead(make, last=3)
    assert [ahead(epoch) for epoch in (1, 2, 3)] == [10, 20, 30]
    assert made == [(1, True), (2, False), (3, False)]


def test_ahead_asked_for_another_epoch_makes_that_one() -> None:
    ahead = Ahead(lambda epoch: epoch, last=9)
    assert [ahead(epoch) for epoch in (4, 7)] == [4, 7]


def test_ahead_tells_a_fault_when_its_epoch_is_asked_for() -> None:
    def make(epoch: int) -> int:
        if epoch == 2:
            raise ValueError("no pairs")
        return epoch

    ahead = Ahead(make, last=2)
    assert ahead(1) == 1
    with pytest.raises(ValueError, match="no pairs"):
        ahead(2)
