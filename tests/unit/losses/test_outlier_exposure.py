import math

import pytest
import torch
from torch.nn import functional

from study.losses.outlier_exposure import outlier_exposure_loss, uniform_cross_entropy

LOGITS = 4 * torch.randn(12, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_outlier_exposure_loss_matches_hand_computed_value():
    # p = (3/4, 1/4): mean of log 4/3 and log 4; equal logits: log 2. The ID row does not count.
    logits = torch.tensor([[9.0, 0.0], [math.log(3), 0.0], [5.0, 5.0]])
    expected = ((math.log(4 / 3) + math.log(4)) / 2 + math.log(2)) / 2
    assert float(outlier_exposure_loss(logits, 1)) == pytest.approx(expected)


def test_uniform_cross_entropy_is_torch_with_uniform_targets():
    uniform = torch.full_like(LOGITS, 1 / 10)
    expected = functional.cross_entropy(LOGITS, uniform, reduction="none")
    torch.testing.assert_close(uniform_cross_entropy(LOGITS), expected)


def test_uniform_cross_entropy_is_least_at_equal_logits_with_zero_gradient():
    logits = torch.full((2, 4), 7.0, dtype=torch.float64).requires_grad_()
    loss = uniform_cross_entropy(logits)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([math.log(4)] * 2)
    assert logits.grad.abs().max() < 1e-15
    assert (uniform_cross_entropy(LOGITS) > math.log(10)).all()


def test_outlier_exposure_loss_agrees_with_pytorch_ood_up_to_the_joint_mean():
    oracle = pytest.importorskip("pytorch_ood.loss").OutlierExposureLoss
    logits, labels = LOGITS.float(), torch.tensor([*range(5), *([-1] * 7)])
    ours = functional.cross_entropy(logits[:5], labels[:5]) * 5 / 12
    ours += 0.5 * outlier_exposure_loss(logits, 5) * 7 / 12
    torch.testing.assert_close(ours, oracle(alpha=0.5)(logits, labels))


def test_outlier_exposure_loss_gradient_lowers_the_largest_outlier_logit_alone():
    logits = torch.tensor([[3.0, 0.0], [3.0, 0.0]]).requires_grad_()
    outlier_exposure_loss(logits, 1).backward()
    assert torch.equal(logits.grad[0], torch.zeros(2))
    assert logits.grad[1, 0] > 0 > logits.grad[1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_uniform_cross_entropy_of_half_precision_is_float32(dtype):
    assert uniform_cross_entropy(torch.ones(2, 3, dtype=dtype)).dtype == torch.float32


@pytest.mark.parametrize("num_id", [0, 12, 13, -1])
def test_outlier_exposure_loss_empty_group_raises(num_id):
    with pytest.raises(ValueError, match=f"num_id: {num_id} of 12"):
        outlier_exposure_loss(LOGITS, num_id)


def test_uniform_cross_entropy_of_a_vector_raises():
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        uniform_cross_entropy(LOGITS[0])
