from __future__ import annotations

import pandas as pd
import pytest

from analysis.statistics.surrogate import is_category


@pytest.mark.parametrize(
    ("values", "category"),
    [
        ([64, 128, 256, 64, 512, 1024], True),  # five numbers
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False),
        ([True, False, True], True),
        (["huber", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], True),  # one text among many numbers
        ([None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], False),  # a parameter that a trial did not have
    ],
)
def test_few_numbers_and_any_text_are_levels(values: list[object], category: bool) -> None:
    assert is_category(pd.Series(values, dtype=object)) is category
