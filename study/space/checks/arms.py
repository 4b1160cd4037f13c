"""Each arm of an ablation as a space of its own: what it breaks, told at the level that does."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from study.recipes.catalog import RecipeInfo
from study.section import Rule, Section
from study.space.ablation.designs import COMBINING, Arm, Factor, Level, level_path
from study.space.ablation.section import Ablation
from study.space.reading.places import FaultList
from study.space.reading.sections import BaseSection, ModelSection
from study.space.reading.yamlfile import KeyPath, dotted
from study.space.search.search import split_name

Values = dict[str, dict[str, Any]]
Check = Callable[[Values, FaultList], None]


def check_arms(
    ablation: Ablation, values: Values, info: RecipeInfo, faults: FaultList, check: Check
) -> None:
    """No arm may equal another, or break a rule over several fields.

    Args:
        ablation: the design.
        values: good values of the baseline by section, without defaults.
        info: the recipe.
        faults: takes every fault; what the baseline alone breaks is told there already.
        check: the rules over several fields, on the values of one arm.
    """
    _no_ops(ablation, values, info, faults)
    _twice(ablation, faults)
    each_arm(ablation, values, faults, check)
    for rule in info.params.rules:
        if rule.has_effect:
            _effect(rule, ablation, values, info, faults)
    each_point(ablation, values, faults, check)


def each_arm(
    ablation: Ablation,
    values: Values,
    faults: FaultList,
    check: Check,
    only: Collection[str] | None = None,
) -> None:
    """Call ``check`` on every arm but the baseline; move what it finds to the level at fault.

    ``only`` names the arms to look at; None for all.
    """
    told: set[tuple[KeyPath | str, str]] = set()
    for arm in ablation.arms[1:]:
        if only is not None and arm.name not in only:
            continue
        scratch = FaultList(faults.places, list(faults.faults), faults.misread)
        before = len(scratch.faults)
        check(arm_values(values, arm), scratch)
        for fault in scratch.faults[before:]:
            path, value = _culprit(ablation, arm, fault.key, fault.rule)
            if (path, fault.way_out) not in told:
                told.add((path, fault.way_out))
                place, line = faults.places.of(path)
                rule = f"in arm {arm.name!r}: {fault.rule}"
                moved = replace(
                    fault, place=place, line=line, key=dotted(path), rule=rule, value=value
                )
                faults.faults.append(moved)


def each_point(
    ablation: Ablation,
    values: Values,
    faults: FaultList,
    check: Check,
    only: Collection[str] | None = None,
) -> None:
    """Call ``check`` on every arm at every point of ``ablate.retune``; tell it at the parameter.

    Where arms without re-tuning have a fault nothing is looked at: it would be told again.
    ``only`` names the arms to look at; None for all.
    """
    if ablation.retune is None or faults.faults:
        return
    told: set[tuple[KeyPath, str]] = set()
    for number, point in enumerate(ablation.retune.points):
        for arm in ablation.arms:
            if only is not None and arm.name not in only:
                continue
            scratch = FaultList(faults.places)
            check(arm_values(values, replace(arm, settings={**arm.settings, **point})), scratch)
            for fault in scratch.faults:
                name = _blamed(point, fault.key, fault.rule)
                path: KeyPath = ("ablate", "retune", "search", name)
                if (path, fault.way_out) not in told:
                    told.add((path, fault.way_out))
                    rule = f"in arm {arm.name!r} at tuning point {number}: {fault.rule}"
                    faults.add(path, rule, fault.way_out, point[name])


def _blamed(point: Mapping[str, Any], key: str, rule: str) -> str:
    """The parameter of a point that a fault is about: its key's, else one that the rule names."""
    words = set(re.findall(r"\w+", rule))
    return min(point, key=lambda name: 0 if key == f"train.{name}" else 1 if name in words else 2)


def arm_values(values: Values, arm: Arm) -> Values:
    """Values by section with an arm's settings in place."""
    merged = {name: dict(section) for name, section in values.items()}
    for parameter, value in arm.settings.items():
        section, field = split_name(parameter)
        merged.setdefault(section, {})[field] = value
    return merged


def baseline_of(parameter: str, values: Values, info: RecipeInfo) -> Any:
    """What the baseline has for a parameter, in the YAML's form."""
    section, field = split_name(parameter)
    kinds: dict[str, type[Section]]
    kinds = {"train": info.params, "model": ModelSection, "base": BaseSection}
    kind = kinds[section]
    default = kind.model_fields[field].get_default(call_default_factory=True)
    typed = values[section].get(field, default)
    return kind.model_construct(**{field: typed}).model_dump(include={field})[field]


def _all_levels(ablation: Ablation) -> Iterator[tuple[Factor, Level]]:
    for factor in ablation.factors:
        for level in factor.levels:
            yield factor, level


def values_of(parameter: str, ablation: Ablation) -> list[tuple[Any, KeyPath]]:
    """Every value that a level gives a parameter, and where it does."""
    return [
        (level.settings[parameter], level_path(factor, level, parameter))
        for factor, level in _all_levels(ablation)
        if parameter in level.settings
    ]


def _no_ops(ablation: Ablation, values: Values, info: RecipeInfo, faults: FaultList) -> None:
    for factor, level in _all_levels(ablation):
        for parameter, value in level.settings.items():
            if faults.under(split_name(parameter)):
                continue
            baseline = baseline_of(parameter, values, info)
            if value == baseline and isinstance(value, bool) == isinstance(baseline, bool):
                rule = f"this is the baseline's {parameter} already, so the level changes nothing"
                way_out = "Take it out, or change the baseline in `train` or `model`."
                faults.add(level_path(factor, level, parameter), rule, way_out, value)


def _twice(ablation: Ablation, faults: FaultList) -> None:
    """Two arms that are one; and, where arms combine factors, one parameter in two factors."""
    setters: dict[str, Factor] = {}
    seen: list[tuple[Mapping[str, Any], Factor, Level]] = []
    for factor, level in _all_levels(ablation):
        for same, other, another in seen:
            if same == level.settings:
                rule = f"the same arm as {other.name}={another.name}"
                path = level_path(factor, level, next(iter(level.settings)))
                faults.add(path, rule, "Take one of the two out.", dict(level.settings))
        seen.append((level.settings, factor, level))
        for parameter, value in level.settings.items():
            first = setters.setdefault(parameter, factor)
            if first is not factor and ablation.design in COMBINING:
                rule = f"{parameter} is set by factor {first.name!r} too, and arms combine the two"
                way_out = "Set each parameter in one factor, or use design: one_at_a_time."
                faults.add(level_path(factor, level, parameter), rule, way_out, value)


def _culprit(ablation: Ablation, arm: Arm, key: str, rule: str = "") -> tuple[KeyPath, Any]:
    """The level of an arm that a fault is about: its key's, else the first that the rule names."""
    words = set(re.findall(r"\w+", rule))
    found: list[tuple[int, KeyPath, Any]] = []
    for factor, level in _all_levels(ablation):
        if arm.levels.get(factor.name) != level.name:
            continue
        for parameter, value in level.settings.items():
            section, field = split_name(parameter)
            rank = 0 if key == f"{section}.{field}" else 1 if field in words else 2
            found.append((rank, level_path(factor, level, parameter), value))
    _, path, value = min(found, key=lambda one: one[0])
    return path, value


def _effect(
    rule: Rule, ablation: Ablation, values: Values, info: RecipeInfo, faults: FaultList
) -> None:
    """A setting that no arm gives an effect, whoever gives it: the baseline or a level."""
    blamed = rule.fields[0]
    if any(faults.under(("train", field)) for field in rule.fields):
        return
    holds: dict[KeyPath, bool] = {}
    shown: dict[KeyPath, Any] = {}
    for arm in ablation.arms:
        train = arm_values(values, arm)["train"]
        fields = info.params.model_fields
        point = [train.get(name, fields[name].default) for name in rule.fields]
        named = [name for name in rule.fields if name in values["train"]]
        path: KeyPath = ("train", named[0] if named else blamed)
        if blamed in arm.settings:
            path, _ = _culprit(ablation, arm, f"train.{blamed}")
        holds[path] = holds.get(path, False) or rule.holds(*point)
        shown[path] = point[0]
    for path, good in holds.items():
        if not good:
            text = f"{rule.text}, and that is so in every arm that has it"
            faults.add(path, text, rule.way_out, shown[path])
