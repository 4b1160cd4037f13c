import math

import numpy as np
import pytest
import torch

from study.scoring.scores import SCORES, compute_scores, energy, max_logit, msp

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 5.0, 5.0]])


def test_msp_is_log_of_one_minus_maximum_probability():
    expected = np.log(1 - torch.softmax(LOGITS.double(), dim=1).amax(dim=1).numpy())
    np.testing.assert_allclose(msp(LOGITS), expected, rtol=1e-12)
    assert msp(LOGITS)[1] == pytest.approx(math.log(2 / 3))


def test_msp_of_confident_inputs_keeps_their_order_where_float32_ties():
    logits = torch.tensor([[40.0, 0.0], [50.0, 0.0], [900.0, 0.0]])
    assert (torch.softmax(logits, dim=1).amax(dim=1) == 1.0).all()
    np.testing.assert_allclose(msp(logits), [-40.0, -50.0, -900.0])


def test_max_logit_is_negative_maximum():
    np.testing.assert_array_equal(max_logit(LOGITS), [-2.0, 0.0, -5.0])


def test_energy_matches_hand_computed_values():
    assert energy(LOGITS)[1] == pytest.approx(-math.log(3))
    assert energy(LOGITS, 2.0)[0] == pytest.approx(-2 * math.log(math.e + math.exp(0.5) + 1))


def test_energy_of_float32_logits_is_computed_in_float64():
    logits = torch.full((1, 2), 100.0)
    assert energy(logits)[0] == -(100 + math.log(2))


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_higher_for_less_confident_inputs(name):
    confident, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.9, 0.8]])
    assert SCORES[name](unsure, 1.0)[0] > SCORES[name](confident, 1.0)[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_compute_scores_returns_float64_arrays_in_order_asked(dtype):
    logits = LOGITS.to(dtype).requires_grad_()
    scores = compute_scores(logits, ("energy", "msp"), temperature=2.0)
    assert list(scores) == ["energy", "msp"]
    for values in scores.values():
        assert isinstance(values, np.ndarray)
        assert values.dtype == np.float64
        assert values.shape == (3,)
    np.testing.assert_array_equal(scores["msp"], msp(logits))
    np.testing.assert_array_equal(scores["energy"], energy(logits, 2.0))


def test_compute_scores_under_inference_mode_works():
    with torch.inference_mode():
        logits = LOGITS * 1
        assert set(compute_scores(logits)) == set(SCORES)


def test_compute_scores_non_finite_logits_give_non_finite_scores():
    scores = compute_scores(torch.tensor([[float("nan"), 0.0, 1.0]]))
    assert all(not np.isfinite(values).any() for values in scores.values())


def test_compute_scores_unknown_name_raises_with_known_ones():
    with pytest.raises(ValueError, match=r"unknown scores \['odin'\].*msp"):
        compute_scores(LOGITS, ["odin"])


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_energy_temperature_not_positive_raises(temperature):
    with pytest.raises(ValueError, match="temperature"):
        energy(LOGITS, temperature)


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_one_dimension_raise(name):
    with pytest.raises(ValueError, match=r"\(3,\), must be \(N, K\)"):
        SCORES[name](LOGITS[0], 1.0)


def test_msp_of_one_class_raises():
    with pytest.raises(ValueError, match="two classes"):
        msp(torch.zeros(2, 1))


@pytest.mark.parametrize("score", [msp, max_logit, energy])
def test_scores_are_of_temperature_one_where_nothing_is_said(score):
    np.testing.assert_array_equal(score(LOGITS), score(LOGITS, 1.0))
