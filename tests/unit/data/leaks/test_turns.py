from __future__ import annotations

import numpy as np
import pytest

from study.data.leaks.turns import MIRROR, TURNS
from tests.pictures import photographs


def test_turns_are_sixteen_and_each_gives_another_picture() -> None:
    pixels = photographs(1)
    assert len({turn.of(pixels).tobytes() for turn in TURNS}) == 16


def test_first_turn_is_none_and_the_next_the_mirror_image() -> None:
    pixels = photographs(2)
    assert np.array_equal(TURNS[0].of(pixels), pixels)
    assert np.array_equal(TURNS[MIRROR].of(pixels), pixels[:, :, ::-1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("negative", [False, True])
def test_quarter_turns_are_among_them(quarters: int, negative: bool) -> None:
    pixels = photographs(1)
    wanted = np.rot90(pixels, quarters, axes=(1, 2))
    wanted = 255 - wanted if negative else wanted
    assert any(np.array_equal(turn.of(pixels), wanted) for turn in TURNS)
