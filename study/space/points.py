"""A spec's search as searchers see it: flat dotted names, and points turned into parameters."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from study.space.ablation.section import ARM, DEFAULT, RETUNE, SEED
from study.space.reading.sections import BaseSection
from study.space.search.conditions import When, existing, in_order, points
from study.space.search.domains import (
    Choice,
    Domain,
    IntUniform,
    LogUniform,
    MarginSearch,
    Scalar,
    Uniform,
)
from study.space.search.search import split_name
from study.space.study_spec import StudySpec

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = [
    "Choice",
    "Domain",
    "IntUniform",
    "LogUniform",
    "MarginSearch",
    "Uniform",
    "absent",
    "base_at",
    "conditions",
    "flat",
    "flatten",
    "grid",
    "is_under",
    "point_with",
    "substitute",
    "suggested",
    "to_optuna",
    "values_of",
]


def flat(spec: StudySpec) -> dict[str, Domain]:
    """Every searched number or word: dotted name -> domain, in the order of the space.

    ``search.lr`` is ``train.lr``; ``search.m_in: {below: id_energy, sd: ...}`` is
    ``train.m_in.sd``; an absolute margin is ``train.m_in``; ``model.dropout`` stays. The points
    of an ablation have an ``arm`` and a ``seed``, and ``retune``, the number of a tuning point,
    where arms are re-tuned.
    """
    if spec.ablate is not None:
        names = tuple(arm.name for arm in spec.ablate.arms)
        retune, seeds = spec.ablate.retune, spec.ablate.seeds
        if retune is None:
            return {ARM: Choice(names), SEED: Choice(seeds)}
        tried = Choice((DEFAULT, *range(retune.num_trials)))
        return {ARM: Choice(names), SEED: Choice((*seeds, retune.seed)), RETUNE: tried}
    return {
        _flat_name(name, entry): entry.domain if isinstance(entry, MarginSearch) else entry
        for name, entry in spec.search.items()
    }


def conditions(spec: StudySpec) -> dict[str, When]:
    """The conditions of those that do not always exist, all under dotted names."""
    return {
        _flat_name(name, entry): entry.when.renamed(_full_name)
        for name, entry in spec.search.items()
        if entry.when is not None
    }


def suggested(spec: StudySpec) -> dict[str, Domain]:
    """``flat`` in the order of drawing: what others hang on comes first."""
    domains = flat(spec)
    return {name: domains[name] for name in in_order(domains, conditions(spec))}


def _full_name(name: str) -> str:
    return name if name.startswith("model.") else f"train.{name}"


def _flat_name(name: str, entry: Domain | MarginSearch) -> str:
    full = _full_name(name)
    measured = isinstance(entry, MarginSearch) and entry.relation is not None
    return f"{full}.sd" if measured else full


def substitute(
    spec: StudySpec, point: Mapping[str, Scalar]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of one trial.

    Args:
        spec: the study.
        point: a value for every name of ``flat(spec)`` that exists under the others' values;
            those that do not have their defaults.

    Returns:
        The section ``train`` and the section ``model``, complete, as plain data in the YAML's
        form; margins may still be measured ones.

    Raises:
        ValueError: if a name is missing or foreign, or the recipe refuses the values.
    """
    known = conditions(spec)
    names = {name for name in flat(spec) if name not in known or known[name].holds(point)}
    if names != point.keys():
        raise ValueError(f"a point has the names {sorted(names)}, not {sorted(point)}")
    sections = {"train": copy.deepcopy(spec.train), "model": spec.model.model_dump()}
    for name, value in _settings(spec, point).items():
        section, field = split_name(name)
        if section in sections:  # what an arm changes in its base is `base_at`'s
            sections[section][field] = value
    train, model = sections["train"], sections["model"]
    # Through the types, so that a whole number for a float is a float in every trial.
    train = spec.info.params.model_validate(train).model_dump()
    return train, type(spec.model).model_validate(model).model_dump()


def base_at(spec: StudySpec, point: Mapping[str, Scalar]) -> BaseSection:
    """The section ``base`` as a trial has it; a space without the section has its defaults."""
    given = {} if spec.base is None else spec.base.model_dump()
    split = {split_name(name): value for name, value in _settings(spec, point).items()}
    changed = {field: value for (section, field), value in split.items() if section == "base"}
    return BaseSection.model_validate(given | changed)


def _settings(spec: StudySpec, point: Mapping[str, Scalar]) -> Mapping[str, Any]:
    """What a point sets: parameter, as the YAML names it -> value in the YAML's form."""
    if spec.ablate is not None:
        return spec.ablate.settings(point)
    flat_names = {name: _flat_name(name, entry) for name, entry in spec.search.items()}
    values = {name: point[full] for name, full in flat_names.items() if full in point}
    return {
        name: entry.at(values[name]) if isinstance(entry, MarginSearch) else values[name]
        for name, entry in spec.search.items()
        if name in values
    }


def absent(spec: StudySpec, point: Mapping[str, Scalar]) -> list[str]:
    """Parameters, ``train.huber_delta``, that are searched and do not exist in a point."""
    return (
        []
        if spec.ablate is not None
        else [
            _full_name(name)
            for name, entry in spec.search.items()
            if entry.when is not None and _flat_name(name, entry) not in point
        ]
    )


def is_under(name: str, parameters: Collection[str]) -> bool:
    """Whether a flattened name, ``train.m_in.sd``, belongs to one of the parameters."""
    return any(name == one or name.startswith(f"{one}.") for one in parameters)


def point_with(spec: StudySpec, wanted: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
    """A point of the space with these values; what they hang on is chosen so that they exist."""
    known = conditions(spec)
    point = {name: domain.ends()[0] for name, domain in flat(spec).items()} | dict(wanted or {})
    left = list(wanted or {})
    while left:
        name = left.pop()
        for parent, values in known[name].parents if name in known else ():
            if point[parent] not in values:
                point[parent] = values[0]
            left.append(parent)
    return existing(point, known)


def values_of(spec: StudySpec, name: str) -> list[Any]:
    """Values of a parameter between which all of a study's trials lie.

    The fixed one, the ends of its search and, where it does not always exist, its default, or
    the baseline's and those of the arms. The name is that of the YAML: ``lr``, ``model.backbone``.
    """
    section, field = split_name(name)
    if name in spec.search:
        entry = spec.search[name]
        ends = list(flat(spec)[_flat_name(name, entry)].ends())
        kind = spec.info.params if section == "train" else type(spec.model)
        return ends + ([] if entry.when is None else [kind.model_fields[field].default])
    if section == "base":
        given = {} if spec.base is None else spec.base.model_dump()
    else:
        given = spec.train if section == "train" else spec.model.model_dump()
    fixed = [given[field]] if field in given else []
    return fixed + (spec.ablate.values(name) if spec.ablate else [])


def flatten(train: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Scalar]:
    """All parameters of a trial under dotted names: ``train.m_in.sd``, ``model.backbone``."""
    return dict(_flatten({"train": train, "model": model}))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Scalar]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list):  # a column of a table holds one scalar a trial
            yield f"{prefix}{key}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{key}", value


def grid(spec: StudySpec) -> list[dict[str, Scalar]]:
    """Every point of the space once, the last name moving fastest; of an ablation, the arm.

    Raises:
        ValueError: if a domain is continuous.
    """
    if spec.ablate is not None:
        return spec.ablate.points()
    values = {name: domain.points() for name, domain in flat(spec).items()}
    return list(points(values, conditions(spec)))


def to_optuna(domain: Domain) -> BaseDistribution:
    """Optuna's distribution over the same values."""
    from optuna import distributions  # half a second that only a running study spends

    if isinstance(domain, Uniform):
        return distributions.FloatDistribution(domain.low, domain.high, step=domain.step)
    if isinstance(domain, LogUniform):
        return distributions.FloatDistribution(domain.low, domain.high, log=True)
    if isinstance(domain, IntUniform):
        return distributions.IntDistribution(domain.low, domain.high, step=domain.step)
    return distributions.CategoricalDistribution(domain.values)
