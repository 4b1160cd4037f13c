"""The section ``tune``: searcher, trial scheduler and objectives against each other and the space.

Some searchers model the parameters alone that every trial has, and draw what exists under a
condition at random. A report's methods tell it; it is refused only where nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from study.counted import counted
from study.errors import NO_VALUE
from study.searchers.catalog import searchers
from study.space.checks.bases import NO_FILES
from study.space.checks.case import Case, Check
from study.space.checks.selection import SELECTABLE, nearest_metric
from study.space.reading.places import Problem
from study.space.reading.sections import TuneSection
from study.space.search import first
from study.space.search.conditions import num_points
from study.space.search.domains import MAX_GRID, Choice
from study.space.search.search import Searched

NAMES = {"asha": "ASHA", "hyperband": "Hyperband", "median": "median stopping"}
_UNUSED = {
    "none": ("grace_epochs", "reduction_factor", "finish"),
    "median": ("reduction_factor", "finish"),
    "hyperband": ("finish",),
}


def _without_effect(case: Case) -> Iterator[Problem]:
    tune = case.spec.tune
    for key in _UNUSED.get(tune.scheduler, ()):
        if (value := getattr(tune, key)) != TuneSection.model_fields[key].default:
            rule = f"has no effect with scheduler: {tune.scheduler}"
            yield Problem(("tune", key), rule, "Take it out.", value)
    for searcher, one in searchers().items():
        for name, parameter in one.parameters.items() if searcher != tune.searcher else ():
            if (value := getattr(tune, name)) != parameter.default:
                rule = f"has no effect without searcher: {searcher}"
                yield Problem(("tune", name), rule, f"Take it out, or choose {searcher}.", value)


def _finish(case: Case) -> Iterator[Problem]:
    finish = case.spec.tune.finish
    if finish and "ablate" in case.sections:
        rule = "an ablation compares arms and promotes none of its trials to their end"
        yield Problem(("tune", "finish"), rule, "Take it out.", finish)


def _first(case: Case) -> Iterator[Problem]:
    """The points that are tried first, against what is searched."""
    tune, path = case.spec.tune, ("tune", "first")
    if tune.first and "ablate" in case.sections:
        rule = "an ablation runs every arm at every seed, in its own order"
        yield Problem(path, rule, "Take it out.", tune.first)
        return
    if not tune.first:
        return
    if tune.declared.points:
        rule = f"the trials of {_title(tune)} are its points, in their order"
        yield Problem(path, rule, "Take it out, or choose another searcher.", tune.first)
        return
    if case.faulty("search", ()):
        return
    search = case.spec.search
    known = {name: one for name, one in search.items() if not case.faulty("search", (name,))}
    # A file's classifier is measured as a trained base is.
    from_file = case.spec.params.base == "start" and case.spec.model.init not in NO_FILES
    measurable = case.own_base or from_file
    for i, point in enumerate(tune.first):
        yield from first.problems(point, known, (*path, i), has_base=measurable)
        nats = [name for name, one in point.items() if _needs_base(known.get(name), one)]
        if nats and "temperature" in search and "temperature" not in point:
            rule = "is measured at the base's temperature, which is searched and not named here"
            way_out = "Name temperature in the point, too."
            yield Problem((*path, i, nats[0]), rule, way_out, point[nats[0]])


def _needs_base(entry: Searched | None, value: Any) -> bool:
    try:
        return entry is not None and first.own_value(entry, value) is NO_VALUE
    except PydanticCustomError:
        return False


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
    if not tune.declared.several:
        *most, last = (name for name, one in searchers().items() if one.learns and one.several)
        way_out = f"Write searcher: {', '.join(most)} or {last}, or take `objectives` out."
        rule = f"{_title(tune)} follows one objective"
        yield Problem(("tune", "searcher"), rule, way_out, tune.searcher)


def _title(tune: TuneSection) -> str:
    return tune.declared.title or tune.searcher


def _modelled(case: Case) -> Iterator[Problem]:
    """A searcher that models ranges of every trial alone needs one."""
    search, tune = case.spec.search, case.spec.tune
    none_needed = tune.declared.choices or tune.declared.conditional
    ranges = [one for one in search.values() if not isinstance(one.domain, Choice)]
    if search and not none_needed and all(one.when for one in ranges):
        rule = f"{_title(tune)} needs a parameter that is searched over a range in every trial"
        way_out = "Search one by uniform, loguniform or int, or write searcher: tpe."
        yield Problem(("tune", "searcher"), rule, way_out, tune.searcher)


def _grid(case: Case) -> Iterator[Problem]:
    search, tune = case.spec.search, case.spec.tune
    if not tune.declared.points or not search:
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
        rule = f"the grid has {counted(total, 'point')}, and so has no more trials"
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


CHECKS: tuple[Check, ...] = (_without_effect, _finish, _first, _objectives, _modelled, _grid)
