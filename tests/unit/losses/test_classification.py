import math

import pytest
import torch
from torch.nn import functional

from study.losses.classification import cross_entropy, cross_entropy_per_image

LOGITS = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def test_cross_entropy_of_equal_logits_is_log_of_classes():
    loss = cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 2]), label_smoothing=0.3)
    assert float(loss) == pytest.approx(math.log(4))


def test_cross_entropy_smoothed_matches_hand_computed_value():
    # p = (3/4, 1/4), label 0, s = .2: .9 * log(4/3) + .1 * log 4.
    loss = cross_entropy(
        torch.tensor([[math.log(3), 0.0]]), torch.tensor([0]), label_smoothing=0.2
    )
    assert float(loss) == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_equals_torch_with_float_and_with_tensor(smoothing):
    expected = functional.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    for value in (smoothing, torch.tensor(smoothing, dtype=torch.float64)):
        torch.testing.assert_close(cross_entropy(LOGITS, LABELS, label_smoothing=value), expected)


def test_cross_entropy_without_smoothing_is_torch_to_the_bit():
    assert torch.equal(cross_entropy(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_cross_entropy_smoothing_outside_range_raises(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("logits", "labels"), [(LOGITS, LABELS[:3]), (LOGITS[0], LABELS[0]), (LOGITS[:0], LABELS[:0])]
)
def test_cross_entropy_shapes_that_do_not_fit_raise(logits, labels):
    with pytest.raises(ValueError, match=r"\(N, K\)"):
        cross_entropy(logits, labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_per_image_equals_torch_with_float_and_with_tensor(smoothing):
    expected = functional.cross_entropy(
        LOGITS, LABELS, label_smoothing=smoothing, reduction="none"
    )
    for value in (smoothing, torch.tensor(smoothing, dtype=torch.float64)):
        each = cross_entropy_per_image(LOGITS, LABELS, label_smoothing=value)
        torch.testing.assert_close(each, expected)
