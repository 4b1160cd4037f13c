from __future__ import annotations

import numpy as np
import pytest

from study.data.leaks.near_duplicates import Likeness, describe
from study.data.leaks.proposals import Pairs, least_of, propose, turned
from study.data.leaks.turns import TURNS
from tests.pictures import photographs

LEAST = Likeness().proposal


def _proposed(first: np.ndarray, second: np.ndarray, all_pairs: int) -> set[tuple[int, int, int]]:
    left, right = (describe(pixels, Likeness()) for pixels in (first, second))
    return {
        (int(a), int(b), int(turn))
        for of_turn in propose(left, right, LEAST, all_pairs)
        for part in of_turn
        for a, b, turn in zip(part.first, part.second, part.turns, strict=True)
    }


@pytest.mark.parametrize("number", range(16))
def test_turned_descriptor_is_that_of_the_turned_picture(number: int) -> None:
    pixels, rule = photographs(5), Likeness()
    of_turned = describe(np.ascontiguousarray(TURNS[number].of(pixels)), rule).vectors
    ours = turned(describe(pixels, rule).vectors, TURNS[number])
    np.testing.assert_allclose(ours, of_turned, atol=2e-3)


def test_cells_of_the_larger_set_lose_next_to_none_of_all_pairs() -> None:
    second = photographs(4000)
    generator = np.random.default_rng(0)
    moved = np.roll(second[:300], (1, -1), axis=(1, 2))
    first = np.concatenate([moved, photographs(200, 3)])
    first = np.clip(first + generator.normal(0, 6, first.shape), 0, 255).astype(np.uint8)
    first[100:200] = TURNS[6].of(first[100:200])
    for one, other in ((first, second), (second, first)):
        every, by_cells = (_proposed(one, other, number) for number in (10**12, 0))
        assert by_cells <= every
        copies = {p for p in every if (p[0] == p[1] and max(p[:2]) < 300)}
        assert len(copies) >= 295
        assert len(copies & by_cells) >= 0.99 * len(copies)


def test_sets_of_nothing_usable_have_no_proposals() -> None:
    plain = np.zeros((50, 32, 32, 3), dtype=np.uint8)
    assert not _proposed(plain, photographs(50), 0)
    assert not _proposed(photographs(50), plain, 0)


def test_rare_turns_must_agree_better() -> None:
    assert [least_of(0.5, number) for number in (0, 1, 2, 15)] == [0.5, 0.5, 0.7, 0.7]


def test_pairs_in_several_turns_are_one() -> None:
    pairs = Pairs(np.array([3, 1, 3, 3]), np.array([2, 0, 2, 4]), np.array([5, 1, 0, 2]))
    once = pairs.once()
    assert once.first.tolist() == [1, 3, 3]
    assert once.second.tolist() == [0, 2, 4]
    assert once.turns.tolist() == [1, 0, 2]
