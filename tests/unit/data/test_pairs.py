import time

import numpy as np
import pytest
import torch

from study.data.batches import DeviceImages, draw, training_batches
from study.data.images import ImageSet
from study.data.order import Sampling
from study.data.pairs import chain, chain_rows, check_same_share, image_weights
from study.seeding import numpy_generator


def image_set(labels, size=8):
    pixels = np.zeros((len(labels), size, size, 3), dtype=np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels))  # tells which image it is
    pixels.setflags(write=False)
    return ImageSet.make("train", pixels, labels=labels)


def pair_batches(train, batch_size, seed=0, epoch=0, channels_last=False, **changes):
    sampling = Sampling(batch_size, **{"same_share": 0.5, **changes})
    return training_batches(train, sampling, seed=seed, epoch=epoch, channels_last=channels_last)


def which(batch):
    return (batch.images[:, 0, 0, 0] * 255).round().long()


def epoch_rows(labels, num_images=None, same_share=0.5, seed=0):
    return chain_rows(labels, num_images or len(labels), same_share, np.random.default_rng(seed))


TEN = np.arange(200) % 10


def test_pair_batches_each_image_once_and_its_own_label():
    batches = list(pair_batches(image_set(TEN), 32, seed=0, epoch=1))
    assert [batch.num_id for batch in batches] == [32] * 6 + [8]
    rows = torch.cat([which(batch) for batch in batches])
    assert sorted(rows.tolist()) == list(range(200))
    labels = torch.cat([batch.labels for batch in batches])
    assert torch.equal(labels, torch.from_numpy(TEN[rows]))


def test_pair_batches_pairs_are_neighbours():
    batch = next(pair_batches(image_set(TEN), 4))
    assert batch.pairs.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert batch.pairs.dtype == torch.int64


def test_pair_batches_are_as_many_as_training_batches():
    for num_images, size in ((200, 32), (33, 32), (34, 32), (2, 2), (9, 4)):
        ours, others = (
            [one.num_id for one in pair_batches(image_set(TEN), size, **changes)]
            for changes in (
                {"num_images": num_images},
                {"num_images": num_images, "same_share": None},
            )
        )
        assert ours == others


def test_pair_batches_same_seed_and_epoch_are_equal_others_differ():
    def first(seed, epoch):
        made = pair_batches(image_set(TEN), 64, augment="crop_flip", seed=seed, epoch=epoch)
        return next(made).images

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(0, 1))
    assert not torch.equal(first(0, 0), first(1, 0))


def test_pair_batches_have_either_memory_format():
    batch = next(pair_batches(image_set(TEN), 8, channels_last=True))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    plain = next(pair_batches(image_set(TEN), 8))
    assert plain.images.is_contiguous()
    assert torch.equal(batch.images, plain.images)


@pytest.mark.parametrize(
    ("batch_size", "num_images", "augment", "told"),
    [(1, None, "none", "at least 2"), (4, 201, "none", "at least 2"), (4, None, "cut", "augment")],
)
def test_pair_batches_impossible_arguments_are_refused(batch_size, num_images, augment, told):
    with pytest.raises(ValueError, match=told):
        next(pair_batches(image_set(TEN), batch_size, num_images=num_images, augment=augment))


def test_chain_rows_unequal_classes_are_used_once_where_that_can_be():
    labels = np.repeat([0, 1, 2, 3], [70, 20, 9, 1])  # 70 % is less than (1 + 0.5) / 2
    assert sorted(epoch_rows(labels)) == list(range(100))


def test_chain_rows_large_class_gives_way_and_the_others_share_evenly():
    labels = np.repeat([0, 1, 2], [90, 6, 4])
    # 50 runs: 25 of the large class, kept apart by 25 of the others; 75 of its images are used
    rows = epoch_rows(labels)
    uses = np.bincount(rows, minlength=100)
    assert uses[:90].max() == 1
    assert uses[:90].sum() == 75
    assert set(uses[90:]) == {2, 3}


def test_chain_rows_two_classes_without_same_pairs_take_turns():
    for num in (10, 11):
        kinds = (np.arange(num) % 2)[epoch_rows(np.arange(num) % 2, same_share=0.0)]
        assert (kinds[1:] != kinds[:-1]).all()


def test_chain_rows_a_single_image_of_a_class_is_never_beside_itself():
    labels = np.array([0] * 8 + [1])
    for seed in range(200):
        rows = epoch_rows(labels, same_share=0.2, seed=seed)
        assert (rows[1:] != rows[:-1]).all()


def test_chain_rows_one_class_alone_allows_only_same_pairs():
    assert sorted(epoch_rows(np.zeros(7, dtype=int), same_share=1)) == list(range(7))
    with pytest.raises(ValueError, match=r"same_share: 0.5 is impossible: all 7 images"):
        epoch_rows(np.zeros(7, dtype=int))


def test_chain_rows_different_neighbours_are_of_all_classes_alike():
    labels = np.arange(6000) % 6
    kinds = labels[epoch_rows(labels)]
    met = np.zeros((6, 6))
    np.add.at(met, (kinds[:-1], kinds[1:]), 1)
    off = met[~np.eye(6, dtype=bool)]
    # 3,000 different pairs in 30 cells; five standard deviations
    np.testing.assert_allclose(off, 100, atol=50)


@pytest.mark.parametrize("share", [-0.1, 0.96, 1.0, float("nan")])
def test_check_same_share_impossible_share_is_named_with_the_possible_ones(share):
    with pytest.raises(ValueError, match=rf"same_share: {share} must be from 0 to 0.95"):
        check_same_share(np.arange(60) % 3, share)


def test_chain_rows_of_many_images_cost_little():
    labels = np.arange(50_000) % 10
    times = []
    for seed in range(3):  # the best of three: other work on the machine is not at issue
        begun = time.perf_counter()
        epoch_rows(labels, seed=seed)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.5


def test_image_weights_count_pairs_and_sum_to_one():
    weights = image_weights(chain(4), 5)
    assert weights.tolist() == pytest.approx([1 / 6, 2 / 6, 2 / 6, 1 / 6, 0])
    pairs = torch.tensor([[0, 2], [2, 1], [2, 3]])
    assert image_weights(pairs, 4).tolist() == pytest.approx([1 / 6, 1 / 6, 3 / 6, 1 / 6])


@pytest.mark.parametrize("shape", [(0, 2), (3,), (3, 3)])
def test_image_weights_without_pairs_are_refused(shape):
    with pytest.raises(ValueError, match="pairs"):
        image_weights(torch.zeros(shape, dtype=torch.int64), 3)


def test_pair_batches_order_and_augmentation_are_drawn_anew_in_every_epoch():
    images, orders = image_set(TEN), []
    for epoch in range(2):
        (plain,) = pair_batches(images, 200, seed=3, epoch=epoch)
        (batch,) = pair_batches(images, 200, augment="crop_flip", seed=3, epoch=epoch)
        orders.append(which(plain))
        draws = draw(
            orders[-1].numpy(), "crop_flip", numpy_generator(3, "augment", "id", epoch), 8
        )
        expected = DeviceImages(images, torch.device("cpu")).gather(draws)
        assert torch.equal(batch.images, expected.permute(0, 3, 1, 2) / 255)
    assert not torch.equal(*orders)
