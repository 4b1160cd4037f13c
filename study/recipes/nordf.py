"""NORD-F: classification, similarity behind gradient reversal, and reconstruction.

No paper could be identified; the design is that of the public seed code, on small images and with
one forward a batch: its images form a chain of pairs, each with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.data.batches import Batch, evaluation_batches
from study.data.images import ImageSet
from study.data.order import Sampling
from study.data.pairs import check_same_share, image_weights
from study.data.roles import StudyData
from study.errors import TrialFailed
from study.losses.classification import cross_entropy_per_image
from study.losses.names import RECONSTRUCTIONS
from study.losses.perceptual import PerceptualDistance
from study.losses.reconstruction import ReconstructionLoss, make_reconstruction
from study.losses.similarity import Similarity
from study.models.classifier import Classifier
from study.models.frozen_networks import FrozenNetwork, frozen_classifier, imagenet_network
from study.models.names import DEFAULT_NETWORK, NORMALISATIONS, Network
from study.models.nordf import NordF
from study.models.registry import build_backbone, seeded
from study.models.reversal_schedules import make_reversal_schedule
from study.models.weights import load_backbone
from study.recipes.base import Fitted, Moment, Scores, TrainingLoss, TrainingRecipe
from study.recipes.nordf_params import BASE, COMBINED, NordfParams
from study.scoring.feature_scores import (
    class_prototypes,
    combined_score,
    fit_zscores,
    knn_score,
    prototype_score,
    unit_rows,
)
from study.scoring.scores import compute_scores
from study.seeding import numpy_generator, seed_of

_LOGIT_SCORES = ("msp", "max_logit", "energy")
_BATCH_SIZE = 512


class NordfLoss(TrainingLoss):
    """Weighted sum of cross-entropy, pair similarity and reconstruction over a batch's pairs.

    Terms of images are means over the images of all pairs, as if each pair were passed on its
    own: an image counts as often as it is in a pair.
    """

    captured = True
    reversal: Tensor

    def __init__(self, params: NordfParams, reconstruction: ReconstructionLoss) -> None:
        """The recipe's parameters, and the reconstruction loss that they name."""
        super().__init__()
        self.params = params
        self.reconstruction = reconstruction
        self.similarity = Similarity(params.similarity)
        self.register_buffer("reversal", torch.zeros((), dtype=torch.float64), persistent=False)

    def at(self, moment: Moment) -> None:
        """Set the weight of the reversed gradient."""
        params = self.params
        if params.reversal == "none":
            return
        weight = make_reversal_schedule(
            params.reversal,
            epochs=moment.epochs,
            steps_per_epoch=moment.steps_per_epoch,
            # The staircase is the seed code's rule as it stands.
            weight=1.0 if params.reversal == "staircase" else params.reversal_weight,
            per=params.reversal_step,
        )
        self.reversal.fill_(weight(moment.epoch - 1, moment.step))

    def forward(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms: loss, cross_entropy, similarity, reconstruction (unweighted), and what tells.

        ``clamped``, ``different_cosine_sum`` and ``num_different`` are those of `Similarity`.
        """
        params, pairs = self.params, batch.pairs
        if pairs is None:
            raise TypeError("NORD-F trains on batches with pairs")
        reconstruct = params.reconstruction_weight > 0
        told = cast(NordF, model).branches(
            batch.images,
            reversal=None if params.reversal == "none" else self.reversal,
            reconstruct=reconstruct,
        )
        weights = image_weights(pairs, len(batch.images))
        classification = cross_entropy_per_image(
            told.logits, batch.labels, label_smoothing=params.label_smoothing
        )
        first, second = pairs.unbind(dim=1)
        different = batch.labels[first] != batch.labels[second]
        pair = self.similarity(told.upper[first], told.upper[second], different)
        terms = {
            "cross_entropy": (weights * classification).sum(),
            "similarity": pair["per_pair"].mean(),
        }
        loss = params.classification_weight * terms["cross_entropy"]
        loss = loss + params.similarity_weight * terms["similarity"]
        if told.reconstruction is not None:
            distance = self.reconstruction(told.reconstruction, batch.images)
            terms["reconstruction"] = (weights * distance).sum()
            loss = loss + params.reconstruction_weight * terms["reconstruction"]
        if params.similarity == "logit":
            terms["similarity_scale"] = self.similarity.scale.detach()
        told_of = ("clamped", "different_cosine_sum", "num_different")
        return {"loss": loss, **terms, **{name: pair[name] for name in told_of}}


class NordfRecipe(TrainingRecipe[NordfParams]):
    """Train the three branches together; score by each of them, and by all."""

    # A collapsed upper branch scores every image alike: told, not a failure of the trial.
    may_be_constant = frozenset({"upper_prototype"})
    logs_gradients = True
    # Near 1 (COLLAPSED_COSINE) the upper branch gives the same features for everything; an epoch
    # without any different pair has 0: nothing speaks for a collapse.
    ratios = MappingProxyType({"different_cosine": ("different_cosine_sum", "num_different")})

    def build_model(
        self,
        backbone: str,
        num_classes: int,
        *,
        dropout: float,
        image_size: int,
        seed: int,
        network: Network = DEFAULT_NETWORK,
    ) -> nn.Module:
        """A fresh model; the backbone's weights are those of a classifier of that seed."""
        params = self.params
        mean, std = NORMALISATIONS[network.normalisation]
        body = build_backbone(
            backbone, dropout=dropout, image_size=image_size, seed=seed_of(seed, "init")
        )
        with seeded(seed_of(seed, "init", "branches")):
            return NordF(
                body,
                num_classes,
                image_size=image_size,
                width=params.width,
                branch_channels=params.branch_channels,
                decoder_blocks=params.decoder_blocks,
                dropout=params.head_dropout,
                norm=params.norm,
                mean=mean,
                std=std,
            )

    @property
    def scores_with_base(self) -> bool:
        """Where the perceptual distance is one of the base's features."""
        params = self.params
        return params.perceptual_network == BASE and params.reconstruction_weight > 0

    def logit_temperature(self, score: str) -> float | None:
        """1 for MSP, the largest logit and the energy."""
        return 1.0 if score in _LOGIT_SCORES else None

    def check(self, data: StudyData) -> None:
        """Pairs are possible, every class has a prototype, the perceptual network its layers."""
        params = self.params
        check_same_share(data.train.images.labels, params.same_class_share)
        seen = set(_bank(data.train.images, params.bank_images).labels.tolist())
        if absent := sorted(set(range(data.num_classes)) - seen):
            raise ValueError(
                f"bank_images: {params.bank_images} hold no image of classes {absent}, which then "
                "have no prototype. Raise bank_images"
            )
        if params.perceptual_network is not None:
            self.perceptual()

    def load_start(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """The backbone's weights and the normalisation; a classifier's own head is left out."""
        load_backbone(model, weights)

    def loss(self) -> TrainingLoss:
        """The three losses."""
        params = self.params
        declared = RECONSTRUCTIONS[params.reconstruction]
        reconstruction = make_reconstruction(
            params.reconstruction,
            perceptual=self.perceptual() if declared.perceptual else None,
            **{name: getattr(params, name) for name in declared.parameters},
        )
        return NordfLoss(params, reconstruction)

    def perceptual(self) -> PerceptualDistance:
        """The distance of two images to the perceptual network.

        Raises:
            ValueError: for a layer that the network does not have.
            BadInput: where its weights are not to be had.
        """
        params = self.params
        return PerceptualDistance(
            self._network(),
            params.perceptual_layers,
            params.perceptual_inner,
            params.perceptual_layer_weights,
        )

    def _network(self) -> FrozenNetwork:
        params = self.params
        if params.perceptual_network == BASE:
            if self.frozen is None:
                raise TypeError("the perceptual network is the base, and there is none")
            return frozen_classifier(cast(Classifier, self.frozen()), params.perceptual_layers)
        if params.perceptual_network is None:
            raise TypeError("there is no perceptual network")
        path = Path(params.perceptual_weights) if params.perceptual_weights else None
        return imagenet_network(params.perceptual_network, path, params.perceptual_layers)

    def sampling(self, data: StudyData) -> Sampling:
        """Chains of pairs of ID images."""
        return replace(super().sampling(data), same_share=self.params.same_class_share)

    @torch.inference_mode()
    def fit(self, model: nn.Module, data: StudyData, device: torch.device) -> Fitted:
        """Class prototypes of both branches' features, and the bank of kNN.

        Raises:
            TrialFailed: where a feature is not finite.
        """
        bank = _bank(data.train.images, self.params.bank_images)
        model.eval()
        told = [
            cast(NordF, model).branches(batch, reconstruct=False)
            for batch in evaluation_batches(bank, _BATCH_SIZE, device, channels_last=True)
        ]
        labels = torch.from_numpy(np.array(bank.labels)).to(device)
        upper = torch.cat([one.upper for one in told])
        features = torch.cat([one.class_features for one in told])
        try:
            prototypes = {
                "upper.prototypes": class_prototypes(upper, labels, data.num_classes),
                "class.prototypes": class_prototypes(features, labels, data.num_classes),
            }
        except ValueError as error:  # the model has diverged: the trial's, not a bug's
            raise TrialFailed(str(error)) from error
        penultimate = torch.cat([one.penultimate for one in told])
        return prototypes | {"knn.bank": unit_rows(penultimate).float()}

    def calibrate(self, id_scores: Mapping[str, NDArray[np.float64]]) -> Fitted:
        """Mean and deviation of each score on validation ID.

        Raises:
            TrialFailed: naming a score that is not finite.
        """
        try:
            return fit_zscores(id_scores)
        except ValueError as error:  # likewise
            raise TrialFailed(str(error)) from error

    def score(
        self, model: nn.Module, images: Tensor, fitted: Fitted
    ) -> tuple[NDArray[np.int64], Scores]:
        """Every score but the combination."""
        params = self.params
        reconstruct = params.reconstruction_weight > 0
        told = cast(NordF, model).branches(images, reconstruct=reconstruct)
        scores = compute_scores(told.logits, _LOGIT_SCORES)
        of_features = {
            "upper_prototype": prototype_score(told.upper, fitted["upper.prototypes"]),
            "class_prototype": prototype_score(told.class_features, fitted["class.prototypes"]),
            "knn": knn_score(
                told.penultimate,
                fitted["knn.bank"],
                min(params.knn_neighbours, len(fitted["knn.bank"])),
            ),
        }
        if told.reconstruction is not None:
            error = (told.reconstruction - images).square().flatten(1).mean(dim=1)
            of_features["reconstruction"] = error.double().cpu()
            if params.perceptual_network is not None:
                distance = self._scoring_distance(images.device)
                of_features["perceptual"] = distance(told.reconstruction, images).double().cpu()
        scores |= {name: values.numpy() for name, values in of_features.items()}
        return told.logits.argmax(dim=1).cpu().numpy(), scores

    def combine(self, scores: Scores, fitted: Fitted) -> Scores:
        """The mean of all z-scores, beside the scores themselves, in the order of ``scores``."""
        combined = combined_score(scores, fitted).numpy()
        together = {**scores, COMBINED: combined}
        return {name: together[name] for name in self.scores}

    def _scoring_distance(self, device: torch.device) -> PerceptualDistance:
        """The perceptual distance, built once for all batches."""
        if self._distance is None:
            self._distance = self.perceptual()
        return self._distance.to(device)

    _distance: PerceptualDistance | None = None


def _bank(images: ImageSet, most: int) -> ImageSet:
    """The training images that prototypes and kNN keep, the same ones in every trial."""
    chosen = numpy_generator(0, "feature bank").permutation(len(images))
    return images.take(np.sort(chosen[:most]))
