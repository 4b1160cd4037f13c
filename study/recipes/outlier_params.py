"""Parameters of the recipe ``outliers``, and what follows from them, free of torch.

Defaults are those of each loss's paper or public code, as far as they are known; a source is named
beside each. A loss's file under ``study/losses`` has its formula and says what was implemented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from study.recipes.classifier_params import EnergyParams
from study.recipes.detector_params import OF_DETECTORS, DetectorName, detector_rules
from study.recipes.params import Rule

Loss = Literal[
    "outlier_exposure",
    "energy_margins",
    "energy_logistic",
    "balanced_energy",
    "gradient_regularisation",
    "distributional",
]

_OF_UNIFORM = ("outlier_exposure", "distributional")
_WITH_MARGINS = ("energy_margins", "balanced_energy", "gradient_regularisation")
_OF_ENERGY = ("energy_margins", "energy_logistic", "balanced_energy", "gradient_regularisation")


SCORES = ("msp", "max_logit", "energy")
"""OOD scores of every trial."""


def _only(name: str, default: float, losses: tuple[str, ...]) -> Rule:
    """A parameter other than its default has an effect under some losses alone."""
    return Rule(
        (name, "loss"),
        lambda value, loss: value == default or loss in losses,
        f"{name} has no effect with another loss than {' or '.join(losses)}",
        f"Take {name} out, or choose loss: {losses[0]}.",
        has_effect=True,
    )


class OutlierParams(EnergyParams):
    """Fine-tuning against outliers by any of the losses, on one base and with one budget.

    Attributes:
        fine_tune: as of the classifier; none: nothing is trained, the model that trials start
            from is scored as it is, in one epoch.
        loss: outlier_exposure (Hendrycks et al. 2019), energy_margins (Liu et al. 2020; what the
            recipe ``energy`` has), energy_logistic (from VOS, Du et al. 2022), balanced_energy
            (Choi et al. 2023), gradient_regularisation (GReg, Sharifi et al. 2024),
            distributional (DAL, Wang et al. 2023).
        own_score: the score that the study selects by, msp, max_logit, energy or one of
            ``detectors``; one for all losses, so that they compare.
        energy_weight: weight of the terms of all four energy losses; 0.1 in each paper.
        oe_weight: weight of the term of outlier_exposure and of distributional; 0.5 in both.
        logistic_scale: of energy_logistic, slope at the start in 1 / nats; it is learnt, and so
            is the centre, which starts midway between the mean energies of ID and outliers under
            the model that training starts from.
        prior_power: of balanced_energy, gamma; the public code's for CIFAR-10 (0.75 for its
            long-tailed form).
        prior_margin: of balanced_energy, alpha: nats that m_out moves up per unit of Z. The
            public code has 10, on a prior that sums to 1; here each class has prior^gamma, for
            ten classes about ten times as much.
        gradient_weight: of gradient_regularisation, weight of the gradients' norms: 1, as a
            public reproduction gives it for the paper's CIFAR runs.
        dal_radius: of distributional, mean |d| that the features are moved by, in their unit.
            This and the next four are the defaults of the public script; its runs on CIFAR use
            larger ones (radius 10, step 1), which no one network's features need fit.
        dal_steps: steps up the gradient.
        dal_step_size: Euclidean length of a step, in the features' unit.
        dal_rate: how fast the penalty follows the radius.
        dal_max_penalty: ceiling of the penalty, which starts at a hundredth of it.
    """

    fine_tune: Literal["none", "full", "linear"] = "full"  # type: ignore[assignment]
    loss: Loss = "energy_margins"
    own_score: DetectorName = "energy"
    oe_weight: float = Field(default=0.5, ge=0)
    logistic_scale: float = Field(default=1.0, gt=0)
    prior_power: float = Field(default=0.05, ge=0)
    prior_margin: float = Field(default=1.0, ge=0)
    gradient_weight: float = Field(default=1.0, ge=0)
    dal_radius: float = Field(default=0.01, gt=0)
    dal_steps: int = Field(default=10, ge=1, le=1000)
    dal_step_size: float = Field(default=0.01, gt=0)
    dal_rate: float = Field(default=0.5, ge=0)
    dal_max_penalty: float = Field(default=1.0, gt=0)

    unwritten: ClassVar[frozenset[str]] = EnergyParams.unwritten - {"own_score"}
    rules: ClassVar[tuple[Rule, ...]] = (
        *(rule for rule in EnergyParams.rules if not OF_DETECTORS & {*rule.fields}),
        *detector_rules(SCORES),
        Rule(
            ("fine_tune", "loss"),
            lambda fine_tune, loss: fine_tune != "linear" or loss != "gradient_regularisation",
            "gradient_regularisation needs the gradient by the image, and with fine_tune: linear "
            "there are only features",
            "Set fine_tune: full, or choose another loss.",
        ),
        _only("energy_weight", 0.1, _OF_ENERGY),
        _only("oe_weight", 0.5, _OF_UNIFORM),
        _only("logistic_scale", 1.0, ("energy_logistic",)),
        _only("prior_power", 0.05, ("balanced_energy",)),
        _only("prior_margin", 1.0, ("balanced_energy",)),
        _only("gradient_weight", 1.0, ("gradient_regularisation",)),
        _only("dal_radius", 0.01, ("distributional",)),
        _only("dal_steps", 10, ("distributional",)),
        _only("dal_step_size", 0.01, ("distributional",)),
        _only("dal_rate", 0.5, ("distributional",)),
        _only("dal_max_penalty", 1.0, ("distributional",)),
    )


def outlier_margins(train: Mapping[str, Any]) -> bool:
    """Whether the loss has margins."""
    return train.get("loss", OutlierParams.model_fields["loss"].default) in _WITH_MARGINS


def outlier_fine_tunes(train: Mapping[str, Any]) -> bool:
    """Whether a trial trains."""
    return train.get("fine_tune") != "none"


def outlier_own_score(train: Mapping[str, Any]) -> str:
    """The score that the study selects by."""
    return str(train["own_score"])


def outlier_scores(params: Any) -> tuple[str, ...]:
    """Every OOD score of a trial."""
    return (*SCORES, *params.detectors)
