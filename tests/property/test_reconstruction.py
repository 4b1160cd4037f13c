import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from study.losses.reconstruction import make_reconstruction

pixels = st.floats(0, 1, width=32)
pairs = st.tuples(*[arrays("float32", (2, 3, 16, 16), elements=pixels, fill=pixels)] * 2)
NAMES = ("l1", "mse", "huber", "charbonnier", "ssim", "ms_ssim", "l1_ssim")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(pair=pairs)
def test_reconstruction_value_and_gradient_are_finite_for_any_images(name, pair):
    output, target = (torch.from_numpy(one.copy()) for one in pair)
    output.requires_grad_()
    loss = make_reconstruction(name)(output, target)
    loss.sum().backward()
    # SSIM's rounding in flat bright images.
    assert ((loss >= -5e-3) & (loss <= 2 + 5e-3)).all()
    assert output.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(pair=pairs)
def test_reconstruction_perfect_is_zero_for_any_images(name, pair):
    target = torch.from_numpy(pair[0].copy())
    loss = make_reconstruction(name)(target, target)
    assert torch.equal(loss, torch.zeros(2))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25)
@given(pair=pairs)
def test_reconstruction_is_symmetric(name, pair):
    first, second = (torch.from_numpy(one.copy()) for one in pair)
    loss = make_reconstruction(name)
    torch.testing.assert_close(loss(first, second), loss(second, first), rtol=1e-4, atol=5e-3)


@given(pair=pairs, delta=st.floats(0.01, 2))
def test_huber_lies_between_nothing_and_its_two_parents(pair, delta):
    first, second = (torch.from_numpy(one.copy()).double() for one in pair)
    huber = make_reconstruction("huber", huber_delta=delta)(first, second)
    l1, mse = (make_reconstruction(name)(first, second) for name in ("l1", "mse"))
    assert (huber <= delta * l1 + 1e-12).all()
    assert (huber <= mse / 2 + 1e-12).all()
