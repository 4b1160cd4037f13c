"""Parameters of the recipe ``baselines``, and what follows from them, free of torch.

Each parameter of a detector is a field of its own, ``<detector>_<parameter>``: they have other
units and ranges, and a search needs one domain for each. ``study.detectors.catalog`` has their
defaults and meanings; null stands for the default there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from study.detectors.catalog import CATALOG
from study.recipes.params import Rule, TrialParams

OWN_SCORE = "detector"
"""The score of a trial's detector, whichever it is, so that trials compare in one column."""

WITHOUT_HEAD = ("mahalanobis", "rmd", "knn")
"""Detectors that look at features alone."""

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


def _only(name: str) -> Rule:
    """A parameter that is given has an effect under its own detector alone."""
    detector, _ = split(name)
    return Rule(
        (name, "detector"),
        lambda value, chosen: value is None or chosen == detector,
        f"{name} has no effect with another detector than {detector}",
        f"Take {name} out, or choose detector: {detector}.",
        has_effect=True,
    )


def split(name: str) -> tuple[str, str]:
    """A field's detector and parameter: ``knn_k`` is ("knn", "k")."""
    detector, _, parameter = name.partition("_")
    return detector, parameter


class BaselineParams(TrialParams):
    """A trained classifier as it is, scored by one post-hoc detector (recipe ``baselines``).

    Attributes:
        epochs: one: a trial trains nothing, and scores once.
        detector: a key of ``study.detectors.catalog.CATALOG``.
        head: trained: the classifier's own. none: the weights have no trained head (ImageNet,
            self-supervised), whose energy would mean nothing: features alone are scored, and the
            predicted class is that of the nearest class mean of training features.
        msp_temperature: divides the logits, dimensionless.
        energy_temperature: the same.
        odin_temperature: the same.
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

    epochs: int = Field(default=1, ge=1, le=1)
    detector: DetectorName = "energy"
    head: Literal["trained", "none"] = "trained"
    msp_temperature: float | None = Field(default=None, gt=0)
    energy_temperature: float | None = Field(default=None, gt=0)
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

    unsearchable: ClassVar[frozenset[str]] = frozenset({"epochs", "head"})

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            ("detector", "head"),
            lambda detector, head: head == "trained" or detector in WITHOUT_HEAD,
            "this detector needs a trained head, and head: none says that there is none",
            f"Choose among {', '.join(WITHOUT_HEAD)}, or train a head first.",
        ),
        *(_only(f"{name}_{key}") for name, one in CATALOG.items() for key in one.parameters),
    )

    def given(self, detector: str) -> dict[str, Any]:
        """The parameters that are given for a detector; the others have its defaults."""
        names = {name: split(name) for name in type(self).model_fields}
        found = {
            key: getattr(self, name)
            for name, (whose, key) in names.items()
            if whose == detector and key
        }
        return {key: value for key, value in found.items() if value is not None}


def baseline_own_score(train: Mapping[str, Any]) -> str:
    """The trial's detector, whatever else it reports."""
    del train
    return OWN_SCORE


def baseline_scores(params: Any) -> tuple[str, ...]:
    """The detector, and beside it MSP and energy, which cost nothing, where there is a head."""
    return (OWN_SCORE, "msp", "energy") if params.head == "trained" else (OWN_SCORE,)
