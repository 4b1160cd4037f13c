import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from study.data.images import ImageSet
from study.data.leaks.alignment import measure
from study.data.leaks.check import check_leaks
from study.data.leaks.near_duplicates import Likeness, describe, find_near_duplicates
from study.data.leaks.report import Member
from tests.pictures import photographs

SEEDS = st.integers(0, 2**31)


def row_pairs(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


def reference(first, second, rule):
    """The rule on every pair, without proposals."""
    usable = describe(first, rule).usable, describe(second, rule).usable
    found = set()
    for row, column in np.ndindex(len(first), len(second)):
        for other in (second[column], second[column][:, ::-1]):
            correlation, detail, difference = measure(first[row][None], other[None])[0]
            agrees = correlation >= rule.correlation and detail >= rule.detail
            if agrees and difference <= rule.difference and usable[0][row] and usable[1][column]:
                found.add((row, column))
    return found


@settings(max_examples=8)
@given(SEEDS, st.integers(-1, 1), st.integers(-1, 1), st.booleans(), st.floats(0.75, 1.2))
def test_proposals_lose_no_pair_that_the_rule_confirms(seed, y, x, mirror, gain):
    originals = photographs(8, seed)
    altered = np.roll(originals[:4], (y, x), axis=(1, 2))
    altered = altered[:, :, ::-1] if mirror else altered
    altered = np.clip(altered * gain, 0, 255).astype(np.uint8)
    first = np.concatenate([altered, photographs(3, seed + 1)])
    expected = reference(first, originals, Likeness())
    assert row_pairs(find_near_duplicates(first, originals, Likeness())) == expected
    assert {(row, row) for row in range(4)} <= expected


@settings(max_examples=20)
@given(SEEDS)
def test_near_duplicates_do_not_depend_on_which_set_comes_first(seed):
    first = photographs(30, seed)
    second = np.roll(first, 1, axis=1)[::-1].copy()
    forth = row_pairs(find_near_duplicates(first, second, Likeness()))
    back = row_pairs(find_near_duplicates(second, first, Likeness()))
    assert forth == {(row, column) for column, row in back}
    assert forth == {(row, 29 - row) for row in range(30)}


@settings(max_examples=20)
@given(SEEDS, st.data())
def test_planted_exact_copies_are_counted_exactly_and_dropping_them_leaves_none(seed, data):
    outliers, test = photographs(25, seed), photographs(25, seed + 1)
    rows = data.draw(st.sets(st.integers(0, 24), max_size=8))
    for row in rows:
        outliers[row] = test[data.draw(st.integers(0, 24))]
    sealed = Member("ood_test", ImageSet.make("test", test))
    images = ImageSet.make("outliers", outliers)
    _, dropped = check_leaks([Member("outliers", images), sealed], leaks="drop")
    mask = dropped.get("outliers", np.zeros(25, dtype=bool))
    assert set(np.flatnonzero(mask).tolist()) == rows
    rest = Member("outliers", images.take(np.flatnonzero(~mask)))
    assert check_leaks([rest, sealed])[0].collisions == ()
