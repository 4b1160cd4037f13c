"""What TensorBoard and trackers show of a study: parameters, and the numbers worth a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from study.records.files import RunFolder
from study.scoring.metrics import metric_of
from study.scoring.objective import ALPHA, FLOOR_HOLDS, ID_ACCURACY, OBJECTIVE, standing
from study.tune.record import TrialRecord, checkpoint_epoch

FIRST_METRICS = ("val/fpr95", "val/auroc", ID_ACCURACY, OBJECTIVE)
AT_CHECKPOINT = "checkpoint/{}".format
"""Name of a metric at the epoch that the checkpoint rule picks, of those recorded by then."""
_OF_SETS = ("fpr95", "auroc")  # what is shown of each OOD set, by the study's own score


@dataclass(frozen=True)
class Shown:
    """What is shown of a study.

    Attributes:
        params: all parameters of a trial, searched and fixed, as columns may have them.
        searched: names of those that vary, the first columns.
        metric: what the study selects by.
        rule: picks the epoch whose weights are kept, "best" or "last".
        own_score: behind ``val/fpr95`` and its siblings.
        base: metrics of the base; empty without one.
        run: its folder, where scores and pictures are; None where they are not shown.
        margins: of a trial, nats; empty where it has none.
    """

    params: Callable[[TrialRecord], Mapping[str, Any]]
    searched: Sequence[str] = ()
    metric: str = "val/fpr95"
    rule: str = "best"
    own_score: str = ""
    base: Mapping[str, float] = field(default_factory=dict)
    run: RunFolder | None = None
    margins: Callable[[TrialRecord], Mapping[str, float]] = lambda _: {}

    @property
    def metrics(self) -> tuple[str, ...]:
        """What the study is about, what it selects by first."""
        return tuple(dict.fromkeys([self.metric, *FIRST_METRICS]))

    def of_epoch(self, epochs: Sequence[Mapping[str, float]], epoch: int) -> dict[str, float]:
        """The numbers of a trial's epoch (from 1), and those that its checkpoint has by then."""
        chosen = checkpoint_epoch([standing(one) for one in epochs[:epoch]], self.rule)
        return self.curves(epochs[epoch - 1]) | self.at_checkpoint(epochs[chosen - 1])

    def at_checkpoint(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The study's metrics of a checkpoint, under names of their own."""
        return {AT_CHECKPOINT(name): metrics[name] for name in self.metrics if name in metrics}

    def curves(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """What is worth a curve, under names that read."""
        titled = ((self._title(name), value) for name, value in metrics.items())
        return {title: value for title, value in titled if title is not None}

    def _title(self, name: str) -> str | None:
        """The title of a metric; None for one that its siblings or a table tell better."""
        if name in (*self.metrics, ALPHA, FLOOR_HOLDS):
            return name
        first, *rest = name.split("/")
        if first == "val" and len(rest) == 3 and rest[1] == self.own_score:
            title = f"val, by set/{metric_of(name).short_label} {rest[0]}"
            return title if rest[2] in _OF_SETS else None
        if first == "train":
            return name
        return {"lr": "train/lr", "images_per_s": "speed/images per s"}.get(name)
