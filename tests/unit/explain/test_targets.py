from __future__ import annotations

import pytest
import torch
from torch import nn

from study.explain.targets import PairLogit
from study.losses.similarity import Similarity


@pytest.mark.parametrize(
    "similarity",
    [Similarity(scale=4.0, offset=0.3), Similarity("clamp")],
    ids=["logit", "clamp"],
)
def test_pair_logit_is_the_trained_similarity(similarity: Similarity) -> None:
    first, second = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0))
    pair = PairLogit.of(similarity)
    cosine = torch.nn.functional.cosine_similarity(first, second)
    expected = similarity.difference(cosine).detach()
    torch.testing.assert_close(pair.scale * (pair.offset - cosine), expected)


def test_pair_logit_is_found_in_the_state_of_a_loss() -> None:
    loss = nn.Module()
    loss.similarity = Similarity(scale=4.0, offset=0.3)
    loss.other = nn.Linear(2, 2)
    assert PairLogit.of_state(loss.state_dict()) == PairLogit.of(loss.similarity)
    assert PairLogit.of_state(nn.Linear(2, 2).state_dict()) is None
