"""What the parts of a space must satisfy together, and against the data and the base."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from study.errors import BadInput
from study.losses.margins import (
    EnergyStats,
    MarginRange,
    MeasuredMargin,
    crossing_fault,
    parse_margin,
)
from study.recipes.catalog import RecipeInfo
from study.scoring.measuring import OOD_METRICS
from study.scoring.metrics import METRICS
from study.section import Rule, Section
from study.space.ablation.designs import BASELINE
from study.space.checks.arms import each_arm, each_point, values_of
from study.space.checks.model import check_base, check_init, check_init_of_base, check_model
from study.space.checks.sets import check_sets
from study.space.checks.tune import check_epochs, check_tune_section
from study.space.reading.places import FaultList, nearest
from study.space.reading.sections import BaseSection, TuneSection
from study.space.reading.yamlfile import KeyPath
from study.space.search.conditions import When, ancestors, points, representatives
from study.space.search.domains import MarginSearch
from study.space.search.search import Search, is_margin
from study.space.study_spec import StudySpec

ID_ACCURACY = "val/id_accuracy"
SELECTABLE: tuple[str, ...] = (
    ID_ACCURACY,
    *(f"val/{name}" for name in OOD_METRICS if METRICS[name].fraction),
)
"""Metrics that ``select.metric`` takes."""

Values = dict[str, dict[str, Any]]


def check_sections(
    data: Mapping[str, Any],
    values: Values,
    info: RecipeInfo,
    search: Mapping[str, Search],
    faults: FaultList,
    root: Path | None = None,
    *,
    own_base: bool,
    check_paths: bool = True,
) -> None:
    """Names, and keys that would have no effect, one section against another.

    Args:
        data: the space as read.
        values: good values by section.
        info: the recipe.
        search: the searched parameters.
        faults: takes every fault.
        root: the data folder; its sets are known by their file names.
        own_base: whether the study trains a base.
        check_paths: whether files that the space names must exist.
    """
    check_model(values, search, info, faults)
    check_init(values["model"]["init"], info, faults, check_paths=check_paths)
    if faults.under(("model", "init")):
        own_base = info.base != "none"  # what was meant is not known: nothing follows from it
    check_base(data, values, info, search, faults, own_base=own_base, check_paths=check_paths)
    _metric(values["select"].get("metric"), faults)
    _floor(data, values, own_base, faults)
    check_sets(values["data"], info, faults, root, check_paths=check_paths)
    _kept(data, values, faults)
    check_tune_section(data, values, search, SELECTABLE, faults)
    _measured(values, info, search, faults)


def check_arm(
    values: Values, info: RecipeInfo, faults: FaultList, *, own_base: bool, check_paths: bool
) -> None:
    """One arm of an ablation, which is a space that searches nothing."""
    check_model(values, {}, info, faults)
    check_init_of_base(values, faults, own_base=own_base, check_paths=check_paths)
    _measured(values, info, {}, faults)
    check_together(values, info, {}, faults, effects=False)


def check_together(
    values: Values,
    info: RecipeInfo,
    search: Mapping[str, Search],
    faults: FaultList,
    *,
    effects: bool = True,
) -> None:
    """The rules over several fields, over the whole ranges of the search.

    A rule is left alone where one of its fields has a fault of its own: what was meant is not
    known.

    Args:
        values: good values by section, without defaults.
        info: the recipe.
        search: the searched parameters.
        faults: takes every fault.
        effects: whether to check the rules that say when a parameter has an effect; arms of an
            ablation keep those together, not each.
    """
    for rule in info.params.rules:
        if rule.has_effect and not effects:
            continue
        margins = any(is_margin(info.params, name) for name in rule.fields)
        if not margins and not _faulty("train", rule.fields, faults):
            _keep(rule, info.params, values["train"], search, "train", faults)
    for rule in BaseSection.rules:
        if not _faulty("base", rule.fields, faults):
            _keep(rule, BaseSection, values["base"], {}, "base", faults)
    if not _faulty("train", ("m_in", "m_out"), faults):
        _margins(values["train"], info, search, faults)
    if _faulty("tune", ("scheduler", "grace_epochs", "reduction_factor"), faults) or _faulty(
        "train", ("epochs",), faults
    ):
        return
    tune = TuneSection(**values["tune"])
    epochs = _ends("epochs", info.params, values["train"], search)
    check_epochs(tune, int(min(epochs)), int(max(epochs)), faults)


def _faulty(section: str, names: Sequence[str], faults: FaultList) -> bool:
    """Whether one of the fields has a fault, in its section, in the search, or as a whole."""
    paths: list[KeyPath] = [(where, name) for where in (section, "search") for name in names]
    whole = any(fault.key in (section, "search") for fault in faults.faults)
    return whole or any(faults.under(path) for path in paths)


def _metric(metric: str | None, faults: FaultList) -> None:
    if metric is not None and metric not in SELECTABLE:
        near = metric if metric.startswith("val/") else f"val/{metric}"
        rule = "no metric to select by has this name"
        faults.add(("select", "metric"), rule, nearest(near, SELECTABLE), metric)


def _floor(data: Mapping[str, Any], values: Values, own_base: bool, faults: FaultList) -> None:
    path: KeyPath = ("select", "floor")
    floor = values["select"].get("floor")
    metric = values["select"].get("metric", "val/fpr95")
    if floor is not None and floor.kind == "below_base" and not own_base:
        rule = "below_base needs a base that this study trains (its accuracy is the reference)"
        way_out = "Write {id_accuracy: {at_least: 0.9}} with an accuracy of your own."
        faults.add(path, rule, way_out, floor.plain())
    elif (
        floor is None
        and metric != ID_ACCURACY
        and not (faults.under(path) or faults.under(("model", "init")))
    ):
        rule = "selecting by an OOD metric needs a floor on ID accuracy"
        way_out = "Write {id_accuracy: {at_least: 0.9}}; at_least: 0 lets everything through."
        select = data.get("select")
        given = isinstance(select, dict) and "floor" in select
        faults.add(path, rule, way_out, *([None] if given else []))


def _kept(data: Mapping[str, Any], values: Values, faults: FaultList) -> None:
    """Images that are kept for a confirmation need one."""
    fraction = values["data"].get("confirm_fraction", 0)
    path: KeyPath = ("select", "confirm")
    if not fraction or values["select"].get("confirm") is not None or faults.under(path):
        return
    rule = "this keeps validation images for a confirmation, and the study has none"
    way_out = "Add select.confirm: {top: 3, seeds: 3}, or take this out."
    if "ablate" in data:
        way_out = "Take it out: an ablation confirms nothing, its arms share their seeds."
    faults.add(("data", "confirm_fraction"), rule, way_out, fraction)


def _measured(
    values: Values, info: RecipeInfo, search: Mapping[str, Search], faults: FaultList
) -> None:
    """Measured margins need a trained base."""
    if not _uses_margins(values["train"], info, search):
        return
    for name in info.params.model_fields:
        if not is_margin(info.params, name) or faults.under(("search", name)):
            continue
        ranges = margin_ranges(values["train"], info, search, (name,))
        if all(one.relation is None for (one,) in ranges):
            continue
        path = _path_of(name, search, "train")
        value = values["train"].get(name)
        shown = [value.plain()] if isinstance(value, MeasuredMargin) else []
        if (init := values["model"]["init"]) in ("random", "imagenet"):
            rule = f"a measured margin needs a trained base, and model.init is {init}"
            faults.add(path, rule, "Give the margin in nats, or set model.init: base.", *shown)


def _path_of(name: str, search: Mapping[str, Search], section: str) -> KeyPath:
    return ("search", name) if name in search else (section, name)


def _ends(
    name: str, section: type[Section], given: Mapping[str, Any], search: Mapping[str, Search]
) -> Sequence[Any]:
    """Values between which all others lie; the default too where it does not always exist."""
    entry = search.get(name)
    fixed = [given.get(name, section.model_fields[name].default)]
    if entry is None or isinstance(entry, MarginSearch):
        return fixed
    return entry.ends() if entry.when is None else [*entry.ends(), *fixed]


def _together(
    names: Sequence[str], search: Mapping[str, Search], ends: Mapping[str, Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    """The ends that some of the parameters can have together, without those that do not exist.

    What decides over their existence goes along, one value of those that decide alike.
    """
    conditions: dict[str, When] = {n: one.when for n, one in search.items() if one.when}
    parents = ancestors(names, conditions)
    deciding = {n: _searched_ends(one) for n, one in search.items() if n in parents}
    values = representatives(deciding, conditions) | {name: ends[name] for name in names}
    yield from points(values, {n: one for n, one in conditions.items() if n in values})


def _searched_ends(entry: Search) -> Sequence[Any]:
    return (entry.domain if isinstance(entry, MarginSearch) else entry).ends()


def _keep(
    rule: Rule,
    section: type[Section],
    given: Mapping[str, Any],
    search: Mapping[str, Search],
    where: str,
    faults: FaultList,
) -> None:
    fixed = {n: given.get(n, section.model_fields[n].default) for n in rule.fields}
    ends = {n: _searched_ends(search[n]) if n in search else [fixed[n]] for n in rule.fields}
    there = list(_together(rule.fields, search, ends))
    if rule.has_effect:  # where a parameter does not exist it need have none
        there = [point for point in there if rule.fields[0] in point]
    tried = [[point.get(name, fixed[name]) for name in rule.fields] for point in there]
    broken = [values for values in tried if not rule.holds(*values)]
    if not broken or (rule.has_effect and len(broken) < len(tried)):
        return
    named = [name for name in rule.fields if name in given or name in search]
    blamed = named[0] if named else rule.fields[0]
    worst = dict(zip(rule.fields, broken[0], strict=True))
    told = ", ".join(f"{name} {value}" for name, value in worst.items())
    path = _path_of(blamed, search, where)
    faults.add(path, f"{rule.text}; here {told}", rule.way_out, worst[blamed])


def margin_ranges(
    train: Mapping[str, Any],
    info: RecipeInfo,
    search: Mapping[str, Search],
    names: Sequence[str] = ("m_in", "m_out"),
) -> list[tuple[MarginRange, ...]]:
    """What margins can be together: one tuple of their ranges for each way in which they exist."""
    fixed = {
        name: MarginRange.of(parse_margin(train.get(name, info.params.model_fields[name].default)))
        for name in names
    }
    searched = {
        name: entry.range()
        for name in names
        if isinstance(entry := search.get(name), MarginSearch)
    }
    found = [
        tuple(
            searched[name] if name in point and name in searched else fixed[name] for name in names
        )
        for point in _together(names, search, dict.fromkeys(names, (None,)))
    ]
    return list(dict.fromkeys(found))


def _uses_margins(
    train: Mapping[str, Any], info: RecipeInfo, search: Mapping[str, Search]
) -> bool:
    """Whether some trial's loss has margins."""
    if not {"m_in", "m_out"} <= set(info.params.model_fields):
        return False
    loss = search.get("loss")
    if loss is None or isinstance(loss, MarginSearch):
        return info.uses_margins(train)
    return any(info.uses_margins({"loss": one}) for one in loss.ends())


def _margins(
    train: Mapping[str, Any],
    info: RecipeInfo,
    search: Mapping[str, Search],
    faults: FaultList,
    stats: EnergyStats | None = None,
) -> None:
    if not _uses_margins(train, info, search):
        return
    keys = [_path_of(name, search, "train") for name in ("m_in", "m_out")]
    place, line = faults.places.of(keys[0])
    for m_in, m_out in margin_ranges(train, info, search):
        fault = crossing_fault(
            m_in,
            m_out,
            stats,
            place=place,
            key=".".join(map(str, keys[0])),
            other_key=".".join(map(str, keys[1])),
            line=line,
        )
        if fault is not None:
            faults.faults.append(fault)
            return


def check_against_base(
    spec: StudySpec,
    stats: EnergyStats,
    temperature: float | None = None,
    arms: Collection[str] | None = None,
) -> None:
    """The margins of a spec once the base is measured.

    Args:
        spec: the study.
        stats: energies of the base on validation ID images and on outliers.
        temperature: of ``stats``; arms of an ablation with another one are not looked at.
        arms: those that start from this base; None for all.

    Raises:
        BadInput: if margins can cross anywhere in their ranges.
    """
    faults = FaultList(spec.places)

    def check(values: Values, into: FaultList) -> None:
        if temperature in (None, values["train"].get("temperature", temperature)):
            _margins(values["train"], spec.info, spec.search, into, stats)

    values: Values = {"train": spec.train, "model": spec.model.model_dump(), "base": {}}
    if arms is None or BASELINE in arms:
        check(values, faults)
    if spec.ablate is not None:
        each_arm(spec.ablate, values, faults, check, arms)
        each_point(spec.ablate, values, faults, check, arms)
    if faults.faults:
        raise BadInput(faults.faults)


def check_against_data(spec: StudySpec, num_train: int, num_outliers: int | None = None) -> None:
    """Batches against the sizes of the sets that they are drawn from.

    Args:
        spec: the study.
        num_train: ID training images.
        num_outliers: auxiliary outliers; None where there are none.

    Raises:
        BadInput: with every batch that is larger than its set.
    """
    faults = FaultList(spec.places)
    sizes = {"batch_size": num_train} if "batch_size" in spec.info.params.model_fields else {}
    if spec.info.needs_outliers:
        sizes["outlier_batch_size"] = num_outliers or 0
    for name, size in sizes.items():
        path = _path_of(name, spec.search, "train")
        ends = [(one, path) for one in _ends(name, spec.info.params, spec.train, spec.search)]
        ends += values_of(name, spec.ablate) if spec.ablate else []
        most, path = max(ends, key=lambda pair: pair[0])
        if most > size:
            what = "outliers" if name.startswith("outlier") else "training images"
            rule = f"a batch must not be larger than the data ({size:,} {what})"
            faults.add(path, rule, f"Lower it to {size} or less, or give more data.", most)
    if spec.base is not None:
        path, name = ("base", "batch_size"), "base.batch_size"
        of_arms = values_of(name, spec.ablate) if spec.ablate else []
        most, path = max([(spec.base.batch_size, path), *of_arms], key=lambda pair: pair[0])
        if most > num_train:
            rule = f"a batch must not be larger than the data ({num_train:,} training images)"
            faults.add(path, rule, f"Lower it to {num_train} or less.", most)
    if faults.faults:
        raise BadInput(faults.faults)
