"""The section ``tune``: searcher, trial scheduler and objectives against each other and the space.

A Gaussian process, CMA-ES and NSGA-II model the parameters that every trial has, so what exists
under a condition is drawn at random by them; CMA-ES draws choices at random too, and follows one
objective. That is told in the docstring of ``TuneSection`` and refused only where nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import SelectSection, TuneSection
from study.space.search.conditions import num_points
from study.space.search.domains import MAX_GRID, Choice, MarginSearch
from study.space.search.search import Search

NAMES = {"asha": "ASHA", "hyperband": "Hyperband", "median": "median stopping"}
_NONE = "Take it out."


def check_tune_section(
    data: Mapping[str, Any],
    values: Mapping[str, Mapping[str, Any]],
    search: Mapping[str, Search],
    selectable: Sequence[str],
    faults: FaultList,
) -> None:
    """Settings without effect, searchers that cannot serve the space, grids that do not fit.

    Args:
        data: the space as read.
        values: good values by section.
        search: the searched parameters.
        selectable: metrics that can be an objective.
        faults: takes every fault.
    """
    given = values["tune"]
    _without_effect(given, faults)
    if given.get("objectives") is not None:
        _objectives(data, values, selectable, faults)
    if given.get("searcher") == "cmaes":
        _cmaes(search, faults)
    if given.get("searcher") == "grid":
        _grid(given, search, faults)


def check_epochs(tune: TuneSection, least: int, most: int, faults: FaultList) -> None:
    """The trial scheduler against the epochs of trials, from ``least`` to ``most``."""
    if tune.scheduler == "none":
        return
    name, grace = NAMES[tune.scheduler], tune.grace_epochs
    if grace > least:
        text = f"{name}'s grace must not exceed the epochs of a trial ({least})"
        faults.add(("tune", "grace_epochs"), text, "Lower it.", grace)
    elif tune.scheduler == "hyperband" and grace * tune.reduction_factor > most:
        rule = (
            f"Hyperband has one bracket where grace_epochs x reduction_factor is above the epochs "
            f"of a trial ({most}), and is ASHA then"
        )
        way_out = "Lower reduction_factor or grace_epochs, raise epochs, or write scheduler: asha."
        faults.add(("tune", "scheduler"), rule, way_out, tune.scheduler)


def _without_effect(given: Mapping[str, Any], faults: FaultList) -> None:
    scheduler = given.get("scheduler", "asha")
    unused = {"none": ("grace_epochs", "reduction_factor"), "median": ("reduction_factor",)}
    for key in unused.get(scheduler, ()):
        if given.get(key, _default(key)) != _default(key):
            rule = f"has no effect with scheduler: {scheduler}"
            faults.add(("tune", key), rule, _NONE, given[key])
    population = given.get("population", _default("population"))
    if population != _default("population") and given.get("searcher", "tpe") != "nsga2":
        rule = "has no effect without searcher: nsga2"
        faults.add(("tune", "population"), rule, f"{_NONE[:-1]}, or choose nsga2.", population)


def _default(key: str) -> Any:
    return TuneSection.model_fields[key].default


def _objectives(
    data: Mapping[str, Any],
    values: Mapping[str, Mapping[str, Any]],
    selectable: Sequence[str],
    faults: FaultList,
) -> None:
    given = values["tune"]
    objectives, path = given["objectives"], ("tune", "objectives")
    if "ablate" in data:
        rule = "an ablation follows no objective: it runs every arm at every seed"
        faults.add(path, rule, _NONE, objectives)
        return
    for i, metric in enumerate(objectives):
        if metric not in selectable:
            near = metric if metric.startswith("val/") else f"val/{metric}"
            rule = "no metric to search by has this name"
            faults.add((*path, i), rule, nearest(near, selectable), metric)
            return
    metric = values["select"].get("metric", SelectSection.model_fields["metric"].default)
    if metric in selectable and metric not in objectives:
        rule = f"select.metric ({metric}) must be among the objectives, or nothing searches for it"
        faults.add(path, rule, f"Add {metric}, or select by one of them.", objectives)
    if given.get("scheduler", "none") != "none":
        rule = (
            "with several objectives no trial is stopped early: none of them alone says which "
            "trial is the worse"
        )
        way_out = "Write scheduler: none, or take `objectives` out."
        faults.add(("tune", "scheduler"), rule, way_out, given["scheduler"])
    if given.get("searcher") == "cmaes":
        rule = "CMA-ES follows one objective"
        way_out = "Write searcher: nsga2, tpe or gp, or take `objectives` out."
        faults.add(("tune", "searcher"), rule, way_out, "cmaes")


def _cmaes(search: Mapping[str, Search], faults: FaultList) -> None:
    domains = {
        n: one.domain if isinstance(one, MarginSearch) else one for n, one in search.items()
    }
    numbers = [n for n, one in domains.items() if not isinstance(one, Choice)]
    if search and not any(search[name].when is None for name in numbers):
        rule = "CMA-ES needs a parameter that is searched over a range in every trial"
        way_out = "Search one by uniform, loguniform or int, or write searcher: tpe."
        faults.add(("tune", "searcher"), rule, way_out, "cmaes")


def _grid(given: Mapping[str, Any], search: Mapping[str, Search], faults: FaultList) -> None:
    values: dict[str, Sequence[Any]] = {}
    for name, entry in search.items():
        domain = entry.domain if isinstance(entry, MarginSearch) else entry
        count = domain.count()
        if count is None:
            rule = "a grid needs countable values, and this domain is continuous"
            way_out = "Add a step to uniform, write a choice, or use searcher: random."
            faults.add(("search", name), rule, way_out, entry.plain())
            return
        values[name] = domain.values if isinstance(domain, Choice) else range(count)
    conditions = {name: one.when for name, one in search.items() if one.when is not None}
    total = num_points(values, conditions, MAX_GRID)
    num_trials = given.get("num_trials", _default("num_trials"))
    if total > MAX_GRID:
        rule = f"a grid of {total:,} points is beyond {MAX_GRID:,}"
        faults.add(("search",), rule, "Search less, in larger steps, or use searcher: random.")
    elif search and num_trials > total:
        rule = f"the grid has {total} points, so there are at most {total} trials"
        faults.add(("tune", "num_trials"), rule, f"Write {total}.", num_trials)
