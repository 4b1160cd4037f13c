"""One study, as people hold it in a notebook: its tables, its questions, its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.choice.alternatives import NUM_SPLITS, alternatives, stability
from analysis.choice.cells import cells_of_study
from analysis.choice.confirmation import confirmed_table
from analysis.choice.corrected import Correction, correct_study
from analysis.choice.pareto import Front, front_of, pareto
from analysis.choice.selection import Selection, select
from analysis.plots import confirmation as confirmation_plots
from analysis.plots import margins as margin_plots
from analysis.plots import scores as score_plots
from analysis.plots import search as search_plots
from analysis.plots import trials as trial_plots
from analysis.plots.ablation import forest, path
from analysis.results.effects import arm_means, design_of, effects
from analysis.results.importance import NUM_RESAMPLES as NUM_BOOTSTRAPS
from analysis.results.importance import importance
from analysis.results.margins import margin_table, measured_energies
from analysis.statistics.bootstrap import NUM_RESAMPLES
from analysis.tables import Records, read_records
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE


@dataclass(frozen=True)
class Study(Records):
    """The records of a run with the questions that one asks them."""

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Read a run's folder (BadInput if it is none)."""
        records = read_records(folder)
        return cls(**{one.name: getattr(records, one.name) for one in fields(Records)})

    def select(self, num_resamples: int = NUM_RESAMPLES) -> Selection:
        """The trial that the stated rule chooses, see ``analysis.choice.selection.select``."""
        return select(self, num_resamples=num_resamples)

    def correct(self, num_resamples: int | None = None) -> Correction:
        """The chosen value, corrected for its being the best; see ``correct_study``."""
        chosen = select(self, num_resamples=1)
        return correct_study(self, chosen.compared, num_resamples=num_resamples, seed=chosen.seed)

    def alternatives(self, num_splits: int = NUM_SPLITS) -> pd.DataFrame:
        """Other ways to choose and their regrets, see ``analysis.choice.alternatives``."""
        chosen = select(self, num_resamples=1)
        cells = cells_of_study(self, chosen.compared)
        return alternatives(cells, num_splits=num_splits, seed=chosen.seed)

    def stability(self) -> pd.DataFrame:
        """The choice without each OOD validation set, see ``analysis.choice.alternatives``."""
        chosen = select(self, num_resamples=1)
        return stability(cells_of_study(self, chosen.compared), seed=chosen.seed)

    def pareto(self, metrics: tuple[str, ...] | None = None) -> pd.DataFrame:
        """The front of the metric against ID accuracy, see ``analysis.choice.pareto.pareto``."""
        return pareto(self, metrics)

    def front(self, *, with_time: bool = False) -> Front:
        """The front with its bootstrap band and hypervolume, see ``front_of``."""
        return front_of(self, with_time=with_time, chosen=trial_plots.best_trial(self))

    def importance(
        self, metric: str = OBJECTIVE, num_resamples: int = NUM_BOOTSTRAPS
    ) -> pd.DataFrame:
        """What mattered, with its spread, see ``analysis.results.importance.importance``."""
        return importance(self, metric, num_resamples=num_resamples)

    def effects(self, metrics: str | Sequence[str] | None = None) -> pd.DataFrame:
        """Effects of an ablation's arms, see ``analysis.results.effects.effects``."""
        return effects(self, metrics)

    def margins(self) -> pd.DataFrame:
        """Margins of each trial beside what they gave, see ``margin_table``."""
        return margin_table(self)

    def energies(self) -> pd.DataFrame:
        """Energies of the base, see ``analysis.results.margins.measured_energies``."""
        return measured_energies(self)

    def reached_energies(self) -> pd.DataFrame:
        """Energies that trials reached, see ``analysis.plots.margins.reached_energies``."""
        return margin_plots.reached_energies(self)

    def confirmed(self) -> pd.DataFrame:
        """Candidates on fresh seeds, see ``analysis.report.views.confirmed_table``."""
        return confirmed_table(self)

    def arm_means(self, metric: str | None = None) -> pd.DataFrame:
        """Every arm of an ablation over its seeds, see ``analysis.results.effects.arm_means``."""
        return arm_means(self, metric or self.detection_metric)

    @property
    def design(self) -> str:
        """The ablation's design; empty for a search."""
        return design_of(self)

    def plot_trade(self) -> Figure:
        """The metric against ID accuracy, with floor, base, front and its bootstrap band."""
        trial_plots.measured_trials(self, self.detection_metric)
        return trial_plots.trade(self, self.front())

    def plot_importance(self, table: pd.DataFrame | None = None) -> Figure:
        """Importance with its spread, of ``importance()`` or of a table in hand."""
        return search_plots.importance_bars(self.importance() if table is None else table)

    def plot_contour(self, x: str, y: str, metric: str = OBJECTIVE) -> Figure:
        """The metric's rank over two parameters, see ``analysis.plots.search.contour``."""
        return search_plots.contour(self, x, y, metric)

    def plot_rungs(self, metric: str | None = None) -> Figure:
        """All learning curves and the survivors of each rung."""
        return search_plots.rungs(self, metric)

    def plot_times(self) -> Figure:
        """The metric over training time."""
        return search_plots.times(self)

    def plot_roc(self, trial_id: str | None = None, epoch: int | None = None) -> Figure:
        """ROC on every OOD validation set; of the chosen trial where none is named."""
        return score_plots.roc(self, *self._place(trial_id, epoch))

    def plot_energies(self, trial_id: str | None = None, epoch: int | None = None) -> Figure:
        """Energies before and after, with the margins; of the chosen trial where none is named."""
        return margin_plots.energies(self, *self._place(trial_id, epoch))

    def plot_calibration(self) -> Figure:
        """Energies that were reached over the margins that were given."""
        return margin_plots.calibration(self)

    def plot_effects(self, metric: str | None = None) -> Figure:
        """Effects of an ablation with their intervals, see ``analysis.plots.ablation.forest``."""
        return forest(effects(self, metric), metric)

    def plot_path(self, metric: str | None = None) -> Figure:
        """The path from the baseline down, see ``analysis.plots.ablation.path``."""
        return path(self, metric)

    def plot_slices(self) -> dict[str, Figure]:
        """The objective over each searched parameter."""
        return {column: trial_plots.slice_of(self, column) for column in self.searched}

    def plot_parallel(self) -> Figure:
        """All trials as lines over the searched parameters."""
        return trial_plots.parallel(self)

    def plot_learning(self, trial_id: str | None = None) -> Figure:
        """The metric and ID accuracy over the epochs; of the chosen trial where none is named."""
        return trial_plots.learning(self, trial_id or self._place(None, None)[0])

    def plot_histograms(
        self, trial_id: str | None = None, epoch: int | None = None
    ) -> dict[str, Figure]:
        """Scores of ID against each OOD validation set, with the threshold.

        Of the chosen trial where none is named.
        """
        return score_plots.histograms(self, *self._place(trial_id, epoch))

    def plot_confirmed(self) -> Figure:
        """Candidates in the search and on fresh seeds."""
        return confirmation_plots.confirmed(self)

    def _place(self, trial_id: str | None, epoch: int | None) -> tuple[str, int]:
        """A trial and an epoch of it: those named, else the chosen ones."""
        if trial_id is None:
            chosen = select(self, num_resamples=1)
            return chosen.trial_id, chosen.epoch if epoch is None else epoch
        if epoch is not None:
            return trial_id, epoch
        row = self.trials[self.trials["trial_id"] == trial_id]["checkpoint_epoch"].dropna()
        if row.empty:
            rule = f"trial {trial_id} has no checkpoint"
            raise BadInput(Fault(str(self.folder.trials), "trial_id", rule, "Name an epoch."))
        return trial_id, int(row.iloc[0])
