"""Three small studies ask, decide and measure what is recorded in ``studies.json``.

Asks (parameters and seeds) and decisions are held exactly, metrics to 1e-3: absolute for values up
to 1, relative above. Versions: torch 2.14, optuna 5.0, numpy 2.4, on a CPU with AVX-512.
Regenerate: ``python tests/golden/record_studies.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.golden.driving import STUDIES
from tests.golden.record_studies import RECORDED, searched

Pair = tuple[dict[str, Any], dict[str, Any]]
_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As the recording had it, and a cache in which the base of all three is trained once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OOD_STUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=STUDIES)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Pair:
    """What a study does now, and what it did when it was recorded."""
    now = searched(request.param, tmp_path_factory.mktemp("golden") / request.param)
    return now, json.loads(RECORDED.read_text())[request.param]


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
