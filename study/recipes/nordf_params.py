"""Parameters of the recipe ``nordf``, and what follows from them, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from study.losses.names import COLLAPSED_COSINE, SMALLEST_IMAGE
from study.recipes.params import Remark, TrainParams
from study.recipes.reconstruction_params import (
    ADDED,
    ReconstructionName,
    ReconstructionSettings,
    reconstruction_rules,
    refuse_taken,
)
from study.section import Rule

BASE = "base"  # the study's own base model as the perceptual network
COMBINED = "combined"

OwnScore = Literal[
    "combined",
    "msp",
    "max_logit",
    "energy",
    "reconstruction",
    "perceptual",
    "upper_prototype",
    "class_prototype",
    "knn",
]
Reversal = Literal["none", "constant", "linear", "staircase", "dann"]
PerceptualNetwork = Literal["base", "vgg16", "resnet50", "efficientnet_b0", "convnext_tiny"]


class NordfParams(ReconstructionSettings):
    """NORD-F: classification, similarity behind gradient reversal, and reconstruction.

    Attributes:
        batch_size: images in a batch, which make one pair fewer.
        same_class_share: share of the pairs whose images are of one class, in expectation.
        classification_weight: weight of the cross-entropy.
        similarity_weight: weight of the similarity of pairs; 0 leaves the upper branch to the
            reconstruction.
        reconstruction_weight: weight of the reconstruction; 0 leaves the decoder out.
        similarity: logits s*(b - cos), or 1 - cos clamped to [0, 1], or to [eps, 1 - eps].
        reversal: how the weight of the reversed gradient goes over the training; none lets the
            gradient of the similarity pass as it is.
        reversal_weight: the weight, or where it ends; the staircase has its own.
        reversal_step: whether it moves once an epoch or at every batch.
        reconstruction: the reconstruction loss, a file of ``study/losses/reconstructions``; its
            parameters are fields too.
        perceptual_network: network of the perceptual loss and score: the study's own base model,
            or one of ImageNet's; null for neither.
        perceptual_weights: file of its weights; null lets torchvision download them.
        perceptual_layers: its layers; null for the usual ones.
        perceptual_inner: distance of feature maps.
        perceptual_layer_weights: one for each layer; null weighs all alike.
        width: channels between the backbone and the branches.
        branch_channels: channels of the upper and of the classification branch.
        decoder_blocks: residual blocks after each up-sampling.
        head_dropout: dropout between the linear layers of the classification branch.
        norm: batch or group norm in branches and decoder.
        own_score: the score that the study selects by.
        bank_images: training images whose features the prototypes and kNN keep, at most.
        knn_neighbours: k of the cosine kNN.
        panel_epochs: epochs (from 1) whose saliency panels TensorBoard shows.
    """

    name: ClassVar[str] = "nordf"
    module: ClassVar[str] = "nordf"
    base: ClassVar[Literal["none", "start", "optional"]] = "optional"
    base_parameter: ClassVar[str] = "perceptual_network"
    needs_maps: ClassVar[bool] = True
    least_image_size: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "reconstruction": SMALLEST_IMAGE
    }
    asked_of_data: ClassVar[frozenset[str]] = frozenset({"perceptual_network", "same_class_share"})
    remarks: ClassVar[tuple[Remark, ...]] = (
        Remark(
            "train/different_cosine",
            COLLAPSED_COSINE,
            "upper features collapsed (mean cosine of different pairs {:.4f})",
        ),
    )

    epochs: int = Field(default=10, ge=1, le=100_000)
    lr: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=2)
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    same_class_share: float = Field(default=0.5, gt=0, lt=1)
    classification_weight: float = Field(default=1.0, ge=0)
    similarity_weight: float = Field(default=1.0, ge=0)
    reconstruction_weight: float = Field(default=1.0, ge=0)
    similarity: Literal["logit", "clamp", "clamp_eps"] = "logit"
    reversal: Reversal = "dann"
    reversal_weight: float = Field(default=1.0, gt=0)
    reversal_step: Literal["epoch", "batch"] = "batch"
    reconstruction: ReconstructionName = "l1"
    perceptual_network: PerceptualNetwork | None = "base"
    perceptual_weights: str | None = None
    perceptual_layers: Annotated[list[str], Field(min_length=1)] | None = None
    perceptual_inner: Literal["l1", "mse", "huber"] = "l1"
    perceptual_layer_weights: Annotated[list[float], Field(min_length=1)] | None = None
    width: int = Field(default=64, ge=1)
    branch_channels: int = Field(default=64, ge=1)
    decoder_blocks: int = Field(default=1, ge=0)
    head_dropout: float = Field(default=0.5, ge=0, lt=1)
    norm: Literal["batch", "group"] = "batch"
    own_score: OwnScore = "combined"
    bank_images: int = Field(default=2000, ge=10)
    knn_neighbours: int = Field(default=10, ge=1)
    panel_epochs: list[Annotated[int, Field(ge=1)]] = Field(default=[])

    unsearchable: ClassVar[frozenset[str]] = frozenset(
        {"own_score", "perceptual_layers", "perceptual_layer_weights", "panel_epochs"}
    )
    unwritten: ClassVar[frozenset[str]] = ADDED
    rules: ClassVar[tuple[Rule, ...]] = (
        *TrainParams.rules,
        *reconstruction_rules(),
        Rule(
            ("own_score", "perceptual_network"),
            lambda own_score, network: own_score != "perceptual" or network is not None,
            "the perceptual score needs a perceptual_network",
            "Write perceptual_network: base, or choose another own_score.",
        ),
        Rule(
            ("own_score", "reconstruction_weight"),
            lambda score, weight: weight > 0 or score not in ("reconstruction", "perceptual"),
            "without a reconstruction loss there is no reconstruction to score",
            "Raise reconstruction_weight, or choose another own_score.",
        ),
        Rule(
            ("perceptual_weights", "perceptual_network"),
            lambda weights, network: weights is None or network not in (None, BASE),
            "perceptual_weights are those of an ImageNet network",
            "Name the network, or take perceptual_weights out.",
        ),
        Rule(
            ("perceptual_layers", "perceptual_network"),
            lambda layers, network: layers is None or network is not None,
            "perceptual_layers are those of a perceptual_network",
            "Name the network, or take perceptual_layers out.",
        ),
        Rule(
            ("perceptual_layer_weights", "perceptual_layers"),
            lambda weights, layers: weights is None or len(weights) == len(layers or ()),
            "each of perceptual_layers has one of perceptual_layer_weights",
            "Give as many weights as layers, in their order.",
        ),
        Rule(
            ("knn_neighbours", "bank_images"),
            lambda neighbours, images: neighbours <= images,
            "kNN cannot look at more neighbours than it keeps (knn_neighbours <= bank_images)",
            "Lower knn_neighbours or raise bank_images.",
        ),
        Rule(
            ("reversal_weight", "reversal"),
            lambda weight, reversal: weight == 1 or reversal not in ("none", "staircase"),
            "reversal_weight has no effect with reversal: none or staircase",
            "Take reversal_weight out, or choose another reversal.",
            has_effect=True,
        ),
    )

    @property
    def scores(self) -> tuple[str, ...]:
        """Every branch's, the combination last."""
        scores = ["msp", "max_logit", "energy"]
        if self.reconstruction_weight > 0:
            scores.append("reconstruction")
            if self.perceptual_network is not None:
                scores.append("perceptual")
        return (*scores, "upper_prototype", "class_prototype", "knn", COMBINED)

    @property
    def selected_score(self) -> str:
        """As the YAML says."""
        return self.own_score


refuse_taken(NordfParams)
