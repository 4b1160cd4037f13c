from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution

from study.records.ledger import read_ledger
from study.space.search.conditions import When, existing, num_points, points
from tests.toys import run_toy_search

VALUES = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[dict[str, list[int]], dict[str, When]]:
    """Parameters in any order, each of which may hang on some of those before it by rank."""
    ranked = ["a", "b", "c", "d", "e"]
    values = {name: draw(VALUES) for name in ranked}
    conditions = {}
    for i, name in enumerate(ranked[1:], start=1):
        parents = draw(st.lists(st.sampled_from(ranked[:i]), max_size=2, unique=True))
        if parents:
            wanted = [draw(st.sets(st.sampled_from(values[p]), min_size=1)) for p in parents]
            pairs = zip(parents, map(tuple, wanted), strict=True)
            conditions[name] = When(tuple(pairs))
    order = draw(st.permutations(ranked))
    return {name: values[name] for name in order}, conditions


@given(spaces())
@settings(deadline=None, max_examples=60)
def test_points_are_all_combinations_without_what_does_not_exist_once(
    space: tuple[dict[str, list[int]], dict[str, When]],
) -> None:
    values, conditions = space
    product = (dict(zip(values, one, strict=True)) for one in itertools.product(*values.values()))
    expected = {tuple(existing(point, conditions).items()) for point in product}
    found = [tuple(point.items()) for point in points(values, conditions)]
    assert len(found) == len(set(found)) == num_points(values, conditions, 10**6)
    assert set(found) == expected


@given(
    st.sampled_from(["tpe", "cmaes", "nsga2"]),
    st.sampled_from(["asha", "hyperband", "median", "none"]),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=5)
def test_search_cut_anywhere_is_as_one_that_was_never_cut(
    searcher: str, scheduler: str, cuts: list[int]
) -> None:
    changes: dict[str, Any] = {
        "searcher": searcher,
        "scheduler": scheduler,
        "distributions": {
            "kind": CategoricalDistribution(["a", "b"]),
            "x": FloatDistribution(0, 1),
            "z": FloatDistribution(0, 1, step=0.25),
            "y": FloatDistribution(0, 1),
        },
        "conditions": {"y": When((("kind", ("b",)),))},
        "parameters": {"population": 3} if searcher == "nsga2" else {},
        "num_epochs": lambda point: 3,
        "max_epochs": 3,
        "reduction_factor": 2,
    }
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        run_toy_search(whole, 10, **changes)
        for steps in cuts:
            run_toy_search(cut, 10, stop_after=steps, **changes)
        run_toy_search(cut, 10, **changes)
        one, two = ([r | {"time": ""} for r in read_ledger(path)[0]] for path in (whole, cut))
    assert one == two
