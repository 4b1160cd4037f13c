"""Several studies side by side: what each chose, and how far the choices lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from analysis.choice.selection import ID_ACCURACY, NoSelection, scores_at, select
from analysis.labels import metric_label
from analysis.plots.style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    percent_axis,
    styled,
)
from analysis.plots.trials import best_trial, measured_trials
from analysis.statistics.compare import DIFFERENCE, WINNER, compare
from analysis.tables import BASE, Records
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE

_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
_MARKERS = ("o", "s", "^", "D", "v", "P")


def choices(studies: Mapping[str, Records]) -> pd.DataFrame:
    """What each study's own rule chooses.

    Returns:
        One row a study: study, recipe, metric, trial_id, epoch, value, low, high (fractions, 95 %
        over images; of several seeds their mean, over both), id_accuracy (likewise),
        num_candidates, problem (why nothing was chosen; empty where something was).
    """
    rows: list[dict[str, Any]] = []
    for name, study in studies.items():
        row = {"study": name, "recipe": study.spec.get("recipe", ""), "metric": study.metric}
        try:
            found = select(study)
        except NoSelection as error:
            rows.append(row | {"problem": str(error)})
            continue
        low, high = found.interval or (float("nan"), float("nan"))
        accuracy = float(found.candidates[ID_ACCURACY].iloc[0])
        row |= {"trial_id": found.trial_id, "epoch": found.epoch, "value": found.value}
        row |= {"low": low, "high": high, "id_accuracy": accuracy}
        rows.append(row | {"num_candidates": len(found.candidates), "problem": ""})
    columns = ["study", "recipe", "metric", "trial_id", "epoch", "value", "low", "high"]
    columns += ["id_accuracy", "num_candidates", "problem"]
    return pd.DataFrame(rows, columns=columns)


def differences(studies: Mapping[str, Records]) -> pd.DataFrame:
    """The choices of every two studies on the same images, the first minus the second.

    Returns:
        One row a pair, score that both have, and OOD set ("mean" over them last): pair, then the
        columns of ``compare`` without model; paired 95 % intervals over images.

    Raises:
        NoSelection: where a study chose nothing.
        BadInput: where a chosen trial's scores are missing, or no score is in both.
    """
    sets = {}
    for name, study in studies.items():
        found = select(study, num_resamples=1)
        sets[name] = scores_at(study, found.trial_id, found.epoch)
    parts = []
    for one, two in combinations(sets, 2):
        table = compare({WINNER: sets[one], BASE: sets[two]})
        if table.empty:
            rule = f"{one} and {two} have no score in common"
            raise BadInput(Fault("scores", "", rule, "Compare studies whose recipes share one."))
        table = table[table["model"] == DIFFERENCE].drop(columns="model")
        table.insert(0, "pair", f"{one} − {two}")
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def trade(studies: Mapping[str, Records]) -> Figure:
    """The first study's metric against ID accuracy: finished trials of all, the choices ringed.

    Raises:
        BadInput: where a study has no value of that metric.
    """
    metric = next(iter(studies.values())).detection_metric
    with styled():
        figure, axes = new_figure(COLUMN_IN, 3.0)
        for i, (name, study) in enumerate(studies.items()):
            rows = measured_trials(study, metric)
            rows = rows[rows["status"] == "finished"]
            look: dict[str, Any] = {"color": _COLOURS[i % 6], "marker": _MARKERS[i % 6], "s": 24}
            axes.scatter(rows[ID_ACCURACY], rows[metric], label=name, zorder=3, **look)
            chosen = rows[rows["trial_id"] == best_trial(study)]
            axes.scatter(
                chosen[ID_ACCURACY], chosen[metric], s=95, facecolors="none", edgecolors=BLACK,
                lw=1.3, zorder=4, label="chosen" if i == len(studies) - 1 else None,
            )  # fmt: skip
        axes.set_xlabel(metric_label(ID_ACCURACY))
        axes.set_ylabel(metric_label(metric))
        percent_axis(axes, x=True, y=metric != OBJECTIVE)
        axes.margins(0.08)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.4)
    return figure
