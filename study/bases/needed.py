"""Which bases a study's trials start from: one, or one for every distinct way that arms name.

An arm of an ablation may change the section ``base`` (what the base's training starts from, or
how it is trained) and its network's stem and normalisation. Arms that agree in all of that share
a base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.bases.training import BaseSpec
from study.records.files import BASE
from study.space.points import base_at, point_with, substitute
from study.space.search.domains import Scalar
from study.space.study_spec import StudySpec
from study.training.starting import network_of


@dataclass(frozen=True)
class Base:
    """One of a study's bases.

    Attributes:
        spec: what it is trained from.
        point: a point of the study whose trial starts from it.
        arms: those that start from it; empty where the study has one base for all.
    """

    spec: BaseSpec
    point: Mapping[str, Scalar]
    arms: tuple[str, ...] = ()


def base_spec(spec: StudySpec, point: Mapping[str, Scalar] | None = None) -> BaseSpec:
    """What the base of a trial is trained from, backbone, dropout and seed resolved.

    Args:
        spec: the study.
        point: of the trial; None for the study's base, in an ablation the baseline's.
    """
    if spec.base is None:
        network, start = network_of(spec.model.model_dump()), spec.model
        return BaseSpec(start.backbone, start.dropout, {}, 0, network, start.init)
    own = spec.base if point is None else base_at(spec, point)
    model = spec.model.model_dump() if point is None else substitute(spec, point)[1]
    dropout = own.dropout if own.dropout is not None else spec.model.dropout
    backbone = own.backbone or spec.model.backbone
    return BaseSpec(backbone, dropout, own.train(), own.seed, network_of(model), own.init)


def bases_of(spec: StudySpec) -> dict[str, Base]:
    """Every base of a study by its name in the run's folder.

    Returns:
        ``base``, the study's one or that of the baseline; then ``base_2`` and so on, in the order
        of the arms.
    """
    if spec.base is None or spec.ablate is None or not spec.ablate.of_base():
        return {BASE: Base(base_spec(spec), point_with(spec))}
    found: list[tuple[BaseSpec, dict[str, Scalar], list[str]]] = []
    for arm in spec.ablate.arms:
        point = point_with(spec, {"arm": arm.name})
        wanted = base_spec(spec, point)
        known = next((arms for one, _, arms in found if one == wanted), None)
        if known is None:
            found.append((wanted, point, known := []))
        known.append(arm.name)
    return {  # the baseline's arm is the first
        BASE if i == 1 else f"{BASE}_{i}": Base(wanted, point, tuple(arms))
        for i, (wanted, point, arms) in enumerate(found, start=1)
    }


def of_bases(spec: StudySpec) -> list[tuple[str, str]]:
    """The parameters of the section ``base`` that arms change: dotted name and field."""
    changed = spec.ablate.of_base() if spec.ablate is not None else []
    names = dict.fromkeys(name for _, name in changed if name.startswith("base."))
    return [(name, name.removeprefix("base.")) for name in names]
