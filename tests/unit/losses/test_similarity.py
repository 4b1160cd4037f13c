import math

import pytest
import torch
from torch.nn import functional

from study.losses import similarity as similarity_module
from study.losses.similarity import FORMS, Similarity, cosine


def rows(*values, **settings):
    return torch.tensor(values, **settings)


def with_cosines(*cosines):
    """Pairs of vectors in the plane with these cosines."""
    first = rows(*([1.0, 0.0] for _ in cosines), dtype=torch.float64)
    second = rows(*([c, math.sqrt(1 - c * c)] for c in cosines), dtype=torch.float64)
    return first, second


def test_similarity_logit_falls_with_the_cosine():
    # Polarity: t = 1 means different classes, so a higher cosine must lower the logit.
    similarity = Similarity("logit", scale=7.0)
    angles = torch.tensor([2.7, 1.6, 1.2, 0.1], requires_grad=True)
    first = torch.stack([angles.cos(), angles.sin()], dim=1)
    logits = similarity.difference(cosine(first, rows(*4 * [[1.0, 0.0]])))
    (slope,) = torch.autograd.grad(logits.sum(), angles)  # the cosine's own is -sin
    torch.testing.assert_close(slope, 7.0 * angles.sin())


@pytest.mark.parametrize("form", FORMS)
def test_similarity_different_pairs_cost_more_the_more_alike_they_are(form):
    loss = Similarity(form)(*with_cosines(0.1, 0.5, 0.9), torch.ones(3))["per_pair"]
    assert loss[0] < loss[1] < loss[2]
    loss = Similarity(form)(*with_cosines(0.1, 0.5, 0.9), torch.zeros(3))["per_pair"]
    assert loss[0] > loss[1] > loss[2]


def test_similarity_logit_matches_hand_computed_values():
    told = Similarity("logit", scale=10.0, offset=0.5)(*with_cosines(0.3, 0.3), rows(1.0, 0.0))
    # logit 10 * (0.5 - 0.3) = 2
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))]
    assert told["per_pair"].tolist() == pytest.approx(expected)
    assert told["cosine"].tolist() == pytest.approx([0.3, 0.3])
    assert float(told["clamped"]) == 0.0


@pytest.mark.parametrize("form", ["clamp", "clamp_eps"])
def test_similarity_clamp_is_bce_of_one_minus_cosine_inside_the_bounds(form):
    told = Similarity(form)(*with_cosines(0.3, 0.3), rows(True, False))
    assert told["per_pair"].tolist() == pytest.approx([-math.log(0.7), -math.log(0.3)])
    assert float(told["clamped"]) == 0.0


def test_similarity_collapsed_different_pairs_lose_about_five_and_keep_a_gradient():
    # The case that the notes compare the forms on.
    same = torch.rand(64, 1000, generator=torch.Generator().manual_seed(0))
    first = same.clone().requires_grad_()
    similarity = Similarity("logit")
    told = similarity(first, same + 1e-3 * torch.randn_like(same), torch.ones(64))
    loss = told["per_pair"].mean()
    loss.backward()
    assert loss.item() == pytest.approx(5.0, abs=0.05)
    assert first.grad.abs().max() > 0
    assert similarity.offset.grad.abs() > 1


def test_similarity_clamp_eps_on_collapsed_pairs_has_no_gradient_and_says_so():
    same = torch.rand(8, 100, generator=torch.Generator().manual_seed(0))
    first = same.clone().requires_grad_()
    told = Similarity("clamp_eps")(first, same, torch.ones(8))
    told["per_pair"].mean().backward()
    assert torch.equal(first.grad, torch.zeros_like(first))
    assert float(told["clamped"]) == 1.0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("targets", [(1, 1), (0, 0), (1, 0), (0, 1)])
def test_similarity_case_of_the_seeds_notes_is_finite(monkeypatch, form, targets):
    # "Rejecting sample due to out-of-range values": a batch of two whose f is [0, -1.1921e-07]
    f = torch.tensor([0.0, -1.1921e-07], requires_grad=True)
    monkeypatch.setattr(similarity_module, "cosine", lambda first, second: 1.0 - f)
    some = torch.ones(2, 3)
    told = Similarity(form)(some, some, torch.tensor(targets))
    told["per_pair"].mean().backward()
    assert torch.isfinite(told["per_pair"]).all()
    assert torch.isfinite(f.grad).all()
    assert float(told["clamped"]) == (0.0 if form == "logit" else 1.0)


def test_similarity_scale_stays_in_bounds_and_comes_back():
    similarity = Similarity("logit", scale=50.0)
    optimizer = torch.optim.SGD([similarity.log_scale], lr=0.02)
    for direction, bound in ((-1, 100.0), (1, 1.0), (-1, 100.0)):
        for _ in range(200):
            optimizer.zero_grad()
            (direction * similarity.scale).backward()
            optimizer.step()
        assert float(similarity.scale.detach()) == pytest.approx(bound)


@pytest.mark.parametrize(
    ("value", "pull", "moves"),
    [(9.0, 1, True), (9.0, -1, False), (-3.0, -1, True), (-3.0, 1, False), (2.0, 1, True)],
)
def test_similarity_scale_out_of_bounds_moves_inwards_only(value, pull, moves):
    similarity = Similarity("logit")
    with torch.no_grad():
        similarity.log_scale.fill_(value)
    (pull * similarity.scale).backward()
    assert bool(similarity.log_scale.grad != 0) is moves


def test_similarity_gradients_are_right():
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.rand(4, 6, dtype=torch.float64, generator=generator).requires_grad_()
        for _ in range(2)
    )
    target = rows(1.0, 0.0, 1.0, 0.0)
    for form in FORMS:
        similarity = Similarity(form).double()
        assert torch.autograd.gradcheck(
            lambda a, b, s=similarity: s(a, b, target)["per_pair"], (first, second)
        )


def test_cosine_equals_torchs_where_that_is_well_behaved():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(20, 50, generator=generator) for _ in range(2))
    torch.testing.assert_close(
        cosine(first, second), functional.cosine_similarity(first, second, dim=1)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cosine_under_autocast_is_taken_in_float32(dtype):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(8, 500, generator=generator).to(dtype) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cosine(first, second)
        loss = Similarity()(first, second, torch.ones(8))["per_pair"]
    assert inside.dtype == loss.dtype == torch.float32
    exact = cosine(first.double(), second.double())
    torch.testing.assert_close(inside.double(), exact, atol=1e-6, rtol=0)


def test_cosine_of_a_zero_vector_is_zero_without_gradient():
    first = torch.zeros(2, 5, requires_grad=True)
    second = torch.ones(2, 5, requires_grad=True)
    result = cosine(first, second)
    result.sum().backward()
    for tensor in (result, first.grad, second.grad):
        assert torch.equal(tensor.detach(), torch.zeros_like(tensor))


def test_similarity_sentinel_counts_different_pairs_alone():
    told = Similarity()(*with_cosines(0.2, 0.9, 0.4), rows(1.0, 0.0, 1.0))
    assert float(told["different_cosine_sum"]) == pytest.approx(0.6)
    assert float(told["num_different"]) == 2


def test_similarity_sentinel_of_batches_without_a_different_pair_is_no_nan():
    told = Similarity()(*with_cosines(0.2), rows(0.0))
    assert float(told["different_cosine_sum"]) == float(told["num_different"]) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "different"),
    [((3, 4), (2, 4), 3), ((3, 4), (3, 4), 2), ((0, 4), (0, 4), 0), ((3, 0), (3, 0), 3)],
)
def test_similarity_shapes_that_do_not_fit_are_refused(first, second, different):
    with pytest.raises(ValueError, match="shape"):
        Similarity()(torch.ones(first), torch.ones(second), torch.ones(different))


@pytest.mark.parametrize("settings", [{"form": "hinge"}, {"scale": 0.5}, {"scale": 101}])
def test_similarity_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Similarity(**settings)


def test_similarity_only_the_logit_form_learns_something():
    assert dict(Similarity().named_parameters()).keys() == {"log_scale", "offset"}
    assert not list(Similarity("clamp").parameters())


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((3, 3), (2, 3)), ((2, 3), (2, 4))])
def test_cosine_of_unequal_shapes_raises_whichever_is_larger(shapes):
    with pytest.raises(ValueError, match=r"must be equal, \(P, U\)"):
        cosine(*(torch.ones(shape) for shape in shapes))
