"""The recipes by name as far as a YAML needs to know them: no torch is loaded to read one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from study.losses.names import SMALLEST_IMAGE
from study.recipes.baselines_params import (
    BaselineParams,
    baseline_own_score,
    baseline_scores,
)
from study.recipes.classifier_params import SCORES, ClassifierParams, EnergyParams
from study.recipes.nordf_params import (
    NordfParams,
    nordf_own_score,
    nordf_remark,
    nordf_scores,
)
from study.recipes.outlier_params import (
    OutlierParams,
    outlier_fine_tunes,
    outlier_margins,
    outlier_own_score,
    outlier_scores,
)
from study.recipes.params import TrialParams


def _nothing(metrics: Mapping[str, float]) -> str:
    del metrics
    return ""


def _msp(train: Mapping[str, Any]) -> str:
    return str(train.get("own_score", "msp"))


def _energy(train: Mapping[str, Any]) -> str:
    return str(train.get("own_score", "energy"))


def _always(train: Mapping[str, Any]) -> bool:
    del train
    return True


def _of_logits(params: Any) -> tuple[str, ...]:
    return (*SCORES, *params.detectors)


@dataclass(frozen=True)
class RecipeInfo:
    """What a space and the run-time flow need to know of a recipe before it is built.

    Attributes:
        name: as in ``recipe:``.
        params: type of the section ``train:``.
        needs_outliers: whether it trains on auxiliary outliers.
        base: what it does with a trained classifier, the section ``base:``. "none": nothing;
            "start": trials start from it; "optional": they may, or may look at it.
        own_score_of: section ``train:`` -> the OOD score that ``val/fpr95`` and its kin are of.
        scores_of: parameters -> every OOD score that its trials report.
        remark: what metrics of an epoch give cause to say of a trial; empty for nothing.
        needs_maps: whether the backbone's maps must divide the image, as a decoder needs.
        least_image_size: parameter -> its value -> the least side of the images, pixels.
        trains: whether trials train; else they score what they start from, in one epoch.
        below_features: parameters that must stay below the number of the backbone's features.
        uses_margins: section ``train:`` -> whether m_in and m_out, if there are any, play a part.
        fine_tunes: section ``train:`` -> whether the trial trains, or scores what it starts from.
        base_parameter: with "optional", the parameter whose value "base" is a look at the base.
    """

    name: str
    params: type[TrialParams]
    needs_outliers: bool
    base: Literal["none", "start", "optional"]
    own_score_of: Callable[[Mapping[str, Any]], str]
    scores_of: Callable[[Any], tuple[str, ...]]
    remark: Callable[[Mapping[str, float]], str] = _nothing
    uses_margins: Callable[[Mapping[str, Any]], bool] = _always
    fine_tunes: Callable[[Mapping[str, Any]], bool] = _always
    base_parameter: str = ""
    needs_maps: bool = False
    trains: bool = True
    below_features: tuple[str, ...] = ()
    least_image_size: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


RECIPE_INFOS: dict[str, RecipeInfo] = {
    info.name: info
    for info in (
        RecipeInfo("classifier", ClassifierParams, False, "none", _msp, _of_logits),
        RecipeInfo("energy", EnergyParams, True, "start", _energy, _of_logits),
        RecipeInfo(
            "outliers",
            OutlierParams,
            True,
            "start",
            outlier_own_score,
            outlier_scores,
            uses_margins=outlier_margins,
            fine_tunes=outlier_fine_tunes,
        ),
        RecipeInfo(
            "baselines",
            BaselineParams,
            False,
            "start",
            baseline_own_score,
            baseline_scores,
            trains=False,
            below_features=("vim_dimension",),
        ),
        RecipeInfo(
            "nordf",
            NordfParams,
            False,
            "optional",
            nordf_own_score,
            nordf_scores,
            nordf_remark,
            base_parameter="perceptual_network",
            needs_maps=True,
            least_image_size={"reconstruction": SMALLEST_IMAGE},
        ),
    )
}


def get_recipe_info(name: str) -> RecipeInfo:
    """The recipe called ``name`` (KeyError, with the names that there are, for another)."""
    try:
        return RECIPE_INFOS[name]
    except KeyError:
        raise KeyError(f"no recipe {name!r}; there are {sorted(RECIPE_INFOS)}") from None
