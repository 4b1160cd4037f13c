from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from study.errors import Fault
from study.losses.margins import (
    EnergyStats,
    MarginRange,
    MeasuredMargin,
    crossing,
    parse_margin,
    resolve_margin,
)

STATS = EnergyStats(id_mean=-8.0, id_sd=2.0, outlier_mean=-5.0, outlier_sd=1.0)


@pytest.mark.parametrize(
    ("raw", "nats"),
    [
        (-23, -23.0),
        ({"below": "id_energy", "sd": 3}, -14.0),
        ({"above": "id_energy", "sd": 0.5}, -7.0),
        ({"below": "outlier_energy", "sd": 1}, -6.0),
        ({"above": "outlier_energy", "sd": -1.0}, -6.0),
    ],
)
def test_resolve_margin_hand_computed(raw: Any, nats: float) -> None:
    assert resolve_margin(parse_margin(raw), STATS) == nats


@pytest.mark.parametrize(
    "raw",
    [None, "low", True, [1], {}, {"sd": 1}, {"below": "id_energy"}, {"below": "x", "sd": 1},
     {"below": "id_energy", "above": "id_energy", "sd": 1}, {"below": "id_energy", "sd": "1"},
     {"below": "id_energy", "sd": 1, "x": 2}, math.inf, math.nan, {"below": ["x"], "sd": 1}],
)  # fmt: skip
def test_parse_margin_other_form_refused(raw: Any) -> None:
    with pytest.raises(PydanticCustomError):
        parse_margin(raw)


def test_measured_margin_plain_reads_back() -> None:
    margin = MeasuredMargin("below", "id_energy", 2.5)
    assert parse_margin(margin.plain()) == margin


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_energy_stats_not_finite_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        EnergyStats(bad, 1, 0, 1)


def test_energy_stats_negative_sd_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        EnergyStats(0, -1, 0, 1)


def test_crossing_absolute_ranges_as_the_style_guide_writes_it() -> None:
    told = crossing(
        MarginRange(None, None, -12, -4),
        MarginRange(None, None, -8, -3),
        other_key="search.m_out",
    )
    assert told is not None
    assert str(Fault("energy.yaml", "search.m_in", *told)).startswith(
        "energy.yaml: search.m_in: high -4 must stay below search.m_out: low -8."
    )


def test_crossing_apart_is_none() -> None:
    m_in, m_out = MarginRange(None, None, -12, -8), MarginRange(None, None, -7.9, -3)
    assert crossing(m_in, m_out) is None


def test_crossing_touching_is_a_fault() -> None:
    m_in, m_out = MarginRange(None, None, -12, -8), MarginRange(None, None, -8, -3)
    assert crossing(m_in, m_out) is not None


def test_crossing_different_references_unknown_before_the_base() -> None:
    m_in = MarginRange("below", "id_energy", 0, 6)
    m_out = MarginRange("above", "outlier_energy", -4, 2)
    assert crossing(m_in, m_out) is None
    assert crossing(m_in, MarginRange(None, None, -9, -5)) is None


def test_crossing_measured_told_once_the_base_is_known() -> None:
    m_in = MarginRange("below", "id_energy", 0, 6)  # reaches -8
    told = crossing(m_in, MarginRange("above", "outlier_energy", -4, 2), STATS)  # to -9
    assert told is not None
    assert "high -8 nats must stay below train.m_out: low -9 nats" in told[0]
    assert "-8 ± 2" in told[1]
    assert "Raise the least sd of m_in, or train the base longer." in told[1]
    assert crossing(m_in, MarginRange("above", "outlier_energy", -2, 2), STATS) is None


@pytest.mark.parametrize(
    ("m_out", "way_out"),
    [
        (MarginRange("above", "id_energy", -1, 2), "Lower m_in, or raise the least sd of m_out."),
        (MarginRange(None, None, -9, -5), "Lower m_in, or raise m_out."),
    ],
)
def test_crossing_of_an_absolute_m_in_says_how_m_out_is_raised(
    m_out: MarginRange, way_out: str
) -> None:
    told = crossing(MarginRange(None, None, -12, -4), m_out, STATS)
    assert told is not None
    assert told[1].endswith(way_out)


def test_crossing_one_reference_compared_without_stats() -> None:
    m_in = MarginRange("below", "id_energy", 0.5, 6)
    assert crossing(m_in, MarginRange("above", "id_energy", -0.4, 2)) is None
    assert crossing(m_in, MarginRange("above", "id_energy", -0.5, 2)) is not None
    assert crossing(m_in, MarginRange("below", "id_energy", 0, 0.4)) is None


def test_energy_stats_of_equal_energies_are_taken() -> None:
    assert EnergyStats(id_mean=-8.0, id_sd=0.0, outlier_mean=-5.0, outlier_sd=0.0).outlier_sd == 0
