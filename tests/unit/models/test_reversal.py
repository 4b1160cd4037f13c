import pytest
import torch

from study.models.reversal import reverse_gradient
from study.models.reversal_schedules import REVERSAL_SCHEDULES, make_reversal_schedule

WEIGHTS = [0.0, 0.01, 1.0, 2.5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_reverse_gradient_forward_is_the_identity(dtype):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(reverse_gradient(x, 0.3), x)
    assert reverse_gradient(x, 0.3).dtype == dtype


@pytest.mark.parametrize("weight", WEIGHTS)
def test_reverse_gradient_backward_is_negated_and_scaled(weight):
    x = torch.randn(5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (reverse_gradient(x, weight) ** 2).sum().backward()
    torch.testing.assert_close(x.grad, -weight * 2 * x.detach())


def test_reverse_gradient_tensor_weight_equals_the_float():
    x = torch.randn(5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    of_float = torch.autograd.grad(reverse_gradient(x, 0.25).sum(), x)[0]
    of_tensor = torch.autograd.grad(reverse_gradient(x, torch.tensor(0.25)).sum(), x)[0]
    assert torch.equal(of_float, of_tensor)


def test_reverse_gradient_under_vmap_takes_a_weight_each():
    weights = torch.tensor(WEIGHTS)

    def slope(weight):
        return torch.func.grad(lambda x: reverse_gradient(x, weight).sum())(torch.ones(3))

    expected = -weights[:, None].expand(-1, 3)
    torch.testing.assert_close(torch.vmap(slope)(weights), expected)


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_reverse_gradient_impossible_weight_is_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        reverse_gradient(torch.ones(1), weight)


def values(name, per="batch", epochs=4, steps=5, **settings):
    schedule = make_reversal_schedule(
        name, epochs=epochs, steps_per_epoch=steps, per=per, **settings
    )
    return [[schedule(epoch, step) for step in range(steps)] for epoch in range(epochs)]


def test_constant_reversal_is_its_weight():
    assert values("constant", weight=0.3) == [[0.3] * 5] * 4


def test_linear_reversal_rises_from_zero_by_equal_steps():
    flat = [value for epoch in values("linear", weight=2.0) for value in epoch]
    assert flat == pytest.approx([2 * t / 20 for t in range(20)])


def test_staircase_reversal_is_the_seeds_formula_whatever_the_step():
    schedule = make_reversal_schedule("staircase", epochs=10_001, steps_per_epoch=7)
    assert [schedule(e, 6) for e in range(10)] == [0.01] * 10
    assert schedule(10, 0) == pytest.approx(0.01099)
    assert schedule(9_989, 0) == pytest.approx(0.01 + 998 * 0.00099)
    assert schedule(10_000, 3) == 1.0


def test_dann_reversal_is_the_papers_formula():
    flat = [value for epoch in values("dann") for value in epoch]
    assert flat[0] == 0.0
    # p = 1/2: 2 / (1 + e^-5) - 1
    assert flat[10] == pytest.approx(0.9866142982)
    assert flat == sorted(flat)


@pytest.mark.parametrize("name", REVERSAL_SCHEDULES)
def test_reversal_per_epoch_holds_the_value_of_its_first_batch(name):
    by_batch, by_epoch = values(name), values(name, per="epoch")
    assert by_epoch == [[epoch[0]] * 5 for epoch in by_batch]


@pytest.mark.parametrize("name", REVERSAL_SCHEDULES)
def test_reversal_weight_scales_every_schedule(name):
    one, three = values(name), values(name, weight=3.0)
    assert [3 * v for epoch in one for v in epoch] == pytest.approx(
        [v for epoch in three for v in epoch]
    )


def test_reversal_schedule_tells_all_faults_at_once():
    with pytest.raises(ValueError, match=r"'cubic'.*epochs: 0.*steps.*weight: -1.*per: 'day'"):
        make_reversal_schedule("cubic", epochs=0, steps_per_epoch=0, weight=-1, per="day")


@pytest.mark.parametrize("at", [(-1, 0), (4, 0), (5, 0), (0, 5), (0, 6), (0, -1)])
def test_reversal_outside_the_training_is_refused(at):
    schedule = make_reversal_schedule("linear", epochs=4, steps_per_epoch=5)
    with pytest.raises(ValueError, match="outside"):
        schedule(*at)
