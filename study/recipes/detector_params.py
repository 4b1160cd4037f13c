"""Post-hoc detectors as parameters of a trial, free of torch.

Each parameter of a detector is a field of its own, ``<detector>_<parameter>``: they have other
units and ranges, and a search needs one domain for each. The detectors' files declare them; null
stands for the default there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import create_model

from study.detectors.catalog import CATALOG, SHIPPED, DetectorParameter, Need
from study.errors import BadInput
from study.recipes.params import TrialParams
from study.section import Rule, effect_rule, taken_names

DETECTOR_IMAGES = 10_000
_ANYWAY = ("msp", "energy")  # scores of every trial, which no list of detectors has
_BEYOND_FEATURES: Mapping[Need, str] = {
    "input_gradient": "gradient by the image",
    "maps": "maps before their pooling",
}

FIELDS: Mapping[str, tuple[str, str]] = {
    f"{detector}_{name}": (detector, name)
    for detector, declared in CATALOG.items()
    for name in declared.parameters
}
"""Field -> its detector, and the parameter's name there."""

ADDED = frozenset(field for field, (detector, _) in FIELDS.items() if detector not in SHIPPED)
"""Fields of detectors beyond the shipped ones; left out of a resolved spec while they are null."""


class _Settings(TrialParams):
    """Parameters of the detectors; those of a detector that is not used are null."""

    def given(self, detector: str) -> dict[str, Any]:
        """The parameters that are given for a detector; the others have its defaults."""
        return given(self.model_dump(), detector)


def _with_fields(base: type[_Settings], detectors: Iterable[str]) -> type[_Settings]:
    """A class with the parameters of some detectors."""
    fields: dict[str, Any] = {
        f"{detector}_{name}": parameter.field(unset=True)
        for detector in detectors
        for name, parameter in CATALOG[detector].parameters.items()
    }
    return create_model(
        "DetectorSettings", __base__=base, __module__=__name__, __doc__=base.__doc__, **fields
    )


if TYPE_CHECKING:
    DetectorName = str
    DetectorSettings = _Settings
    AllDetectorSettings = _Settings
else:
    DetectorName = Literal[tuple(CATALOG)]
    DetectorSettings = _with_fields(_Settings, (n for n in CATALOG if n not in _ANYWAY))
    AllDetectorSettings = _with_fields(DetectorSettings, _ANYWAY)

SETTINGS: frozenset[str] = frozenset(DetectorSettings.model_fields) - {"epochs"}
"""Fields of the detectors' parameters, of those that a recipe with a list ``detectors`` takes."""

OF_DETECTORS = SETTINGS | {"own_score", "detectors", "detector_images"}
"""Those, and what says which detectors there are."""


def refuse_taken(section: type[_Settings]) -> None:
    """Refuse detectors' parameters that are called as something of a section's own.

    Raises:
        BadInput: naming the files.
    """
    taken = taken_names(section, __name__)
    rule, way_out = "`train` has something of this name already", "Choose another name."
    faults = [
        CATALOG[detector].fault(("parameters", name), rule, way_out, field)
        for field, (detector, name) in FIELDS.items()
        if field in taken
    ]
    if faults:
        raise BadInput(faults)


def given(train: Mapping[str, Any], detector: str) -> dict[str, Any]:
    """The parameters that a section ``train`` gives for a detector."""
    found = {key: train.get(f"{detector}_{key}") for key in CATALOG[detector].parameters}
    return {key: value for key, value in found.items() if value is not None}


def detector_rules(own: tuple[str, ...]) -> tuple[Rule, ...]:
    """What the fields of a recipe with a list ``detectors`` must satisfy together.

    Args:
        own: scores that the recipe's trials report anyway.
    """
    anyway = ", ".join(own)
    return (
        Rule(
            ("detectors",),
            lambda names: len(set(names)) == len(names),
            "each detector is named once",
            "Take the second one out.",
        ),
        Rule(
            ("detectors",),
            lambda names: not set(names) & set(own),
            f"{anyway} are scores of every trial of this recipe",
            "Take them out of detectors; recipe baselines searches their temperature.",
        ),
        Rule(
            ("own_score", "detectors"),
            lambda score, names: score in own or score in names,
            f"a study selects by a score that its trials report: {anyway}, or one of detectors",
            "Add it to detectors, or choose another own_score.",
        ),
        Rule(
            ("detector_images", "detectors"),
            lambda images, names: (
                images == DETECTOR_IMAGES or any(CATALOG[name].fitted for name in names)
            ),
            "detector_images has no effect without a detector that is fitted",
            "Take it out, or name one in detectors, such as knn.",
            has_effect=True,
        ),
        *_of_catalog(),
    )


def _of_catalog() -> Iterator[Rule]:
    """What each detector and each of its parameters brings along."""
    for name, declared in CATALOG.items():
        for need in declared.needs:
            if need in _BEYOND_FEATURES:
                yield _not_linear(name, _BEYOND_FEATURES[need])
    settings = [(field, *FIELDS[field]) for field in FIELDS if field in SETTINGS]
    for field, detector, name in settings:
        yield from _on_features(field, CATALOG[detector].parameters[name])
    for field, detector, name in settings:
        yield _only(field, detector)
        yield from _under(field, detector, name)


def _not_linear(name: str, what: str) -> Rule:
    """Linear fine-tuning has no images."""
    return Rule(
        ("detectors", "fine_tune"),
        lambda names, fine_tune: fine_tune != "linear" or name not in names,
        f"{name} needs the {what}, and with fine_tune: linear there are only features",
        f"Take {name} out, or set fine_tune: full.",
    )


def _on_features(field: str, parameter: DetectorParameter) -> Iterator[Rule]:
    """Values that need what linear fine-tuning has not."""
    for value, needs in parameter.needs.items():
        for need in needs:
            others = [one for one in parameter.choices or () if one not in parameter.needs]
            yield Rule(
                (field, "fine_tune"),
                lambda given, fine_tune, value=value: fine_tune != "linear" or given != value,
                f"with fine_tune: linear there are features, and no {_BEYOND_FEATURES[need]}",
                f"Set {field}: {' or '.join(others)}, or fine_tune: full.",
            )


def _only(field: str, detector: str) -> Rule:
    """A parameter that is given has an effect where its detector is named."""
    return Rule(
        (field, "detectors"),
        lambda value, names: value is None or detector in names,
        f"{field} has no effect without {detector} in detectors",
        f"Take {field} out, or add {detector} to detectors.",
        has_effect=True,
    )


def _under(field: str, detector: str, name: str) -> Iterator[Rule]:
    """The parameter's own conditions, on other parameters of its detector."""
    parameters = CATALOG[detector].parameters
    for other, values in parameters[name].when.items():
        told = f"without {detector}_{other}: {' or '.join(map(str, values))}"
        # Null stands for the default.
        chosen = [*values, *([None] if parameters[other].default in values else [])]
        yield effect_rule(field, None, f"{detector}_{other}", chosen, told)
