"""The section ``search``: which parameters are searched, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import PydanticCustomError

from study.losses.margins import (
    RELATIONS,
    Margin,
    MarginRange,
    Reference,
    Relation,
    parse_reference,
)
from study.recipes.params import TrialParams
from study.section import Section
from study.space.reading.fields import check_value, elsewhere, takes_kind
from study.space.reading.places import FaultList, Wrong, each, near, wrong
from study.space.reading.sections import BaseSection, ModelSection
from study.space.reading.yamlfile import KeyPath
from study.space.search.conditions import When, read_conditions, without_when
from study.space.search.domains import RANGES, Choice, Domain, IntUniform, Scalar, read_domain

_MARGIN_FORM = (
    "Write {absolute: {uniform: [-25, -15]}}, or {below: id_energy, sd: {uniform: [0, 6]}}."
)
_ONE_FOR_ALL = ("backbone", "dropout")
_OF_THE_NETWORK = ("stem", "normalisation", "image_size", "pretrained_on")


@dataclass(frozen=True)
class Searched:
    """What is searched of a parameter.

    Attributes:
        domain: the numbers or words that searchers see.
        margin: whether the parameter is a margin; then the domain is of nats or, with a relation,
            of the base's standard deviations.
        relation: of a measured margin ``below`` or ``above``.
        reference: of a measured margin, whose energies.
        when: under which values of others it exists; None: always.
    """

    domain: Domain
    margin: bool = False
    relation: Relation | None = None
    reference: Reference | None = None
    when: When | None = None

    def ends(self) -> tuple[Scalar, ...]:
        """The values of the domain between which all others lie."""
        return self.domain.ends()

    def range(self) -> MarginRange:
        """All values that a margin can take."""
        ends = [float(end or 0) for end in self.ends()]
        return MarginRange(self.relation, self.reference, min(ends), max(ends))

    def at(self, value: Scalar) -> Any:
        """What trials have at one value of the domain, in the YAML's form."""
        if not self.margin:
            return value
        number = float(value or 0)
        return number if self.relation is None else {self.relation: self.reference, "sd": number}

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        form = self.domain.plain()
        if self.relation is not None:
            form = {self.relation: self.reference, "sd": form}
        elif self.margin:
            form = {"absolute": form}
        return form if self.when is None else {**form, "when": self.when.plain()}


def _read_margin(form: Any) -> Searched:
    if not isinstance(form, dict):
        raise wrong("a searched margin needs a domain", _MARGIN_FORM, form)
    if "absolute" in form:
        for key in form:
            if key != "absolute":
                rule = f"an absolute margin has no key {key!r}"
                raise wrong(rule, _MARGIN_FORM, form[key], (key,))
        return Searched(_numbers(form["absolute"], ("absolute",)), margin=True)
    if not form.keys() & {*RELATIONS, "sd"}:
        return Searched(_numbers(form, ()), margin=True)
    try:
        relation, reference = parse_reference(form)
    except PydanticCustomError as error:
        raise wrong((error.context or {})["rule"], _MARGIN_FORM, form) from None
    if not isinstance(form["sd"], dict | list):
        rule = "this margin is fixed, there is nothing to search"
        way_out = "Move it to `train`, or give sd a domain such as {uniform: [0, 6]}."
        raise wrong(rule, way_out, form, ("sd",))
    return Searched(_numbers(form["sd"], ("sd",)), True, relation, reference)


def _numbers(form: Any, at: KeyPath) -> Domain:
    """A domain of a margin's numbers; it stands below the margin, at ``at``."""
    try:
        domain = read_domain(form)
        if not isinstance(domain, Choice):
            return domain
        for i, value in enumerate(domain.values):
            if isinstance(value, bool) or not isinstance(value, int | float):
                way_out = "Write numbers; one form of margin a study."
                raise wrong("a margin's choices are numbers", way_out, value, ("choice", i))
        return Choice(tuple(float(value or 0) for value in domain.values))
    except Wrong as error:
        raise Wrong(*(one._replace(path=(*at, *one.path)) for one in error.problems)) from None


def is_margin(params: type[Section], name: str) -> bool:
    """Whether a field of a recipe's parameters is a margin."""
    field = params.model_fields.get(name)
    return field is not None and field.metadata == list(_MARGIN_METADATA)


_MARGIN_METADATA = Margin.__metadata__  # type: ignore[attr-defined]


def split_name(parameter: str) -> tuple[str, str]:
    """Section and field of a parameter: ``lr`` is of ``train``, ``model.dropout`` of ``model``."""
    prefix, dot, rest = parameter.partition(".")
    return (prefix, rest) if dot else ("train", parameter)


def searchable(recipe: type[TrialParams]) -> dict[str, type[Section]]:
    """Every name that ``search`` takes -> the class of its section.

    The backbone can be searched where trials need not start from a base: a study has one base.
    """
    names: dict[str, type[Section]]
    names = {name: recipe for name in recipe.model_fields if name not in recipe.unsearchable}
    names["model.dropout"] = ModelSection
    if recipe.base != "start":
        names["model.backbone"] = ModelSection
    return names


def ablatable(recipe: type[TrialParams]) -> dict[str, type[Section]]:
    """Every name that a level of an ablation sets: what is searchable, and what trials start from.

    Arms may start from bases of their own; only their backbone is one for all.
    """
    names = searchable(recipe)
    if recipe.base == "start":
        own = (field for field in BaseSection.model_fields if field not in _ONE_FOR_ALL)
        names |= {f"base.{field}": BaseSection for field in own}
        names |= {f"model.{field}": ModelSection for field in _OF_THE_NETWORK}
    return names


def read_search(
    raw: Any, recipe: type[TrialParams], faults: FaultList, path: KeyPath = ("search",)
) -> dict[str, Searched]:
    """The searched parameters, each value of each domain valid for its parameter.

    Args:
        raw: what the YAML has under ``search``; None where it has nothing.
        recipe: the parameters of the recipe.
        faults: takes every fault.
        path: where it stands; conditions are those of the section ``search`` alone.

    Returns:
        Name as in the YAML -> what is searched, those without a fault.
    """
    if not isinstance(raw, dict) or not raw:
        way_out = f"Give a parameter a domain, for example lr: {RANGES}."
        faults.add(path, "a study searches at least one parameter", way_out, raw)
        return {}
    found: dict[str, Searched] = {}
    known = searchable(recipe)
    for name, form in raw.items():
        with faults.gathering((*path, name)):
            section = known_section(name, known, form)
            field = split_name(name)[1]
            form = without_when(form)
            margin = is_margin(section, field)
            found[name] = _read_margin(form) if margin else _read_field(form, section, field)
    conditions = read_conditions({name: one.domain for name, one in found.items()}, raw, faults)
    return {name: replace(entry, when=conditions.get(name)) for name, entry in found.items()}


def known_section(name: str, known: Mapping[str, type[Section]], value: Any) -> type[Section]:
    """The section of a name of ``searchable`` or ``ablatable`` (`Wrong` for another name)."""
    if name in known:
        return known[name]
    raise wrong(*not_searchable(name, known), value)


def not_searchable(name: str, known: Mapping[str, Any]) -> tuple[str, str]:
    """Rule and way out for a name that ``searchable`` does not have."""
    prefix, _, rest = name.partition(".")
    if prefix == "train" and rest in known:
        return "parameters of `train` are searched by their bare name", f"Write {rest}."
    if prefix in {"data", "tune", "select", "base", "model", "search"} and rest:
        others = [key for key in known if "." in key]
        way_out = f"Beside the keys of `train`: {', '.join(others)}."
        return "this parameter cannot be searched", way_out
    if f"model.{name}" in known:
        return "parameters of `model` are searched by their dotted name", f"Write model.{name}."
    return "the recipe has no such parameter", near(name, known) or elsewhere(name, known)


def _read_field(form: Any, section: type[Section], field: str) -> Searched:
    """The domain with its values as the field holds them (`Wrong` where it does not)."""
    domain = read_domain(form)
    if isinstance(domain, Choice):

        def checked(at: tuple[int, Scalar]) -> Scalar:
            value: Scalar = getattr(check_value(section, field, at[1], ("choice", at[0])), field)
            return value

        return Searched(Choice(tuple(each(enumerate(domain.values), checked))))
    if not takes_kind(section, field, domain.low):
        whole = not isinstance(domain, IntUniform) and takes_kind(section, field, 1)
        way_out = "Write {int: [1, 8]} or a choice." if whole else "Write {choice: [a, b]}."
        rule = f"{field} is not searched over such a range"
        raise wrong(rule, way_out, form)
    for end in domain.ends():  # the other end would mostly say the same again
        check_value(section, field, end)
    return Searched(domain)
