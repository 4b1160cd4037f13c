"""Post-hoc detectors as parameters of a trial, free of torch.

Each parameter of a detector is a field of its own, ``<detector>_<parameter>``: they have other
units and ranges, and a search needs one domain for each. ``study.detectors.catalog`` has their
defaults and meanings; null stands for the default there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from study.detectors.catalog import CATALOG
from study.recipes.params import TrialParams
from study.section import Rule

DetectorName = Literal[
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
]
DETECTOR_IMAGES = 10_000


class DetectorSettings(TrialParams):
    """Parameters of the detectors; those of a detector that is not used are null.

    Attributes:
        odin_temperature: divides the logits, dimensionless.
        odin_epsilon: step on each pixel, in images of [0, 1].
        gen_gamma: power of p (1 - p).
        gen_top: most probable classes that count; null: all.
        knn_k: the neighbour whose distance counts.
        vim_dimension: of the principal subspace; below the number of features. null: half.
        react_quantile: of training features, where they are clipped.
        dice_sparsity: share of the head's weights left out.
        ash_variant: what is kept is scaled (s), kept (p) or levelled (b).
        ash_pruned: share of an image's activations below the cut.
        ash_layer: what is shaped: pooled features, or the maps before the pooling.
        scale_pruned: as of ASH.
        scale_layer: as of ASH.
    """

    odin_temperature: float | None = Field(default=None, gt=0)
    odin_epsilon: float | None = Field(default=None, ge=0, le=1)
    gen_gamma: float | None = Field(default=None, gt=0)
    gen_top: int | None = Field(default=None, ge=1)
    knn_k: int | None = Field(default=None, ge=1)
    vim_dimension: int | None = Field(default=None, ge=1)
    react_quantile: float | None = Field(default=None, gt=0, le=1)
    dice_sparsity: float | None = Field(default=None, ge=0, lt=1)
    ash_variant: Literal["s", "p", "b"] | None = None
    ash_pruned: float | None = Field(default=None, ge=0, lt=1)
    ash_layer: Literal["features", "maps"] | None = None
    scale_pruned: float | None = Field(default=None, ge=0, lt=1)
    scale_layer: Literal["features", "maps"] | None = None

    def given(self, detector: str) -> dict[str, Any]:
        """The parameters that are given for a detector; the others have its defaults."""
        return given(self.model_dump(), detector)


SETTINGS: frozenset[str] = frozenset(DetectorSettings.model_fields) - {"epochs"}
"""Fields of the detectors' parameters."""

OF_DETECTORS = SETTINGS | {"own_score", "detectors", "detector_images"}
"""Those, and what says which detectors there are."""


def split(name: str) -> tuple[str, str]:
    """A field's detector and parameter: ``knn_k`` is ("knn", "k")."""
    detector, _, parameter = name.partition("_")
    return detector, parameter


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
        Rule(
            ("detectors", "fine_tune"),
            lambda names, fine_tune: fine_tune != "linear" or "odin" not in names,
            "odin needs the gradient by the image, and with fine_tune: linear there are only "
            "features",
            "Take odin out, or set fine_tune: full.",
        ),
        *_OF_SETTINGS,
    )


def _on_features(name: str) -> Rule:
    """Linear fine-tuning has no maps."""
    return Rule(
        (name, "fine_tune"),
        lambda layer, fine_tune: fine_tune != "linear" or layer != "maps",
        "with fine_tune: linear there are features, and no maps before their pooling",
        f"Set {name}: features, or fine_tune: full.",
    )


def _only(name: str) -> Rule:
    """A parameter that is given has an effect where its detector is named."""
    detector, _ = split(name)
    return Rule(
        (name, "detectors"),
        lambda value, names: value is None or detector in names,
        f"{name} has no effect without {detector} in detectors",
        f"Take {name} out, or add {detector} to detectors.",
        has_effect=True,
    )


_OF_SETTINGS = (
    *(_on_features(name) for name in ("ash_layer", "scale_layer")),
    *(_only(name) for name in DetectorSettings.model_fields if name in SETTINGS),
)
