"""What is known of one trial, as the ledger tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from study.records.files import CONFIRM
from study.scoring.objective import OBJECTIVE, standing
from study.space.ablation.section import ARM
from study.space.search.conditions import Point

NODE_LOST = "its machine was lost"
"""Why a trial goes on that had no part in it: a node, or Ray on it, died under its worker."""

Flat = dict[str, Any]
"""Values by dotted name, ``train.lr``."""


def checkpoint_epoch(standings: Sequence[tuple[bool, float]], rule: str) -> int:
    """The epoch (1-based) that the checkpoint rule picks; 0 where none is recorded.

    "best" is the lowest val/objective of those above the floor, where there is none of all, the
    earliest of equals; "last" the last recorded one.

    Args:
        standings: `study.scoring.objective.standing` of each.
        rule: "best" or "last".
    """
    if not standings:
        return 0
    if rule == "last":
        return len(standings)
    return min(range(len(standings)), key=lambda index: standings[index]) + 1


@dataclass
class TrialRecord:
    """What the ledger says of one trial.

    Attributes:
        number: from 0, in the order of asking.
        seed: names its random streams.
        params: searched parameters, dotted name -> value; of an ablation, arm and seed.
        num_epochs: so many it trains, unless it is stopped or fails before.
        epochs: metrics of every recorded epoch, of its best state.
        states: of every recorded epoch what its states are compared by, the lowest alpha first;
            empty where the trial has no path.
        scores: of every recorded epoch the hash of its per-image scores; "" in older ledgers.
        status: "running" until it ends as "finished", "pruned" or "failed"; "stopped" from the
            beginning where its arm was stopped before.
        reason: why it ended so.
        cause: class of a failure: "diverged", "memory", "bug", "lost".
        traceback: of a failure in code.
        lost: how often its worker died under it, but for `NODE_LOST`.
        retried: how often it was out of memory and put back, to go on alone.
        begun: when it was asked for, ISO 8601; "" where the ledger tells no time.
        told: when each epoch was recorded.
        ended: when it ended, the last time where it was promoted; "" while it has not.
        confirms: number of the candidate whose parameters it trains anew; None in the search.
        tunes: whether it only tunes its arm of an ablation.
    """

    number: int
    seed: int
    params: Point
    num_epochs: int = field(default=0, kw_only=True)
    epochs: list[dict[str, float]] = field(default_factory=list)
    states: list[list[dict[str, float]]] = field(default_factory=list)
    scores: list[str] = field(default_factory=list)
    status: str = "running"
    reason: str = ""
    cause: str = ""
    traceback: str = ""
    lost: int = 0
    retried: int = 0
    begun: str = ""
    told: list[str] = field(default_factory=list)
    ended: str = ""
    confirms: int | None = None
    tunes: bool = False

    @property
    def competes(self) -> bool:
        """Whether it is one of those among which a study compares and chooses."""
        return self.confirms is None and not self.tunes

    @property
    def arm(self) -> str:
        """The arm of an ablation; "search" where parameters are searched, else "confirm"."""
        if self.confirms is not None:
            return CONFIRM
        return str(self.params.get(ARM, "search"))

    def checkpoint_epoch(self, rule: str) -> int:
        """The epoch (1-based) that the checkpoint rule picks; 0 where none is recorded."""
        return checkpoint_epoch(self.standings, rule)

    def chosen_metrics(self, rule: str) -> dict[str, float]:
        """Metrics of the epoch that the checkpoint rule picks; empty before the first."""
        epoch = self.checkpoint_epoch(rule)
        return self.epochs[epoch - 1] if epoch else {}

    @property
    def standings(self) -> tuple[tuple[bool, float], ...]:
        """How every recorded epoch stands."""
        return tuple(standing(metrics) for metrics in self.epochs)

    @property
    def objectives(self) -> tuple[float, ...]:
        """val/objective of every recorded epoch."""
        return tuple(metrics[OBJECTIVE] for metrics in self.epochs)
