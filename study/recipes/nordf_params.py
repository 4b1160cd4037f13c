"""Parameters of the recipe ``nordf``, and what follows from them, free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from study.declared import parameter, with_default
from study.losses.names import COLLAPSED_COSINE, SMALLEST_IMAGE
from study.recipes.params import LATER, Remark, TrainParams
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
    """NORD-F: classification, similarity behind gradient reversal, and reconstruction."""

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

    epochs: int = with_default(TrainParams, "epochs", 10)
    lr: float = with_default(TrainParams, "lr", 1e-3)
    batch_size: int = parameter(64, ge=2, meaning="images in a batch, which make one pair fewer")
    optimizer: Literal["sgd", "adam", "adamw"] = with_default(TrainParams, "optimizer", "adam")
    nesterov: bool = with_default(TrainParams, "nesterov", False)
    weight_decay: float = with_default(TrainParams, "weight_decay", 0.0)
    same_class_share: float = parameter(
        0.5, gt=0, lt=1, meaning="share of the pairs whose images are of one class, in expectation"
    )
    classification_weight: float = parameter(1.0, ge=0, meaning="weight of the cross-entropy")
    similarity_weight: float = parameter(
        1.0,
        ge=0,
        meaning="weight of the similarity of pairs; 0 leaves the upper branch to the "
        "reconstruction",
    )
    reconstruction_weight: float = parameter(
        1.0, ge=0, meaning="weight of the reconstruction; 0 leaves the decoder out"
    )
    similarity: Literal["logit", "clamp", "clamp_eps"] = parameter(
        "logit", meaning="logits s*(b - cos), or 1 - cos clamped to [0, 1], or to [eps, 1 - eps]"
    )
    reversal: Reversal = parameter(
        "dann",
        meaning="how the weight of the reversed gradient goes over the training; none lets the "
        "gradient of the similarity pass as it is",
    )
    reversal_weight: float = parameter(
        1.0,
        gt=0,
        meaning="that weight, or where it ends; the staircase has its own",
        when={"reversal": ["constant", "linear", "dann"]},
    )
    reversal_step: Literal["epoch", "batch"] = parameter(
        "batch", meaning="whether it moves once an epoch or at every batch"
    )
    reconstruction: ReconstructionName = parameter(
        "l1", meaning="the reconstruction loss, a file of study/losses/reconstructions"
    )
    perceptual_network: PerceptualNetwork | None = parameter(
        BASE,
        meaning="network of the perceptual loss and score: the study's own base model, or one of "
        "ImageNet's",
        null="neither loss nor score",
    )
    perceptual_weights: str | None = parameter(
        None, meaning="file of its weights", null="torchvision downloads them"
    )
    perceptual_layers: Annotated[list[str], Field(min_length=1)] | None = parameter(
        None, meaning="its layers", null="the usual ones"
    )
    perceptual_inner: Literal["l1", "mse", "huber"] = parameter(
        "l1", meaning="distance of feature maps"
    )
    perceptual_layer_weights: Annotated[list[float], Field(min_length=1)] | None = parameter(
        None, meaning="one for each layer", null="all weigh alike"
    )
    width: int = parameter(64, ge=1, meaning="channels between the backbone and the branches")
    branch_channels: int = parameter(
        64, ge=1, meaning="channels of the upper and of the classification branch"
    )
    decoder_blocks: int = parameter(1, ge=0, meaning="residual blocks after each up-sampling")
    head_dropout: float = parameter(
        0.5, ge=0, lt=1, meaning="dropout between the linear layers of the classification branch"
    )
    norm: Literal["batch", "group"] = parameter(
        "batch", meaning="batch or group norm in branches and decoder"
    )
    own_score: OwnScore = parameter("combined", meaning="the score that the study selects by")
    bank_images: int = parameter(
        2000, ge=10, meaning="training images whose features the prototypes and kNN keep, at most"
    )
    knn_neighbours: int = parameter(10, ge=1, meaning="k of the cosine kNN")
    panel_epochs: list[Annotated[int, Field(ge=1)]] = parameter(
        [], meaning="epochs (from 1) whose saliency panels TensorBoard shows"
    )

    unsearchable: ClassVar[frozenset[str]] = frozenset(
        {"own_score", "perceptual_layers", "perceptual_layer_weights", "panel_epochs"}
    )
    files: ClassVar[frozenset[str]] = frozenset({"perceptual_weights"})
    unwritten: ClassVar[frozenset[str]] = ADDED | LATER
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
