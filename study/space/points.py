"""A spec's search as searchers see it: flat dotted names, and points turned into parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from study.losses.margins import EnergyStats
from study.space.ablation.section import ARM, DEFAULT, RETUNE, SEED
from study.space.reading.sections import BaseSection
from study.space.search.conditions import When, existing, in_order, points
from study.space.search.domains import Choice, Domain, Scalar
from study.space.search.first import on_base
from study.space.search.search import Searched, split_name
from study.space.study_spec import StudySpec


def flat(spec: StudySpec) -> dict[str, Domain]:
    """Every searched number or word: dotted name -> domain, in the order of the space.

    ``search.lr`` is ``train.lr``; ``search.m_in: {below: id_energy, sd: ...}`` is
    ``train.m_in.sd``; an absolute margin is ``train.m_in``; ``model.dropout`` stays. The points
    of an ablation have an ``arm`` and a ``seed``, and ``retune``, the number of a tuning point,
    where arms are re-tuned.
    """
    if spec.ablate is None:
        return {_flat_name(name, entry): entry.domain for name, entry in spec.search.items()}
    arms = Choice(tuple(arm.name for arm in spec.ablate.arms))
    retune, seeds = spec.ablate.retune, spec.ablate.seeds
    if retune is None:
        return {ARM: arms, SEED: Choice(seeds)}
    tried = Choice((DEFAULT, *range(retune.num_trials)))
    return {ARM: arms, SEED: Choice((*seeds, retune.seed)), RETUNE: tried}


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
    return ".".join(split_name(name))


def _flat_name(name: str, entry: Searched) -> str:
    return _full_name(name) if entry.relation is None else f"{_full_name(name)}.sd"


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
    # Through the types, so that a whole number for a float is a float in every trial.
    train = type(spec.params).model_validate(sections["train"])
    return train.model_dump(), type(spec.model).model_validate(sections["model"]).model_dump()


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
    return {
        name: entry.at(point[full])
        for name, entry in spec.search.items()
        if (full := _flat_name(name, entry)) in point
    }


def absent(spec: StudySpec, point: Mapping[str, Scalar]) -> list[str]:
    """Parameters, ``train.huber_delta``, that are searched and do not exist in a point."""
    return [
        _full_name(name)
        for name, entry in spec.search.items()
        if entry.when is not None and _flat_name(name, entry) not in point
    ]


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


def first_points(
    spec: StudySpec, stats: Callable[[float], EnergyStats | None]
) -> tuple[list[dict[str, Scalar]], list[str]]:
    """The points of `tune.first` as searchers see them, and what to tell of them.

    Args:
        spec: the study.
        stats: energies of the base at a temperature; None where there is no base.

    Returns:
        A value for some names of ``flat(spec)`` in each point; texts, each of a point's value
        that had to be another one.
    """
    found, told = [], []
    for number, point in enumerate(spec.tune.first, start=1):
        temperature = point.get("temperature", spec.train.get("temperature"))
        energies = None if temperature is None else stats(float(temperature))
        values = {name: on_base(spec.search[name], one, energies) for name, one in point.items()}
        found.append(
            {_flat_name(name, spec.search[name]): value for name, (value, _) in values.items()}
        )
        told += [f"first point {number}: {n}: {text}" for n, (_, text) in values.items() if text]
    return found, told


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
