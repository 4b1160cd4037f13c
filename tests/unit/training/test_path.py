"""study.training.path: weights between those of the base and those of a trial."""

import pytest
import torch

from study.training.path import between

START = {"weight": torch.tensor([0.0, 2.0]), "count": torch.tensor(3)}
END = {"weight": torch.tensor([1.0, 6.0]), "count": torch.tensor(9)}


@pytest.mark.parametrize(("alpha", "weight"), [(0.0, [0, 2]), (0.25, [0.25, 3]), (1.0, [1, 6])])
def test_floats_are_interpolated(alpha: float, weight: list[float]) -> None:
    assert between(START, END, alpha)["weight"].tolist() == weight


def test_counters_are_those_of_the_trained_weights() -> None:
    assert int(between(START, END, 0.5)["count"]) == 9


def test_ends_are_the_very_bits_and_copies() -> None:
    generator = torch.Generator().manual_seed(0)
    start, end = ({"w": torch.randn(99, generator=generator)} for _ in range(2))
    for alpha, one in ((0.0, start), (1.0, end)):
        found = between(start, end, alpha)["w"]
        assert torch.equal(found, one["w"])
        assert found.data_ptr() != one["w"].data_ptr()
