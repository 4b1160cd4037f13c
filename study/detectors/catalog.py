"""What each detector takes and needs, torch-free so that a YAML can be checked without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from study.declared import Parameter, misnamed
from study.detectors import methods
from study.errors import Fault
from study.literals import Declaration, read_literals

Need = Literal["logits", "features", "maps", "input_gradient"]
Size = Literal["num_features", "num_train", "num_classes"]
Params = dict[str, Any]

SHIPPED = (
    "msp",
    "max_logit",
    "energy",
    "gen",
    "odin",
    "mahalanobis",
    "rmd",
    "knn",
    "vim",
    "react",
    "dice",
    "she",
    "ash",
    "scale",
)
"""Detectors in this order, whose parameters every resolved spec has; other files come after."""

_WORDS: Final[dict[Size, str]] = {
    "num_features": "the model's {} features",
    "num_train": "the {} train ID images",
    "num_classes": "the {} classes",
}


class DetectorParameter(Parameter):
    """A parameter, and the sizes of model and data that it must respect.

    Attributes:
        below: the size that it must stay below.
        at_most: the size that it must not exceed.
        leaves: it is a share that is taken away, and must leave at least one of so many; not
            looked at where the maps are shaped, whose size nobody knows before.
        why: what is told with that.
        needs: value -> what the model must give besides, where that is the value.
    """

    below: Size | None = None
    at_most: Size | None = None
    leaves: Size | None = None
    why: str = ""
    needs: dict[str, list[Need]] = Field(default={})

    def _broken(self) -> Iterator[str]:
        yield from super()._broken()
        if (self.below or self.at_most or self.leaves) and self.kind not in ("int", "float"):
            yield "only numbers respect sizes"


class DetectorDeclaration(Declaration):
    """What a detector's file declares.

    Attributes:
        needs: what the model must give, see `study.detectors.model_parts`.
        fitted: whether it has to see train ID.
        head: whether its score takes the model's head; one that does not can score a model
            without a trained head too.
        source: paper.
        parameters: name -> default, bounds and meaning; ``<detector>_<name>`` in a YAML.
        least_features: how many features the model must have at least.
        covariance: whether it inverts a covariance of the features.
    """

    noun: ClassVar[str] = "detector"
    defines: ClassVar[Mapping[str, str]] = {"Method": "class Method(Detector)"}

    needs: list[Need] = Field(min_length=1)
    fitted: bool = False
    head: bool = True
    source: str = ""
    parameters: dict[str, DetectorParameter] = Field(default={})
    least_features: int = Field(default=1, ge=1)
    covariance: bool = False


def _beside_each_other(detectors: Mapping[str, DetectorDeclaration]) -> Iterator[Fault]:
    """Names that no parameter can have, and what a parameter says of others wrongly."""
    fields: dict[str, str] = {}
    for detector, declared in detectors.items():
        for name, parameter in declared.parameters.items():
            place, field = ("parameters", name), f"{detector}_{name}"
            if fault := misnamed(declared, name, field):
                yield fault
            if field in fields:
                rule = f"{field} is a parameter of {fields[field]} already"
                yield declared.fault(place, rule, "Choose another name.")
            fields.setdefault(field, detector)
            if wrong := [value for value in parameter.needs if not parameter.fits(value)]:
                rule = f"needs are told for values that it takes; {wrong[0]} is none"
                yield declared.fault((*place, "needs"), rule, parameter.rule)
            yield from _wrong_conditions(declared, name, parameter)


def _wrong_conditions(
    declared: DetectorDeclaration, name: str, parameter: Parameter
) -> Iterator[Fault]:
    place = ("parameters", name, "when")
    for other, values in parameter.when.items():
        known = declared.parameters.get(other)
        if known is None or other == name:
            way_out = f"There are {sorted({*declared.parameters} - {name})}."
            yield declared.fault(
                place, "when names other parameters of this detector", way_out, other
            )
        elif wrong := [value for value in values if not known.fits(value)]:
            yield declared.fault(place, f"{other} {known.rule}", "Mend the value.", wrong[0])


CATALOG: Final[Mapping[str, DetectorDeclaration]] = read_literals(
    methods.__path__, "DETECTOR", DetectorDeclaration, first=SHIPPED, together=_beside_each_other
)
"""Detector name -> what it takes and needs."""


def needs_of(name: str, params: Mapping[str, Any]) -> tuple[Need, ...]:
    """What the model must give for these parameters; ``layer: maps`` adds the maps."""
    declared = CATALOG[name]
    more = (one.needs.get(str(params.get(key)), ()) for key, one in declared.parameters.items())
    return (*declared.needs, *(need for needs in more for need in needs))


def check_parameters(name: str, params: Mapping[str, Any] | None = None) -> Params:
    """Parameters of a detector, complete.

    Args:
        name: a key of `CATALOG`.
        params: those that differ from the defaults.

    Returns:
        Every parameter with its value.

    Raises:
        ValueError: for an unknown detector, or naming every parameter that is unknown or does
            not fit, with its rule.
    """
    if name not in CATALOG:
        raise ValueError(f"unknown detector {name!r}; there are {sorted(CATALOG)}")
    given = dict(params or {})
    _refuse(name, parameter_faults(name, given))
    return {
        key: given.get(key, parameter.default)
        for key, parameter in CATALOG[name].parameters.items()
    }


def parameter_faults(name: str, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameters of a detector that are unknown or do not fit, each with its rule."""
    parameters = CATALOG[name].parameters
    for key in params:
        if key not in parameters:
            yield key, f"unknown; {name} has {sorted(parameters) or 'no parameters'}"
    for key, value in params.items():
        if key in parameters and not parameters[key].fits(value):
            yield key, f"{value!r} {parameters[key].rule}"


def size_faults(
    name: str, params: Mapping[str, Any], sizes: Mapping[str, int | None]
) -> Iterator[tuple[str, str]]:
    """What does not fit the sizes of model and data, as far as they are known.

    Args:
        name: a key of `CATALOG`.
        params: complete, from `check_parameters`.
        sizes: ``num_features``, width of the penultimate features; ``num_train``, train ID
            images; ``num_classes``. None, or left out, where one is not known yet.

    Yields:
        The parameter that is too large, empty where it is the detector itself, and the rule.
    """
    declared = CATALOG[name]
    known = {size: number for size, number in sizes.items() if number is not None}
    for key, parameter in declared.parameters.items():
        value, why = params.get(key), f"; {parameter.why}" if parameter.why else ""
        if value is None:
            continue
        if parameter.below in known and value >= known[parameter.below]:
            told = _WORDS[parameter.below].format(known[parameter.below])
            yield key, f"{value} must be below {told}{why}"
        if parameter.at_most in known and value > known[parameter.at_most]:
            told = _WORDS[parameter.at_most].format(known[parameter.at_most])
            yield key, f"{value} must be at most {told}{why}"
        if parameter.leaves in known and "maps" not in needs_of(name, params):
            size = known[parameter.leaves]
            if size - round(size * value) < 1:
                yield key, f"{value:g} leaves none of {size} features{why}"
    features, images = known.get("num_features"), known.get("num_train")
    if features is not None and features < declared.least_features:
        yield "", f"the model has {features} feature; {declared.least_features} are needed"
    if declared.covariance and features is not None and images is not None and images <= features:
        told = f"{images} train ID images for {features} features"
        yield "", f"{told}; a covariance needs more images than features"


def check_sizes(name: str, params: Mapping[str, Any], **sizes: int | None) -> None:
    """As `size_faults`.

    Raises:
        ValueError: naming every parameter that is too large and the size that it must respect.
    """
    _refuse(name, size_faults(name, params, sizes))


def told_of(name: str, key: str, rule: str) -> str:
    """A fault of a detector's parameter, or with an empty key of the detector, as a sentence."""
    return f"{name}.{key}: {rule}" if key else f"{name}: {rule}"


def _refuse(name: str, faults: Iterable[tuple[str, str]]) -> None:
    if told := [told_of(name, key, rule) for key, rule in faults]:
        raise ValueError("\n".join(told))
