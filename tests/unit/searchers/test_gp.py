"""study.searchers.methods.gp: fitted to so many trials at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.toys import run_toy_search

LOOK: dict[str, Any] = {"searcher": "gp", "scheduler": "none", "num_epochs": lambda point: 1}
BOUND = 10


def _params(path: Path, num_trials: int = 13, **changes: Any) -> list[dict[str, Any]]:
    return [one.params for one in run_toy_search(path, num_trials, **LOOK, **changes).trials]


def test_asks_up_to_the_bound_are_those_of_a_fit_to_all(tmp_path: Path) -> None:
    bounded = _params(tmp_path / "bounded", fitted_to=BOUND)
    whole = _params(tmp_path / "whole", fitted_to=None)
    assert bounded[: BOUND + 1] == whole[: BOUND + 1]
    assert bounded != whole


def test_bounded_search_cut_off_and_resumed_asks_the_same(tmp_path: Path) -> None:
    whole = _params(tmp_path / "whole", fitted_to=BOUND)
    _params(tmp_path / "cut", 11, fitted_to=BOUND)
    assert _params(tmp_path / "cut", fitted_to=BOUND) == whole
