"""Outliers from several sources by weight, and a cap on their number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from study.data.batches import training_batches
from study.data.images import ImageSet, concatenate
from study.data.order import Sampling, make_pool
from tests.toys import toy_images


def _union(*sizes: int) -> ImageSet:
    names = ("paintings", "noise", "maps")
    sets = [toy_images(name, size) for name, size in zip(names, sizes, strict=False)]
    return concatenate("outliers", sets)


def _stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_pool_without_cap_and_weights_is_none() -> None:
    images = _union(10, 10)
    assert make_pool(images, max_outliers=None, weights=None) is None
    assert make_pool(images, max_outliers=20, weights=None) is None


def test_cap_of_fewer_lies_in_every_larger_one_and_keeps_order() -> None:
    images = toy_images("outliers", 100)
    kept = []
    for cap in (10, 40):
        pool = make_pool(images, max_outliers=cap, weights=None)
        assert pool is not None
        (rows,) = pool.sources
        assert len(rows) == cap
        assert (np.diff(rows) > 0).all()
        kept.append(set(rows.tolist()))
    assert kept[0] < kept[1]


@pytest.mark.parametrize("order", ["shuffled", "window"])
def test_cap_draws_its_images_and_no_other(order: str) -> None:
    pool = make_pool(toy_images("outliers", 100), max_outliers=10, weights=None)
    assert pool is not None
    drawn = pool.draw(25, order, _stream())
    assert set(drawn.tolist()) == set(pool.sources[0].tolist())


def test_shares_of_sources_are_their_weights_whatever_their_sizes() -> None:
    weights = {"paintings": 3.0, "noise": 1.0}
    pool = make_pool(_union(10, 500), max_outliers=None, weights=weights)
    assert pool is not None
    drawn = pool.draw(20_000, "shuffled", _stream())
    share = float(np.mean(drawn < 10))
    assert abs(share - 0.75) < 5 * (0.75 * 0.25 / 20_000) ** 0.5  # five standard deviations


def test_weights_are_by_name_whatever_their_order() -> None:
    images = _union(10, 30)
    pools = [
        make_pool(images, max_outliers=None, weights=weights)
        for weights in ({"paintings": 1.0, "noise": 9.0}, {"noise": 9.0, "paintings": 1.0})
    ]
    shares = []
    for pool in pools:
        assert pool is not None
        found = dict(zip([len(rows) for rows in pool.sources], pool.shares, strict=True))
        shares.append(found)
    assert shares[0] == shares[1] == {10: 0.1, 30: 0.9}


def test_window_of_each_source_is_contiguous_in_it() -> None:
    images = _union(40, 30)
    weights = {"paintings": 1.0, "noise": 1.0}
    pool = make_pool(images, max_outliers=None, weights=weights)
    assert pool is not None
    drawn = pool.draw(16, "window", _stream(3))
    for rows, size, first in ((drawn[drawn < 40], 40, 0), (drawn[drawn >= 40], 30, 40)):
        steps = np.diff(rows - first) % size
        assert len(rows) > 1
        assert (steps == 1).all()


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"paintings": 1.0}, "the sources of data.outliers are noise, paintings"),
        ({"paintings": 1.0, "noise": 1.0, "maps": 1.0}, "give each source one weight"),
        ({"paintings": 1.0, "nose": 1.0}, "nose"),
    ],
)
def test_weights_that_are_not_of_the_sources_are_refused(
    weights: dict[str, float], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        make_pool(_union(10, 10), max_outliers=None, weights=weights)


def test_weights_without_a_finite_sum_are_refused() -> None:
    weights = {"paintings": 1e308, "noise": 1e308}
    with pytest.raises(ValueError, match="no finite sum"):
        make_pool(_union(10, 10), max_outliers=None, weights=weights)


def test_weights_on_a_single_set_are_refused() -> None:
    with pytest.raises(ValueError, match="a single set"):
        make_pool(toy_images("noise", 50), max_outliers=None, weights={"noise": 1.0})


def test_cap_that_leaves_none_of_a_source_is_refused() -> None:
    weights = {"paintings": 1.0, "noise": 1.0}
    with pytest.raises(ValueError, match="leave none of noise"):
        make_pool(_union(1000, 1), max_outliers=2, weights=weights)


def test_pool_of_all_images_trains_on_the_batches_of_no_pool() -> None:
    train, outliers = toy_images("train", 20, classes=2), toy_images("outliers", 30)
    pool = make_pool(outliers, max_outliers=29, weights=None)
    sampling = Sampling(10, outlier_batch_size=8)
    plain, capped = (
        list(training_batches(train, one, outliers=outliers, seed=1, epoch=1))
        for one in (sampling, replace(sampling, outlier_pool=pool))
    )
    for one, other in zip(plain, capped, strict=True):
        assert (one.images[:10] == other.images[:10]).all()
        assert (one.images[10:] != other.images[10:]).any()
