"""Three small studies ask, decide and measure what is recorded in ``studies.json``.

Asks (parameters and seeds) and decisions are held exactly, metrics to 1e-3: absolute for values up
to 1, relative above. Versions: torch 2.14, optuna 5.0, numpy 2.4.
Regenerate: ``python tests/golden/record_studies.py``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.golden.driving import STUDIES
from tests.golden.record_studies import RECORDED, found_now

Pair = tuple[dict[str, Any], dict[str, Any]]
_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the studies do now."""
    return found_now(tmp_path_factory.mktemp("golden"))


@pytest.fixture(params=STUDIES)
def pair(request: pytest.FixtureRequest, found: dict[str, Any]) -> Pair:
    """What a study does now, and what it did when it was recorded."""
    return found[request.param], json.loads(RECORDED.read_text())[request.param]


def test_golden_study_asks_what_was_recorded(pair: Pair):
    now, recorded = pair
    assert now["asks"] == recorded["asks"]


def test_golden_study_decides_what_was_recorded(pair: Pair):
    now, recorded = (
        [(one["number"], one["epoch"], one["decision"]) for one in study["results"]]
        for study in pair
    )
    assert now == recorded


def test_golden_study_measures_what_was_recorded(pair: Pair):
    now, recorded = pair
    close(now["base"], recorded["base"])
    for mine, theirs in zip(now["results"], recorded["results"], strict=True):
        close(mine["metrics"], theirs["metrics"])


def close(now: dict[str, float], recorded: dict[str, float]) -> None:
    assert now == pytest.approx(recorded, rel=_TOLERANCE, abs=_TOLERANCE)
