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
from study.errors import BadInput
from study.models.names import NUM_FEATURES
from study.recipes.detector_params import DETECTOR_IMAGES, given
from study.space.checks.arms import each_arm
from study.space.reading.places import FaultList
from study.space.search.domains import Domain
from study.space.search.search import Search
from study.space.study_spec import StudySpec

Sizes = Mapping[str, int | None]
_WAY_OUT = "Lower it, or take the detector out of train.detectors."


def check_detectors(
    train: Mapping[str, Any], search: Mapping[str, Search], sizes: Sizes, faults: FaultList
) -> None:
    """Every detector of a section ``train`` over the whole ranges of its searched parameters.

    Args:
        train: good values; without the key ``detectors`` there is nothing to check.
        search: the searched parameters.
        sizes: what is known of ``num_features``, ``num_train`` and ``num_classes``.
        faults: takes every fault, at the parameter that is too large.
    """
    num_train = sizes.get("num_train")
    most = train.get("detector_images", DETECTOR_IMAGES)
    if num_train is not None and most is not None:
        sizes = {**sizes, "num_train": min(num_train, most)}
    for name in train.get("detectors", ()):
        corners = _corners(name, train, search)
        for key, rule in sorted({fault for corner in corners for fault in _told(corner, sizes)}):
            field = f"{name}_{key}"
            if field in search or field in train:
                faults.add(("search" if field in search else "train", field), rule, _WAY_OUT)
            else:
                faults.add(("train", "detectors"), told_of(name, key, rule), _WAY_OUT)


def check_detectors_on_data(spec: StudySpec, num_train: int, num_classes: int) -> None:
    """The same once the sizes of the data are known.

    Raises:
        BadInput: with every parameter that is too large for the data.
    """
    faults = FaultList(spec.places)

    def check(values: Mapping[str, Mapping[str, Any]], into: FaultList) -> None:
        width = NUM_FEATURES.get(str(values["model"].get("backbone")))
        sizes = {"num_train": num_train, "num_classes": num_classes, "num_features": width}
        check_detectors(values["train"], spec.search, sizes, into)

    values = {"train": spec.train, "model": spec.model.model_dump()}
    check(values, faults)
    if spec.ablate is not None:
        each_arm(spec.ablate, values, faults, check)
    if faults.faults:
        raise BadInput(faults.faults)


def _corners(
    name: str, train: Mapping[str, Any], search: Mapping[str, Search]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A detector's parameters at the ends of what is searched of them."""
    ends: dict[str, list[Any]] = {key: [value] for key, value in given(train, name).items()}
    for key in CATALOG[name].parameters:
        domain = search.get(f"{name}_{key}")
        if isinstance(domain, Domain):
            ends[key] = list(domain.ends())
    for values in product(*ends.values()):
        yield name, dict(zip(ends, values, strict=True))


def _told(corner: tuple[str, dict[str, Any]], sizes: Sizes) -> list[tuple[str, str]]:
    """Parameters, empty for the detector itself, with the rules that they break."""
    name, params = corner
    wrong = [*parameter_faults(name, params)]
    return wrong or [*size_faults(name, check_parameters(name, params), sizes)]
