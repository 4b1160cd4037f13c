"""Parameters of a space's detectors against the sizes of its networks and of its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from study.detectors.catalog import (
    CATALOG,
    check_parameters,
    parameter_faults,
    size_faults,
    told_of,
)
from study.recipes.detector_params import DETECTOR_IMAGES, given
from study.space.reading.places import Problem
from study.space.study_spec import StudySpec

_WAY_OUT = "Lower it, or take the detector out of train.detectors."


def too_large(spec: StudySpec, sizes: Mapping[str, int | None]) -> Iterator[Problem]:
    """What is too large, of every detector, over the whole ranges of its searched parameters.

    Args:
        spec: the study.
        sizes: what is known of ``num_features``, ``num_train`` and ``num_classes``.
    """
    num_train, most = sizes.get("num_train"), spec.train.get("detector_images", DETECTOR_IMAGES)
    if num_train is not None and most is not None:
        sizes = {**sizes, "num_train": min(num_train, most)}
    for name in spec.train.get("detectors", ()):
        told = {fault for params in _corners(name, spec) for fault in _told(name, params, sizes)}
        for key, rule in sorted(told):
            field = f"{name}_{key}"
            if field in spec.search or field in spec.params.model_fields_set:
                path, text = spec.path_of(field), rule
            else:
                path, text = ("train", "detectors"), told_of(name, key, rule)
            yield Problem(path, text, _WAY_OUT, about=("model.backbone", field))


def _corners(name: str, spec: StudySpec) -> Iterator[dict[str, Any]]:
    """A detector's parameters at the ends of what is searched of them."""
    ends: dict[str, list[Any]] = {key: [value] for key, value in given(spec.train, name).items()}
    for key in CATALOG[name].parameters:
        if (domain := spec.search.get(f"{name}_{key}")) is not None:
            ends[key] = list(domain.ends())
    for values in product(*ends.values()):
        yield dict(zip(ends, values, strict=True))


def _told(
    name: str, params: Mapping[str, Any], sizes: Mapping[str, int | None]
) -> list[tuple[str, str]]:
    """Parameters, empty for the detector itself, with the rules that they break."""
    wrong = [*parameter_faults(name, params)]
    return wrong or [*size_faults(name, check_parameters(name, params), sizes)]
