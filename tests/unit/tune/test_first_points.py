"""Points of `tune.first`: tried before the searcher's, on the ledger, the same in any session."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.records.ledger import read_ledger
from tests.toys import run_toy_search
from tests.unit.tune.test_searchers import CONDITIONAL, assert_exact

FIRST = ({"x": 0.25, "kind": "b"}, {"x": 0.75})


def test_first_trials_have_what_the_points_name_and_the_rest_is_drawn(tmp_path: Path) -> None:
    decisions = run_toy_search(tmp_path / "ledger", 4, first=FIRST, searcher="random")
    assert decisions.trials[0].params == {"x": 0.25, "kind": "b"}
    assert decisions.trials[1].params["x"] == 0.75
    assert decisions.trials[1].params["kind"] in ("a", "b", 3)


def test_trials_after_them_are_drawn_as_without(tmp_path: Path) -> None:
    plan = {"searcher": "random", "scheduler": "none"}
    named = run_toy_search(tmp_path / "named", 5, first=FIRST, **plan)
    free = run_toy_search(tmp_path / "free", 5, **plan)
    assert [t.params for t in named.trials[2:]] == [t.params for t in free.trials[2:]]


def test_ledger_says_which_points_were_named(tmp_path: Path) -> None:
    run_toy_search(tmp_path / "ledger", 4, first=FIRST)
    asks = [one for one in read_ledger(tmp_path / "ledger")[0] if one["event"] == "ask"]
    assert [one.get("first", False) for one in asks] == [True, True, False, False]


@pytest.mark.parametrize("searcher", ["tpe", "cmaes", "nsga2"])
def test_search_with_first_points_cut_off_and_resumed_goes_on_as_it_would_have(
    tmp_path: Path, searcher: str
) -> None:
    first = ({"kind": "b", "y": 0.5, "x": 0.1}, {"z": 0.01})
    changes = CONDITIONAL | {"searcher": searcher, "first": first, "num_epochs": lambda point: 2}
    whole = assert_exact(tmp_path, 12, (1, 3, 9), **changes)
    assert whole.trials[0].params["y"] == 0.5
