"""Each arm of an ablation as a space of its own: what it breaks, told at the level that does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from study.section import Rule
from study.space.ablation.designs import COMBINING, Arm, Factor, Level
from study.space.ablation.section import Ablation
from study.space.checks import bases, model, together, tune
from study.space.checks.case import Case, Check
from study.space.reading.places import Problem, same_value
from study.space.reading.yamlfile import KeyPath
from study.space.search.search import split_name

OF_EACH: tuple[Check, ...] = (
    *model.CHECKS,
    bases.init_of_the_base,
    together.measured,
    together.rules,
    together.margins,
    tune.epochs,
)
Setter = tuple[str, KeyPath, Any]
"""A parameter that an arm sets, where it does, and the value."""


def check_arms(case: Case) -> None:
    """No arm may equal another, or break a rule over several fields.

    What the baseline alone breaks is told there already.
    """
    ablation = case.spec.ablate
    if ablation is not None:
        case.faults.take(_no_ops(ablation, case))
        case.faults.take(_twice(ablation))
        in_each_arm(OF_EACH, case)
        for rule in case.spec.params.rules:
            if rule.has_effect and case.begins:
                case.faults.take(_effect(rule, ablation, case))
        at_each_point(OF_EACH, case)


def in_each_arm(checks: Iterable[Check], case: Case, only: Collection[str] | None = None) -> None:
    """Run checks on every arm but the baseline; tell each problem at the level at fault.

    ``only`` names the arms to look at; None for all.
    """
    ablation, told = case.spec.ablate, set[tuple[KeyPath, str]]()
    if ablation is None:
        return
    for arm in ablation.arms[1:]:
        if only is None or arm.name in only:
            setters = _setters(ablation, arm)
            _tell(checks, case, arm.settings, setters, f"in arm {arm.name!r}", told)


def at_each_point(
    checks: Iterable[Check], case: Case, only: Collection[str] | None = None
) -> None:
    """Run checks on every arm at every point of ``ablate.retune``; tell each at its parameter.

    Where arms without re-tuning have a fault nothing is looked at: it would be told again.
    ``only`` names the arms to look at; None for all.
    """
    ablation, told = case.spec.ablate, set[tuple[KeyPath, str]]()
    if ablation is None or ablation.retune is None or case.faults.faults:
        return
    for number, point in enumerate(ablation.retune.points):
        setters = [(name, ("ablate", "retune", "search", name), point[name]) for name in point]
        for arm in ablation.arms:
            if only is None or arm.name in only:
                where = f"in arm {arm.name!r} at tuning point {number}"
                _tell(checks, case, {**arm.settings, **point}, setters, where, told)


def _tell(
    checks: Iterable[Check],
    case: Case,
    settings: Mapping[str, Any],
    setters: Sequence[Setter],
    where: str,
    told: set[tuple[KeyPath, str]],
) -> None:
    """Tell the problems of some settings at what sets the parameter at fault, each once."""
    scratch = replace(case.faults, faults=list(case.faults.faults))
    seen = replace(case, spec=case.spec.with_settings(settings), faults=scratch)
    for check in checks:
        for problem in check(seen):
            known = scratch.knows(problem)  # the baseline breaks it too
            scratch.take([problem])
            path, value = _culprit(setters, problem)
            if not known and (path, problem.way_out) not in told:
                told.add((path, problem.way_out))
                case.faults.add(path, f"{where}: {problem.rule}", problem.way_out, value)


def _setters(ablation: Ablation, arm: Arm) -> list[Setter]:
    return [
        (parameter, factor.path(level, parameter), value)
        for factor, level in ablation.levels()
        if arm.levels.get(factor.name) == level.name
        for parameter, value in level.settings.items()
    ]


def _culprit(setters: Sequence[Setter], problem: Problem) -> tuple[KeyPath, Any]:
    """What sets the parameter at the problem's path, else the first that the rule is about."""

    def rank(setter: Setter) -> int:
        parameter, _, _ = setter
        return 0 if split_name(parameter) == problem.path else 2 - (parameter in problem.about)

    _, path, value = min(setters, key=rank)
    return path, value


def _no_ops(ablation: Ablation, case: Case) -> Iterator[Problem]:
    for factor, level in ablation.levels():
        for parameter, value in level.settings.items():
            baseline = case.spec.fixed(parameter)
            if same_value(value, baseline) and not case.faults.under(split_name(parameter)):
                rule = f"this is the baseline's {parameter} already, so the level changes nothing"
                way_out = "Take it out, or change the baseline in `train` or `model`."
                yield Problem(factor.path(level, parameter), rule, way_out, value)


def _twice(ablation: Ablation) -> Iterator[Problem]:
    """Two arms that are one; and, where arms combine factors, one parameter in two factors."""
    setters: dict[str, Factor] = {}
    seen: list[tuple[Factor, Level]] = []
    for factor, level in ablation.levels():
        for other, another in seen:
            if another.settings == level.settings:
                rule = f"the same arm as {other.name}={another.name}"
                path = factor.path(level, next(iter(level.settings)))
                yield Problem(path, rule, "Take one of the two out.", dict(level.settings))
        seen.append((factor, level))
        for parameter, value in level.settings.items():
            first = setters.setdefault(parameter, factor)
            if first is not factor and ablation.design in COMBINING:
                rule = f"{parameter} is set by factor {first.name!r} too, and arms combine the two"
                way_out = "Set each parameter in one factor, or use design: one_at_a_time."
                yield Problem(factor.path(level, parameter), rule, way_out, value)


def _effect(rule: Rule, ablation: Ablation, case: Case) -> Iterator[Problem]:
    """A setting that no arm gives an effect, whoever gives it: the baseline or a level."""
    if case.faults.under(*(("train", field) for field in rule.fields)):
        return
    blamed, given = rule.fields[0], case.spec.params.model_fields_set
    holds: dict[KeyPath, bool] = {}
    shown: dict[KeyPath, Any] = {}
    for arm in ablation.arms:
        params = case.spec.with_settings(arm.settings).params
        path: KeyPath = ("train", next((name for name in rule.fields if name in given), blamed))
        if blamed in arm.settings:
            path = next(at for name, at, _ in _setters(ablation, arm) if name == blamed)
        values = [getattr(params, name) for name in rule.fields]
        holds[path] = holds.get(path, False) or rule.holds(*values)
        shown[path] = values[0]
    for path, good in holds.items():
        if not good:
            text = f"{rule.text}, and that is so in every arm that has it"
            yield Problem(path, text, rule.way_out, shown[path])
