"""Domains: their values to a generator and to Optuna, and which values are theirs."""

from __future__ import annotations

import numpy as np
import pytest

from study.space.search.domains import (
    Choice,
    Domain,
    IntUniform,
    LogUniform,
    Uniform,
    read_domain,
)


@pytest.mark.parametrize(
    "domain",
    [Uniform(0.0, 1.0), Uniform(0.0, 1.0, 0.25), LogUniform(1e-5, 1.0), IntUniform(1, 9, 2),
     Choice((64, 128)), Choice(("a", None, True))],
)  # fmt: skip
def test_to_optuna_same_ends(domain: Domain) -> None:
    distribution = domain.distribution()
    for value in domain.ends():
        assert distribution._contains(distribution.to_internal_repr(value))
    if not isinstance(domain, Choice):
        outside = float(domain.ends()[1]) * 1.5  # type: ignore[arg-type]
        assert not distribution._contains(outside)


def test_to_optuna_loguniform_is_log() -> None:
    assert LogUniform(1e-4, 1.0).distribution().log  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "domain",
    [Uniform(0.1, 0.2), Uniform(0, 1, 0.25), LogUniform(1e-3, 1e-2), IntUniform(2, 8, 3)],
)
def test_drawn_values_are_of_the_domain(
    domain: Uniform | LogUniform | IntUniform,
) -> None:
    generator = np.random.default_rng(0)
    values = [domain.drawn(generator) for _ in range(50)]
    assert all(domain.low <= float(value or 0) <= domain.high for value in values)
    if domain.count() is not None:
        assert set(values) == set(domain.points())


def test_drawn_of_very_many_steps_lists_none() -> None:
    value = Uniform(0.0, 1.0, 1e-8).drawn(np.random.default_rng(0))
    assert isinstance(value, float)
    assert value == round(value, 8)


def test_contains_of_many_steps_lists_none() -> None:
    domain = Uniform(0.0, 1.0, 1e-8)
    assert 0.5 in domain
    assert 0.5 + 4e-9 not in domain


def test_contains_knows_steps_and_types() -> None:
    assert 1 in Choice((1, "a"))
    assert True not in Choice((1, "a"))


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (IntUniform(2, 8, 3), [2, 5, 8]),
        (Uniform(0.0, 0.3, 0.1), [0.0, 0.1, 0.2, 0.3]),
        (Choice(("a", True)), ["a", True]),
    ],
)
def test_points_are_every_value_in_its_type(domain: Domain, values: list[object]) -> None:
    assert list(domain.points()) == values
    assert [type(value) for value in domain.points()] == [type(value) for value in values]
    assert domain.count() == len(values)
    assert all(value in domain for value in values)


@pytest.mark.parametrize("domain", [Uniform(0.0, 1.0), LogUniform(0.1, 1.0)])
def test_points_of_a_continuous_domain_are_refused(domain: Domain) -> None:
    assert domain.count() is None
    with pytest.raises(ValueError, match="no countable values"):
        domain.points()


@pytest.mark.parametrize(
    "domain",
    [
        Uniform(0.0, 6.0),
        Uniform(0.0, 1.0, 0.25),
        LogUniform(1e-4, 1e-2),
        IntUniform(1, 9),
        IntUniform(1, 9, 2),
        Choice((1, "a", None)),
    ],
)
def test_read_domain_of_its_plain_form_is_itself(domain: Domain) -> None:
    assert read_domain(domain.plain()) == domain
