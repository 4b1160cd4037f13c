"""What the parts of a space must satisfy together, over the whole ranges of its search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from study.losses.margins import EnergyStats, MarginRange, crossing, parse_margin
from study.section import Rule
from study.space.checks.case import Case, Check
from study.space.reading.places import Problem
from study.space.reading.sections import BaseSection
from study.space.search.conditions import When, ancestors, points, representatives
from study.space.search.search import is_margin
from study.space.study_spec import StudySpec

_MARGINS = ("m_in", "m_out")


def measured(case: Case) -> Iterator[Problem]:
    """Measured margins need a trained base."""
    spec, params = case.spec, type(case.spec.params)
    if spec.model.init not in ("random", "imagenet") or not _uses_margins(spec):
        return
    for name in params.model_fields:
        if not is_margin(params, name) or case.faults.under(("search", name)):
            continue
        if any(one.relation is not None for (one,) in _ranges(spec, (name,))):
            rule = f"a measured margin needs a trained base, and model.init is {spec.model.init}"
            way_out = "Give the margin in nats, or set model.init: base."
            shown = case.given(spec.params, name)
            about = ("model.init", "loss", *_MARGINS)
            yield Problem(spec.path_of(name), rule, way_out, shown, about)


def rules(case: Case) -> Iterator[Problem]:
    """The rules over several fields.

    Of those that say when a parameter has an effect it is enough that they hold somewhere in a
    search, which is about to begin; the arms of an ablation keep them together, see
    `study.space.checks.arms`.
    """
    params = type(case.spec.params)
    for rule in params.rules:
        of_margins = any(is_margin(params, name) for name in rule.fields)
        elsewhere = "ablate" in case.sections or not case.begins
        left_out = of_margins or (rule.has_effect and elsewhere)
        if not left_out and not case.faulty("train", rule.fields):
            yield from _broken(rule, case.spec)
    for rule in BaseSection.rules:
        if not case.faulty("base", rule.fields):
            yield from _broken(rule, case.spec, "base.")


def margins(case: Case, stats: EnergyStats | None = None) -> Iterator[Problem]:
    """Margins that can cross anywhere in their ranges; with ``stats``, of the base, in nats."""
    if case.faulty("train", _MARGINS) or not _uses_margins(case.spec):
        return
    path, other = (case.spec.path_of(name) for name in _MARGINS)
    for m_in, m_out in _ranges(case.spec, _MARGINS):
        told = crossing(m_in, m_out, stats, other_key=".".join(map(str, other)))
        if told is not None:
            yield Problem(path, *told, about=_MARGINS)
            return


def _broken(rule: Rule, spec: StudySpec, prefix: str = "") -> Iterator[Problem]:
    """A rule over fields of `train`, or of the section that the prefix names."""
    names = [prefix + field for field in rule.fields]
    section, _ = spec.section_of(names[0])
    fixed = {name: getattr(section, field) for name, field in zip(names, rule.fields, strict=True)}
    there = list(_together(names, spec, fixed))
    if rule.has_effect:  # where a parameter does not exist it need have none
        there = [point for point in there if names[0] in point]
    tried = [{name: point.get(name, fixed[name]) for name in names} for point in there]
    broken = [point for point in tried if not rule.holds(*point.values())]
    if not broken or (rule.has_effect and len(broken) < len(tried)):
        return
    given = section.model_fields_set
    pairs = zip(names, rule.fields, strict=True)
    named = [name for name, field in pairs if field in given or name in spec.search]
    blamed = named[0] if named else names[0]
    values = zip(rule.fields, broken[0].values(), strict=True)
    told = ", ".join(f"{field} {value}" for field, value in values)
    text = f"{rule.text}; here {told}"
    path = spec.path_of(blamed)
    yield Problem(path, text, rule.way_out, broken[0][blamed], tuple(names))


def _together(
    names: Sequence[str], spec: StudySpec, fixed: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The ends that some of the parameters can have together, without those that do not exist.

    What decides over their existence goes along, one value of those that decide alike.
    """
    conditions: dict[str, When] = {n: one.when for n, one in spec.search.items() if one.when}
    parents = ancestors(names, conditions)
    deciding = {name: one.ends() for name, one in spec.search.items() if name in parents}
    values: dict[str, Sequence[Any]] = {**representatives(deciding, conditions)}
    for name in names:
        values[name] = spec.search[name].ends() if name in spec.search else [fixed[name]]
    yield from points(values, {n: one for n, one in conditions.items() if n in values})


def _ranges(spec: StudySpec, names: Sequence[str]) -> list[tuple[MarginRange, ...]]:
    """What margins can be together: one tuple of their ranges for each way in which they exist."""
    fixed = {name: MarginRange.of(parse_margin(getattr(spec.params, name))) for name in names}
    searched = {name: spec.search[name].range() for name in names if name in spec.search}
    found = [
        tuple(
            searched[name] if name in point and name in searched else fixed[name] for name in names
        )
        for point in _together(names, spec, fixed)
    ]
    return list(dict.fromkeys(found))


def _uses_margins(spec: StudySpec) -> bool:
    """Whether some trial's loss has margins."""
    if "loss" not in spec.search:
        return spec.params.uses_margins
    losses = spec.search["loss"].ends()
    return any(spec.params.model_copy(update={"loss": one}).uses_margins for one in losses)


CHECKS: tuple[Check, ...] = (measured, rules, margins)
