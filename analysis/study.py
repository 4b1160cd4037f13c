"""One study, as people hold it in a notebook: its tables, its questions, its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MethodType
from typing import Any

from analysis.tables import Records


class Lent:
    """A method that is a function of another module over a study's records.

    The module is imported when somebody asks for the method: a table needs no matplotlib.
    """

    def __init__(self, place: str) -> None:
        """Name the function.

        Args:
            place: ``module:function``, the module under ``analysis``.
        """
        self.place = place

    def __get__(self, holder: Any, owner: type) -> Callable[..., Any]:
        """The function; of a study, or of its pictures, with the study as its first argument."""
        module, _, name = self.place.partition(":")
        function: Callable[..., Any] = getattr(import_module(f"analysis.{module}"), name)
        if holder is None:
            return function
        return MethodType(function, holder.whose if isinstance(holder, Pictures) else holder)


@dataclass(frozen=True)
class Pictures:
    """Holds whose pictures its methods draw: a study's, or several studies'."""

    whose: Any


class Plots(Pictures):
    """The pictures of a study, each a function of ``analysis.plots`` that returns a Figure.

    Those of one trial are of the chosen one where none is named.
    """

    trade = Lent("plots.trials:trade")
    slices = Lent("plots.trials:slices")
    parallel = Lent("plots.trials:parallel")
    learning = Lent("plots.trials:learning")
    rungs = Lent("plots.search:rungs")
    times = Lent("plots.search:times")
    importance = Lent("plots.search:importance_bars")
    contour = Lent("plots.search:contour")
    histograms = Lent("plots.scores:histograms")
    roc = Lent("plots.scores:roc")
    energies = Lent("plots.margins:energies")
    calibration = Lent("plots.margins:calibration")
    effects = Lent("plots.ablation:forest")
    path = Lent("plots.ablation:path")
    confirmed = Lent("plots.confirmation:confirmed")
    held = Lent("plots.floor:held")
    expected = Lent("plots.budget:expected")
    trial_path = Lent("plots.path:path")


@dataclass(frozen=True)
class Study(Records):
    """The records of a run with the questions that one asks them."""

    select = Lent("choice.selection:select")
    correct = Lent("choice.frozen:correct_choice")
    alternatives = Lent("choice.alternatives:alternatives_of")
    stability = Lent("choice.alternatives:stability_of")
    confirmed = Lent("choice.confirmation:confirmed_table")
    pareto = Lent("choice.pareto:pareto")
    front = Lent("choice.pareto:front_of")
    importance = Lent("results.importance:importance")
    edges = Lent("results.edges:edges")
    budget = Lent("results.budget:budget_of")
    floor_prices = Lent("results.floor:floor_prices")
    held = Lent("choice.held:held_trials")
    effects = Lent("results.effects:effects")
    arm_means = Lent("results.effects:arm_means")
    margins = Lent("results.margins:margin_table")
    energies = Lent("results.margins:measured_energies")
    reached_energies = Lent("results.margins:reached_energies")

    @property
    def plots(self) -> Plots:
        """Its pictures: ``study.plots.trade()``."""
        return Plots(self)
