"""A spec's search as searchers see it: flat dotted names, and points turned into parameters."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from study.ablation import ARM, SEED
from study.ablation_check import split_name
from study.domains import Choice, Domain, IntUniform, LogUniform, MarginSearch, Scalar, Uniform

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from study.spec import StudySpec

__all__ = [
    "Choice",
    "Domain",
    "IntUniform",
    "LogUniform",
    "MarginSearch",
    "Uniform",
    "flat",
    "flatten",
    "grid",
    "substitute",
    "to_optuna",
    "values_of",
]


def flat(spec: StudySpec) -> dict[str, Domain]:
    """Every searched number or word: dotted name -> domain, in the order of the space.

    ``search.lr`` is ``train.lr``; ``search.m_in: {below: id_energy, sd: ...}`` is
    ``train.m_in.sd``; an absolute margin is ``train.m_in``; ``model.dropout`` stays. The points
    of an ablation have an ``arm`` and a ``seed``.
    """
    if spec.ablate is not None:
        names = tuple(arm.name for arm in spec.ablate.arms)
        return {ARM: Choice(names), SEED: Choice(spec.ablate.seeds)}
    return {
        _flat_name(name, entry): entry.domain if isinstance(entry, MarginSearch) else entry
        for name, entry in spec.search.items()
    }


def _flat_name(name: str, entry: Domain | MarginSearch) -> str:
    full = name if name.startswith("model.") else f"train.{name}"
    measured = isinstance(entry, MarginSearch) and entry.relation is not None
    return f"{full}.sd" if measured else full


def substitute(
    spec: StudySpec, point: Mapping[str, Scalar]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of one trial.

    Args:
        spec: the study.
        point: a value for every name of ``flat(spec)``.

    Returns:
        The section ``train`` and the section ``model``, complete, as plain data in the YAML's
        form; margins may still be measured ones.

    Raises:
        ValueError: if a name is missing or foreign, or the recipe refuses the values.
    """
    if (names := flat(spec).keys()) != point.keys():
        raise ValueError(f"a point has the names {sorted(names)}, not {sorted(point)}")
    sections = {"train": copy.deepcopy(spec.train), "model": spec.model.model_dump()}
    for name, value in _settings(spec, point).items():
        section, field = split_name(name)
        sections[section][field] = value
    train, model = sections["train"], sections["model"]
    # Through the types, so that a whole number for a float is a float in every trial.
    train = spec.info.params.model_validate(train).model_dump()
    return train, type(spec.model).model_validate(model).model_dump()


def _settings(spec: StudySpec, point: Mapping[str, Scalar]) -> Mapping[str, Any]:
    """What a point sets: parameter, as the YAML names it -> value in the YAML's form."""
    if spec.ablate is not None:
        return spec.ablate.arm(str(point[ARM])).settings
    values = {name: point[_flat_name(name, entry)] for name, entry in spec.search.items()}
    return {
        name: entry.at(values[name]) if isinstance(entry, MarginSearch) else values[name]
        for name, entry in spec.search.items()
    }


def values_of(spec: StudySpec, name: str) -> list[Any]:
    """Values of a parameter between which all of a study's trials lie.

    The fixed one, the ends of its search, or the baseline's and those of the arms. The name is
    that of the YAML: ``lr``, ``model.backbone``.
    """
    if name in spec.search:
        return list(flat(spec)[_flat_name(name, spec.search[name])].ends())
    section, field = split_name(name)
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
        else:
            yield f"{prefix}{key}", value


def grid(spec: StudySpec) -> list[dict[str, Scalar]]:
    """Every point of the space, the last name moving fastest; of an ablation, the arm.

    Raises:
        ValueError: if a domain is continuous.
    """
    if spec.ablate is not None:
        return spec.ablate.points()
    domains = flat(spec)
    product = itertools.product(*(domain.points() for domain in domains.values()))
    return [dict(zip(domains, values, strict=True)) for values in product]


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
