"""The section ``tune``: searcher, trial scheduler and objectives against each other and the space.

A Gaussian process, CMA-ES and NSGA-II model the parameters that every trial has, so what exists
under a condition is drawn at random by them; CMA-ES draws choices at random too, and follows one
objective. That is told in the docstring of ``TuneSection`` and refused only where nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from study.space.checks.case import Case, Check
from study.space.checks.selection import SELECTABLE, nearest_metric
from study.space.reading.places import Problem
from study.space.reading.sections import TuneSection
from study.space.search.conditions import num_points
from study.space.search.domains import MAX_GRID, Choice

NAMES = {"asha": "ASHA", "hyperband": "Hyperband", "median": "median stopping"}
_UNUSED = {"none": ("grace_epochs", "reduction_factor"), "median": ("reduction_factor",)}


def _without_effect(case: Case) -> Iterator[Problem]:
    tune = case.spec.tune
    for key in _UNUSED.get(tune.scheduler, ()):
        if (value := getattr(tune, key)) != TuneSection.model_fields[key].default:
            rule = f"has no effect with scheduler: {tune.scheduler}"
            yield Problem(("tune", key), rule, "Take it out.", value)
    default = TuneSection.model_fields["population"].default
    if tune.population != default and tune.searcher != "nsga2":
        rule, way_out = "has no effect without searcher: nsga2", "Take it out, or choose nsga2."
        yield Problem(("tune", "population"), rule, way_out, tune.population)


def _objectives(case: Case) -> Iterator[Problem]:
    tune, path, metric = case.spec.tune, ("tune", "objectives"), case.spec.select.metric
    if tune.objectives is None:
        return
    if "ablate" in case.sections:
        rule = "an ablation follows no objective: it runs every arm at every seed"
        yield Problem(path, rule, "Take it out.", tune.objectives)
        return
    for i, name in enumerate(tune.objectives):
        if name not in SELECTABLE:
            rule = "no metric to search by has this name"
            yield Problem((*path, i), rule, nearest_metric(name), name)
            return
    if metric in SELECTABLE and metric not in tune.objectives:
        rule = f"select.metric ({metric}) must be among the objectives, or nothing searches for it"
        yield Problem(path, rule, f"Add {metric}, or select by one of them.", tune.objectives)
    if tune.scheduler != "none":
        rule = (
            "with several objectives no trial is stopped early: none of them alone says which "
            "trial is the worse"
        )
        way_out = "Write scheduler: none, or take `objectives` out."
        yield Problem(("tune", "scheduler"), rule, way_out, tune.scheduler)
    if tune.searcher == "cmaes":
        way_out = "Write searcher: nsga2, tpe or gp, or take `objectives` out."
        yield Problem(("tune", "searcher"), "CMA-ES follows one objective", way_out, "cmaes")


def _cmaes(case: Case) -> Iterator[Problem]:
    search = case.spec.search
    ranges = [one for one in search.values() if not isinstance(one.domain, Choice)]
    if case.spec.tune.searcher == "cmaes" and search and all(one.when for one in ranges):
        rule = "CMA-ES needs a parameter that is searched over a range in every trial"
        way_out = "Search one by uniform, loguniform or int, or write searcher: tpe."
        yield Problem(("tune", "searcher"), rule, way_out, "cmaes")


def _grid(case: Case) -> Iterator[Problem]:
    search, tune = case.spec.search, case.spec.tune
    if tune.searcher != "grid" or not search:
        return
    values: dict[str, Sequence[Any]] = {}
    for name, entry in search.items():
        count = entry.domain.count()
        if count is None:
            rule = "a grid needs countable values, and this domain is continuous"
            way_out = "Add a step to uniform, write a choice, or use searcher: random."
            yield Problem(("search", name), rule, way_out, entry.plain())
            return
        values[name] = entry.ends() if isinstance(entry.domain, Choice) else range(count)
    conditions = {name: one.when for name, one in search.items() if one.when is not None}
    total = num_points(values, conditions, MAX_GRID)
    if total > MAX_GRID:
        rule = f"a grid of {total:,} points is beyond {MAX_GRID:,}"
        way_out = "Search less, in larger steps, or use searcher: random."
        yield Problem(("search",), rule, way_out)
    elif tune.num_trials > total:
        rule = f"the grid has {total} points, so there are at most {total} trials"
        yield Problem(("tune", "num_trials"), rule, f"Write {total}.", tune.num_trials)


def epochs(case: Case) -> Iterator[Problem]:
    """The trial scheduler against the epochs of trials."""
    tune = case.spec.tune
    names = ("scheduler", "grace_epochs", "reduction_factor")
    faulty = case.faulty("tune", names) or case.faulty("train", ("epochs",))
    if faulty or tune.scheduler == "none":
        return
    each = [int(value) for value in case.spec.own_values("epochs")]
    name, grace = NAMES[tune.scheduler], tune.grace_epochs
    if grace > min(each):
        rule = f"{name}'s grace must not exceed the epochs of a trial ({min(each)})"
        yield Problem(("tune", "grace_epochs"), rule, "Lower it.", grace, ("epochs",))
    elif tune.scheduler == "hyperband" and grace * tune.reduction_factor > max(each):
        rule = (
            f"Hyperband has one bracket where grace_epochs x reduction_factor is above the epochs "
            f"of a trial ({max(each)}), and is ASHA then"
        )
        way_out = "Lower reduction_factor or grace_epochs, raise epochs, or write scheduler: asha."
        yield Problem(("tune", "scheduler"), rule, way_out, tune.scheduler, ("epochs",))


CHECKS: tuple[Check, ...] = (_without_effect, _objectives, _cmaes, _grid)
