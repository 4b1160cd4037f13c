"""One study, as people hold it in a notebook: its tables, its questions, its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import plots, score_plots
from analysis.bootstrap import NUM_RESAMPLES
from analysis.effects import effects
from analysis.margins import margin_table
from analysis.pareto import pareto
from analysis.plots_ablation import forest
from analysis.selection import Selection, select
from analysis.tables import Records, read_records


@dataclass(frozen=True)
class Study(Records):
    """The records of a run with the questions that one asks them."""

    @classmethod
    def open(cls, path: Path) -> Study:
        """Read a run's folder (BadInput if it is none)."""
        records = read_records(path)
        return cls(**{one.name: getattr(records, one.name) for one in fields(Records)})

    def select(self, num_resamples: int = NUM_RESAMPLES) -> Selection:
        """The trial that the stated rule chooses, see ``analysis.selection.select``."""
        return select(self, num_resamples=num_resamples)

    def pareto(self) -> pd.DataFrame:
        """The front of the metric against ID accuracy, see ``analysis.pareto.pareto``."""
        return pareto(self)

    def effects(self, metrics: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Effects of an ablation's arms, see ``analysis.effects.effects``."""
        return effects(self, metrics)

    def margins(self) -> pd.DataFrame:
        """Margins of each trial beside what they gave, see ``analysis.margins.margin_table``."""
        return margin_table(self)

    def plot_trade(self) -> Figure:
        """The metric against ID accuracy, with floor, base and front."""
        return plots.trade(self)

    def plot_effects(self, metric: str | None = None) -> Figure:
        """Effects of an ablation with their intervals, see ``analysis.plots_ablation.forest``."""
        return forest(effects(self, metric), metric)

    def plot_slices(self) -> dict[str, Figure]:
        """The objective over each searched parameter."""
        return {column: plots.slice_of(self, column) for column in self.searched}

    def plot_parallel(self) -> Figure:
        """All trials as lines over the searched parameters."""
        return plots.parallel(self)

    def plot_learning(self, trial_id: str) -> Figure:
        """The metric and ID accuracy of a trial over its epochs."""
        return plots.learning(self, trial_id)

    def plot_histograms(self, trial_id: str, epoch: int) -> dict[str, Figure]:
        """Scores of ID against each OOD validation set, with the threshold."""
        return score_plots.histograms(self, trial_id, epoch)
