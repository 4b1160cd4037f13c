"""What images that were kept apart say of the choice: they had no part in search or selection.

Of a study that confirms nothing every trial is scored on them beside the others, at the best state
of each epoch by the others; `data.confirm_fraction` keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.choice.confirmation import kept_images, kept_name
from analysis.choice.selection import Selection, metric_interval
from analysis.numbers import listed, metric_label, percent
from analysis.tables import Records
from study.errors import BadInput
from study.scoring.intervals import Interval
from study.scoring.objective import ID_ACCURACY


@dataclass(frozen=True)
class KeptApart:
    """The choice on the images kept apart.

    Attributes:
        metric: what was selected by, such as ``val/fpr95``.
        value: of it there, a fraction.
        interval: 95 %, over images by source; None where it does not follow from the scores.
        id_accuracy: there.
        images: number of images of each set.
    """

    metric: str
    value: float
    interval: Interval | None
    id_accuracy: float
    images: dict[str, int]

    @property
    def text(self) -> str:
        """As a sentence for readers."""
        told = listed([f"{num:,} of {name}" for name, num in self.images.items()])
        ends = ""
        if self.interval is not None:
            low, high = map(percent, self.interval)
            ends = f", 95 % interval [{low}, {high}]"
        name = metric_label(self.metric, "", short=True)
        return (
            f"On the images kept apart, which neither search nor selection saw ({told}): {name} "
            f"{percent(self.value)} %{ends}, ID accuracy {percent(self.id_accuracy)} %"
        )

    def plain(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**vars(self), "interval": list(self.interval) if self.interval else None}


def kept_apart(study: Records, selection: Selection) -> KeptApart | None:
    """The choice on the images kept apart; None where none are, or where they are to confirm."""
    column = kept_name(study.metric)
    if study.section("select").get("confirm") or column not in study.trials.columns:
        return None
    rows = study.trials[study.trials["trial_id"].isin(selection.seed_trials)]
    values = rows[[column, kept_name(ID_ACCURACY)]].mean()
    if not np.isfinite(values[column]):
        return None
    interval = None
    if len(selection.seed_trials) == 1:
        try:
            scores = study.scores(selection.trial_id, kept=True)
            sets = scores.cut(slice(row := scores.at(*selection.place[1:]), row + 1)).sets
            interval = metric_interval(study, sets, study.metric, seed=selection.seed)
        except (BadInput, KeyError):
            pass
    means = float(values[column]), interval, float(values[kept_name(ID_ACCURACY)])
    return KeptApart(study.metric, *means, kept_images(study))
