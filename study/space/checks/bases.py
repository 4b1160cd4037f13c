"""What trials start from, and the base that a study trains."""

from __future__ import annotations

from collections.abc import Iterator

from study.models.names import BACKBONE_NAMES, PRETRAINED
from study.space.checks.case import Case, Check, is_file
from study.space.reading.places import Problem, nearest
from study.space.reading.sections import OWN_FLOOR

NO_FILES = ("random", "base", "imagenet")
"""What ``model.init`` says in place of a file's path."""

_BACKBONE = "model.backbone"


def backbone_of_the_base(case: Case) -> Iterator[Problem]:
    """The base that the study trains has its trials' backbone, or one of its own."""
    spec = case.spec
    if case.init_faulty or not spec.trains_base:
        return
    starts, own = spec.model.init == "base", spec.own_base.backbone
    varied = _BACKBONE in spec.search or bool(spec.ablate and spec.ablate.values(_BACKBONE))
    if varied and starts:
        rule = "one base serves all trials, so trials that start from it have its backbone"
        way_out = "Set model.init: random, or vary something else."
        path = ("search", _BACKBONE) if _BACKBONE in spec.search else ("ablate", "factors")
        yield Problem(path, rule, way_out)
    elif varied and own is None:
        rule = "with model.backbone varied the base needs a backbone of its own"
        yield Problem(("base", "backbone"), rule, "Add backbone: resnet20 to `base`.")
    elif own not in (None, spec.model.backbone) and starts:
        theirs = spec.model.backbone
        rule = f"trials that start from the base have its backbone, and theirs is {theirs}"
        way_out = "Take it out, or set model.init: random."
        yield Problem(("base", "backbone"), rule, way_out, own)


def bases_of_arms(case: Case) -> Iterator[Problem]:
    """Arms have bases of their own only where the study trains them, and then no one floor."""
    spec = case.spec
    if case.init_faulty:
        return
    places = spec.ablate.of_base() if spec.ablate else []
    for path, name in places if not spec.trains_base else ():
        rule = f"{name} is of the base that trials start from, and this study trains none"
        way_out = "Set model.init: base, or take the level out."
        if spec.model.init not in NO_FILES:
            way_out = "Set base.init to the file, which these bases then start from."
        yield Problem(path, rule, way_out)
    floor = spec.select.floor
    if spec.trains_base and places and floor is not None and floor.kind == "below_base":
        rule = "below_base needs one base as its reference, and these arms start from several"
        yield Problem(("select", "floor"), rule, OWN_FLOOR, floor.plain())


def init(case: Case) -> Iterator[Problem]:
    """What trials start from must be there, and be of use to the recipe."""
    given, path = case.spec.model.init, ("model", "init")
    if given == "base" and case.spec.params.base == "none":
        rule = f"recipe {case.spec.params.name} trains no base to start from"
        yield Problem(path, rule, "Write random, or the path of a weights file.", given)
    elif given not in NO_FILES and case.begins and not is_file(given):
        rule = f"must be {', '.join(NO_FILES)}, or the path of a weights file, and there is no "
        yield Problem(path, f"{rule}such file", nearest(given, NO_FILES), given)


def replaced_by_a_file(case: Case) -> bool:
    """Whether an option names a file in place of the base that the YAML describes.

    What the YAML says of a base is then of the file's classifier, its floor too.
    """
    given = ("model", "init") in case.faults.places.options
    return given and case.spec.model.init not in NO_FILES


def effect(case: Case) -> Iterator[Problem]:
    """The section ``base`` must have an effect, unless an option names a file in its place."""
    said = any(path[0] == "base" for path in case.faults.places.options)
    if replaced_by_a_file(case) and not said:
        return
    if "base" in case.sections and not case.own_base:
        none = case.spec.params.base == "none"
        reason = "the recipe has no base" if none else "no trial uses one"
        way_out = "Take the section out, or set model.init: base with a recipe that has a base."
        yield Problem(("base",), f"the section has no effect here: {reason}", way_out)


def init_of_the_base(case: Case) -> Iterator[Problem]:
    """What the base's training starts from must be there."""
    given, path = case.spec.own_base.init, ("base", "init")
    backbone = case.spec.own_base.backbone or case.spec.model.backbone
    if not case.own_base or given == "random":
        return
    if given == "imagenet":
        if backbone in BACKBONE_NAMES and backbone not in PRETRAINED:
            rule, way_out = no_imagenet_weights(backbone)
            yield Problem(path, rule, way_out, given, (_BACKBONE,))
    elif case.begins and not is_file(given):
        rule = "must be random, imagenet, or the path of a weights file, and there is no such file"
        yield Problem(path, rule, nearest(given, ("random", "imagenet")), given)


def network_of_the_base(case: Case) -> Iterator[Problem]:
    """A backbone that there is, and a dropout of its own where that is searched."""
    own = case.spec.own_base
    if own.backbone not in (None, *BACKBONE_NAMES):
        hint = nearest(str(own.backbone), BACKBONE_NAMES)
        yield Problem(("base", "backbone"), "no backbone has this name", hint, own.backbone)
    if case.own_base and "model.dropout" in case.spec.search and own.dropout is None:
        rule = "one base serves all trials, so with model.dropout searched it needs its own"
        yield Problem(("base", "dropout"), rule, "Add dropout: 0.0 to `base`.")


def no_imagenet_weights(names: str) -> tuple[str, str]:
    """Rule and way out for backbones that ImageNet's weights are not there for."""
    return f"{names} has no ImageNet weights", f"These have them: {', '.join(PRETRAINED)}."


BEFORE_THE_MODEL: tuple[Check, ...] = (backbone_of_the_base, bases_of_arms)
AFTER_THE_MODEL: tuple[Check, ...] = (init, effect, init_of_the_base, network_of_the_base)
"""``init`` comes first: where it has a fault nobody knows whether there is a base."""
