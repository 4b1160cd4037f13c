from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.results.edges import HIGH, LOW, Edge, edges
from analysis.study import Study
from study.errors import BadInput
from tests.fake_search import Draw, fake_search

NOISE: dict[str, Draw] = {f"n{i}": lambda rng: float(rng.uniform()) for i in range(4)}


def searched(draw: Draw, domain: Mapping[str, Any], sign: float, *, seed: int = 0) -> Study:
    """30 trials that are the better the lower (sign 1) or the higher (sign -1) x is."""
    study = fake_search(lambda p: 0.5 + sign * 0.01 * p["x"], {"x": draw, **NOISE}, 30, seed=seed)
    return replace(study, spec={"search": study.spec["search"] | {"x": domain}})


def the_edge(study: Study) -> Edge:
    (found,) = [one for one in edges(study) if one.parameter == "param/train.x"]
    return found


@pytest.mark.parametrize(
    ("domain", "sign", "at", "wider"),
    [
        ({"uniform": [2, 4]}, 1.0, LOW, "{uniform: [1, 3]}"),
        ({"uniform": [2, 4]}, -1.0, HIGH, "{uniform: [3, 5]}"),
        ({"uniform": [0, 4]}, 1.0, LOW, "{uniform: [0, 2]}"),  # nothing lies below 0
        ({"uniform": [0, 1]}, -1.0, HIGH, "{uniform: [0.5, 1]}"),
        ({"uniform": [-1, 1]}, 1.0, LOW, "{uniform: [-2, 0]}"),
        ({"below": "id_energy", "sd": {"uniform": [2, 4]}}, 1.0, LOW, "{uniform: [1, 3]}"),
    ],
)
def test_edges_of_a_range_are_told_with_the_range_to_try_next(
    domain: Mapping[str, Any], sign: float, at: str, wider: str
) -> None:
    low, high = domain.get("uniform") or domain["sd"]["uniform"]
    found = the_edge(searched(lambda rng: float(rng.uniform(low, high)), domain, sign))
    assert (found.at, found.next_domain) == (at, wider)
    assert (found.num_there, found.num_best) >= (3, 5)
    assert f"Try {wider} next." in found.text


def test_edges_of_a_logarithmic_range_are_moved_on_its_scale() -> None:
    domain = {"loguniform": [0.01, 1.0]}
    study = searched(lambda rng: float(10 ** rng.uniform(-2, 0)), domain, 1.0)
    assert the_edge(study).next_domain == "{loguniform: [0.001, 0.1]}"


def test_edges_of_whole_numbers_stay_whole_and_above_zero() -> None:
    study = searched(lambda rng: int(rng.integers(1, 31)), {"int": [1, 30]}, 1.0)
    assert the_edge(study).next_domain == "{int: [1, 16]}"


def test_edges_of_numbers_to_choose_from_go_on_by_their_ratio() -> None:
    levels = [32, 64, 128, 256, 512]
    study = searched(lambda rng: int(rng.choice(levels)), {"choice": levels}, -0.01)
    found = the_edge(study)
    assert found.next_domain == "{choice: [64, 128, 256, 512, 1024]}"
    assert "at the highest choice" in found.text


def test_edges_of_two_numbers_or_of_words_are_none() -> None:
    study = fake_search(
        lambda p: 0.5 + (p["x"] == 1) + (p["word"] == "b"),
        {
            "x": lambda rng: int(rng.choice([1, 2])),
            "word": lambda rng: str(rng.choice(["a", "b"])),
        },
        24,
    )
    search = {"x": {"choice": [1, 2]}, "word": {"choice": ["a", "b"]}}
    assert not edges(replace(study, spec={"search": search}))


def test_edges_are_none_where_the_best_values_lie_inside() -> None:
    study = fake_search(
        lambda p: abs(p["x"] - 0.5), {"x": lambda rng: float(rng.uniform()), **NOISE}, 24
    )
    assert not edges(study)


def test_edges_of_parameters_without_effect_are_told_in_few_studies() -> None:
    draws = {f"n{i}": lambda rng: float(rng.uniform()) for i in range(6)}
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(1000 + seed)
        told += bool(edges(fake_search(lambda _, r=rng: float(r.uniform()), draws, 16, seed=seed)))
    assert told <= 15


def test_edges_of_few_trials_are_refused() -> None:
    study = fake_search(lambda p: p["x"], {"x": lambda rng: float(rng.uniform())}, 8)
    with pytest.raises(BadInput, match="fewer than 12"):
        edges(study)
