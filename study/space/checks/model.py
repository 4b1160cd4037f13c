"""The network of a space: names, and settings that would go unused."""

from __future__ import annotations

from collections.abc import Iterator

from study.models.names import (
    BACKBONE_NAMES,
    NUM_FEATURES,
    PRETRAINED,
    WITH_STEMS,
    WITHOUT_DROPOUT,
    size_fault,
)
from study.space.checks.bases import no_imagenet_weights
from study.space.checks.case import Case, Check
from study.space.checks.detectors import too_large
from study.space.reading.places import Problem, nearest
from study.space.reading.yamlfile import KeyPath
from study.space.study_spec import StudySpec

_NATIVE_STRIDE = 32  # of ImageNet's stem and four stages
_BACKBONE = "model.backbone"


def _backbones(spec: StudySpec) -> list[str]:
    """Every backbone that trials have."""
    return [str(name) for name in spec.own_values(_BACKBONE)]


def _known(case: Case) -> Iterator[Problem]:
    searched = case.spec.search.get(_BACKBONE)
    each: list[tuple[KeyPath, object]] = [(("model", "backbone"), case.spec.model.backbone)]
    if searched is not None:
        choices = enumerate(searched.ends())
        each = [(("search", _BACKBONE, "choice", i), name) for i, name in choices]
    for path, name in each:
        if name not in BACKBONE_NAMES:
            yield Problem(
                path, "no backbone has this name", nearest(str(name), BACKBONE_NAMES), name
            )


def _dropout(case: Case) -> Iterator[Problem]:
    searched = "model.dropout" in case.spec.search
    without = [name for name in _backbones(case.spec) if name in WITHOUT_DROPOUT]
    if without and (case.spec.model.dropout or searched):
        rule = f"{', '.join(without)} has no dropout, so this would go unused"
        able = [name for name in BACKBONE_NAMES if name not in WITHOUT_DROPOUT]
        way_out = f"Take it out, or choose one of {', '.join(able)}."
        path, shown = case.spec.path_of("model.dropout"), case.given(case.spec.model, "dropout")
        yield Problem(path, rule, way_out, shown, (_BACKBONE,))


def _imagenet(case: Case) -> Iterator[Problem]:
    """ImageNet's weights are of the backbone alone, and not every backbone has them."""
    spec, path = case.spec, ("model", "init")
    given = spec.model.init
    if given not in ("imagenet", "random"):
        return
    if need := spec.params.needs_head:
        rule = f"{need.why}, and this init has no head for these classes"
        yield Problem(path, rule, need.way_out, given, (need.field,))
    elif given == "imagenet":
        names = _backbones(spec)
        without = [one for one in names if one in BACKBONE_NAMES and one not in PRETRAINED]
        if without:
            rule, way_out = no_imagenet_weights(", ".join(without))
            yield Problem(path, rule, way_out, given, (_BACKBONE,))


def _stem(case: Case) -> Iterator[Problem]:
    """ImageNet's stem is of the ResNets that have one, and of images that it leaves maps of."""
    if case.spec.model.stem == "small":
        return
    path: KeyPath = ("model", "stem")
    others = [one for one in _backbones(case.spec) if one not in WITH_STEMS]
    at, size = _seen_size(case.spec)
    about = (_BACKBONE, "model.stem")
    if others:
        rule = f"{', '.join(others)} has one stem only"
        way_out = f"Take it out, or choose {' or '.join(WITH_STEMS)}."
        yield Problem(path, rule, way_out, "imagenet", about)
    elif case.spec.params.needs_maps:
        rule = f"recipe {case.spec.params.name} needs the maps of the small stem"
        yield Problem(path, rule, "Take it out.", "imagenet")
    elif size is not None and size < _NATIVE_STRIDE:
        rule = f"must be at least {_NATIVE_STRIDE} pixels for stem: imagenet"
        yield Problem(at, rule, "Or set model.stem: small.", size, about)


def _seen_size(spec: StudySpec) -> tuple[KeyPath, int | None]:
    """The key that says how large the images are that the backbone sees, and its pixels.

    None where the ID set will say: the space is read once more when it has.
    """
    if spec.model.image_size is not None:
        return ("model", "image_size"), spec.model.image_size
    return ("data", "image_size"), spec.data.image_size


def _image_size(case: Case) -> Iterator[Problem]:
    """Images that the backbones and the losses can take."""
    params, given = case.spec.params, case.spec.data.image_size
    path, size = _seen_size(case.spec)
    if size is None:
        return
    if path[0] == "model" and (params.needs_maps or (given is not None and size <= given)):
        rule = f"must be above data.image_size, which is {given}: images are enlarged to it"
        if params.needs_maps:
            rule = f"recipe {params.name} needs the maps of the images as they are"
        yield Problem(path, rule, "Take it out, or change data.image_size.", size)
    for name in _backbones(case.spec):
        told = size_fault(name, size, maps=params.needs_maps) if name in BACKBONE_NAMES else ""
        if told:
            yield Problem(path, told, "Or choose another backbone.", size, (_BACKBONE,))
    for field, kinds in params.least_image_size.items():
        for kind in map(str, case.spec.own_values(field)):
            if size < kinds.get(kind, 0):
                rule = f"must be at least {kinds[kind]} pixels for {field}: {kind}"
                yield Problem(path, rule, f"Or choose another {field}.", size, (field,))


def _below_features(case: Case) -> Iterator[Problem]:
    """What the features must be larger than, such as a subspace of them, in every trial."""
    names = [name for name in _backbones(case.spec) if name in NUM_FEATURES]
    if not names:
        return
    narrowest = min(names, key=NUM_FEATURES.__getitem__)
    width = NUM_FEATURES[narrowest]
    yield from too_large(case.spec, {"num_features": width})
    for field in case.spec.params.below_features:
        given = case.spec.own_values(field)
        most = max((one for one in given if one is not None), default=0)
        if most >= width:
            rule = f"must stay below the {width} features of {narrowest}; what is left over counts"
            way_out = f"Lower it to {width - 1} or less."
            yield Problem(case.spec.path_of(field), rule, way_out, most, (_BACKBONE,))


CHECKS: tuple[Check, ...] = (_known, _dropout, _imagenet, _stem, _image_size, _below_features)
