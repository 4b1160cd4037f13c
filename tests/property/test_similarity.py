import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from study.losses.similarity import FORMS, Similarity, cosine

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
KINDS = ("random", "identical", "opposite", "zero", "one_zero", "huge", "tiny", "sparse", "mixed")


def features(kind, num_pairs, width, dtype, generator):
    """A batch of pairs of one kind, or of every kind in turn."""
    if kind == "mixed":
        parts = [features(k, 1, width, dtype, generator) for k in KINDS[:-1]]
        return tuple(torch.cat(side) for side in zip(*parts, strict=True))
    first, second = (torch.randn(num_pairs, width, generator=generator) for _ in range(2))
    largest = torch.finfo(dtype).max
    if kind == "identical":
        second = first.clone()
    elif kind == "opposite":
        second = -first
    elif kind == "zero":
        first, second = torch.zeros_like(first), torch.zeros_like(second)
    elif kind == "one_zero":
        first = torch.zeros_like(first)
    elif kind == "huge":
        first, second = (x.sign() * largest for x in (first, second))
    elif kind == "tiny":
        first = first * torch.finfo(dtype).tiny
    elif kind == "sparse":
        first, second = (x.relu() * (x > 1.5) for x in (first, second))
    return first.to(dtype), second.to(dtype)


def told(form, first, second, different):
    """The loss with its gradients; every number that comes out of a step."""
    first, second = (x.clone().requires_grad_() for x in (first, second))
    similarity = Similarity(form)
    terms = similarity(first, second, different)
    terms["per_pair"].mean().backward()
    gradients = [first.grad, second.grad, *(p.grad for p in similarity.parameters())]
    return terms, gradients


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_similarity_is_finite_for_all_finite_features(form, dtype, data):
    kind = data.draw(st.sampled_from(KINDS))
    num_pairs, width = data.draw(st.integers(1, 9)), data.draw(st.sampled_from([1, 2, 17, 300]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    first, second = features(kind, num_pairs, width, dtype, generator)
    different = torch.rand(len(first), generator=generator) < 0.5
    terms, gradients = told(form, first, second, different)
    assert terms["per_pair"].shape == (len(first),)
    for value in terms.values():
        assert torch.isfinite(value).all()
    for gradient in gradients:
        assert not torch.isnan(gradient).any()
        # Float16 cannot hold what the clamps' steep logarithms may send back.
        assert torch.isfinite(gradient).all() or (dtype == torch.float16 and form != "logit")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_similarity_thousands_of_pairs_of_every_kind_are_finite(form, dtype):
    generator = torch.Generator().manual_seed(1)
    for kind in KINDS[:-1]:
        first, second = features(kind, 1500, 64, dtype, generator)
        different = torch.rand(1500, generator=generator) < 0.5
        terms, gradients = told(form, first, second, different)
        assert torch.isfinite(terms["per_pair"]).all()
        assert all(torch.isfinite(gradient).all() for gradient in gradients[:2])


@pytest.mark.parametrize("width", [2, 1000, 50_176])
@pytest.mark.parametrize("form", FORMS)
def test_similarity_identical_vectors_of_any_width_are_finite(form, width):
    # Rounding puts some of these f below 0: where the seed threw the batch away.
    same = torch.rand(40, width, generator=torch.Generator().manual_seed(2))
    terms, gradients = told(form, same, same.clone(), torch.ones(40))
    assert torch.isfinite(terms["per_pair"]).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


vectors = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.floats(-1e6, -1e-6)), min_size=3, max_size=3
)


@given(vectors, vectors)
def test_cosine_equals_its_definition(first, second):
    result = cosine(torch.tensor([first]).double(), torch.tensor([second]).double())
    one, two = torch.tensor(first).double(), torch.tensor(second).double()
    length = math.sqrt(float(one @ one)) * math.sqrt(float(two @ two))
    expected = float(one @ two) / length if length else 0.0
    assert float(result) == pytest.approx(expected, abs=1e-12)


@given(vectors, vectors, st.floats(1e-3, 1e30))
def test_cosine_does_not_depend_on_lengths_and_is_symmetric(first, second, factor):
    one, two = torch.tensor([first]), torch.tensor([second])
    torch.testing.assert_close(cosine(one, two * factor), cosine(one, two), atol=2e-6, rtol=0)
    assert torch.equal(cosine(one, two), cosine(two, one))
