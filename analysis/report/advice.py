"""What a study says about the next one: its floor, its length, the ranges that it searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pandas as pd

from analysis.choice.cells import NoScores
from analysis.choice.selection import NoSelection
from analysis.numbers import metric_label, percent, points, state_text
from analysis.results.budget import Budget, budget_of
from analysis.results.edges import Edge, edges
from analysis.results.floor import FloorPrices, floor_prices
from analysis.tables import Records
from study.errors import BadInput

Found = TypeVar("Found")


@dataclass(frozen=True)
class Advice:
    """What was found; None or empty where the study does not allow it.

    Attributes:
        prices: who stands above the floor, and what other floors would give.
        budget: the expected best at each number of trials.
        edges: parameters whose best values lie at an edge of their range.
    """

    prices: FloorPrices | None = None
    budget: Budget | None = None
    edges: list[Edge] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """What should be told without being asked: sentences."""
        tight = self.prices.lines if self.prices is not None and self.prices.tight else []
        long = [self.budget.text] if self.budget is not None else []
        return [*tight, *(edge.text for edge in self.edges), *long]

    def plain(self) -> dict[str, Any]:
        """The numbers behind it, for ``--json``; null for what there is not."""
        floor, budget = self.prices, self.budget
        return {
            "floor": floor and {**vars(floor), "tight": floor.tight, "text": floor.lines},
            "budget": budget and {**vars(budget), "text": budget.text},
            "edges": [asdict(edge) | {"text": edge.text} for edge in self.edges],
        }


def advice_of(study: Records) -> Advice:
    """Ask a search everything that the next one should know; an ablation has no advice."""
    if study.section("ablate") or not len(study.trials):
        return Advice()
    return Advice(
        _asked(floor_prices, study), _asked(budget_of, study), _asked(edges, study) or []
    )


def _asked(question: Callable[[Records], Found], study: Records) -> Found | None:
    try:
        return question(study)
    except (NoScores, NoSelection, BadInput):
        return None


def prices_table(prices: FloorPrices) -> pd.DataFrame:
    """What other floors would give, as texts."""
    table, name = prices.table, metric_label(prices.metric, "", short=True)
    states = [
        "–" if pd.isna(row["epoch"]) else state_text(int(row["epoch"]), row["alpha"])
        for row in table.to_dict("records")
    ]
    low, high = table["gain_low"].map(points), table["gain_high"].map(points)
    return pd.DataFrame(
        {
            "floor": table["step"].map(points).replace("+0.0", "yours"),
            "accuracy, %": table["floor"].map(percent),
            "above": table["trials"].astype(str),
            "best": table["trial_id"].fillna("–"),
            "its state": states,
            f"{name}, %": table["seen"].map(percent),
            "other half, %": table["other"].map(percent),
            "gain [95 %]": table["gain"].map(points) + " [" + low + ", " + high + "]",
        }
    )
