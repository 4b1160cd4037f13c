import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.data.batches import training_batches
from study.data.images import ImageSet
from study.data.order import Sampling
from study.data.pairs import chain_rows

LABELS = {
    "balanced": np.arange(600) % 10,
    "two": np.arange(601) % 2,
    "unequal": np.repeat([0, 1, 2, 3], [400, 150, 49, 2]),
    "one large": np.repeat([0, 1, 2], [540, 40, 20]),
    "single images": np.concatenate([np.zeros(300, dtype=int), np.arange(1, 301) // 8]),
}


def images_of(labels):
    pixels = np.zeros((len(labels), 8, 8, 3), dtype=np.uint8)
    return ImageSet.make("train", pixels, labels=labels)


@pytest.mark.parametrize("batch_size", [2, 3, 8, 32, 128, 512])
@pytest.mark.parametrize("kind", LABELS)
def test_pair_batches_hold_the_share_at_every_size(kind, batch_size):
    train, shares = images_of(LABELS[kind]), []
    for epoch in range(3 if batch_size < 32 else 30):
        # the cut makes the last batch as large as the others
        sampling = Sampling(batch_size, 600 // batch_size * batch_size, same_share=0.5)
        for batch in training_batches(train, sampling, seed=3, epoch=epoch):
            first, second = batch.labels[batch.pairs].T
            assert len(first) == batch_size - 1
            shares.append(float((first == second).float().mean()))
    # Five standard deviations; runs make the pairs of a batch depend on one another (hence 2).
    spread = np.sqrt(0.25 * 2 / (len(shares) * (batch_size - 1)))
    assert np.mean(shares) == pytest.approx(0.5, abs=5 * spread)


def test_chain_rows_hold_the_share_at_every_place_of_a_small_set():
    # 9 images of uneven classes: a share that held only on average would show here
    labels, num = np.array([0] * 5 + [1, 1, 2, 2]), 1000
    drawn = [labels[chain_rows(labels, 6, 0.4, np.random.default_rng(s))] for s in range(num)]
    shares = np.mean([kinds[1:] == kinds[:-1] for kinds in drawn], axis=0)
    np.testing.assert_allclose(shares, 0.4, atol=5 * np.sqrt(0.24 / num))


counts = st.lists(st.integers(1, 30), min_size=2, max_size=8)


@given(counts, st.floats(0, 1), st.integers(0, 2**32), st.data())
def test_chain_rows_any_classes_give_a_chain_without_self_pairs(sizes, part, seed, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    num, largest = len(labels), 1 - len(sizes) / sum(sizes)
    share = part * largest
    drawn = data.draw(st.integers(2, num))
    generator = np.random.default_rng(seed)
    labels = generator.permutation(labels)
    rows = chain_rows(labels, drawn, share, generator)
    assert rows.shape == (drawn,)
    assert rows.min() >= 0
    assert rows.max() < num
    assert (rows[1:] != rows[:-1]).all()
    if max(sizes) / num <= (1 + share) / 2 - 1 / num:
        assert len(set(rows.tolist())) == drawn


@given(counts, st.floats(0, 1), st.integers(0, 2**32))
def test_chain_rows_whole_epoch_has_the_share_but_for_rounding(sizes, part, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    share = part * (1 - len(sizes) / sum(sizes))
    rows = chain_rows(labels, len(labels), share, np.random.default_rng(seed))
    kinds = labels[rows]
    num_same = (kinds[1:] == kinds[:-1]).sum()
    # R is rounded by less than 2, the cycle is cut once, and may be shorter by one
    assert abs(num_same - share * len(labels)) < 4
