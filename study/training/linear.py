"""Linear fine-tuning: the last layer alone is trained, on features that are computed once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from study.data.batches import Batch, Take, epoch_batches
from study.data.images import ImageSet, Rows
from study.data.roles import StudyData
from study.device import upload
from study.models.classifier import LinearHead
from study.recipes.classifier import ClassifierRecipe
from study.recipes.classifier_params import ClassifierParams
from study.recipes.frozen_features import BATCH_SIZE, Features, Frozen
from study.seeding import numpy_generator
from study.training.evaluation import Evaluation, evaluate

_MOST_ON_DEVICE = 2**31  # a GPU is shared by trials


class LinearTraining:
    """What `study.training.loop.train` trains, feeds and evaluates where ``fine_tune`` is linear.

    ID images and outliers are drawn as in full fine-tuning, from the same streams; for each image
    of an epoch one of its views is drawn from ("view", "id", epoch) and ("view", "outliers",
    epoch).

    Attributes:
        module: the last layer, shared with the model.
    """

    def __init__(
        self,
        recipe: ClassifierRecipe[ClassifierParams],
        model: nn.Module,
        data: StudyData,
        seed: int,
        device: torch.device,
        *,
        most_on_device: int = _MOST_ON_DEVICE,
    ) -> None:
        """Freeze ``model`` and bring its features.

        Args:
            recipe: what is trained.
            model: whose last layer is trained.
            data: the roles.
            seed: of the views that are drawn.
            device: where it trains.
            most_on_device: bytes of the views of one set that a GPU holds as a whole.

        Raises:
            ValueError: where the model has no last layer of its own.
        """
        params = recipe.params
        frozen = Frozen(model, device)
        self.module = LinearHead(frozen.model.fc)
        self._recipe, self._model, self._data = recipe, model, data
        self._seed, self._device = seed, device
        self._frozen = frozen
        self._labels = torch.tensor(data.train.images.labels, device=device)
        views = params.feature_views
        found = frozen.features(data.train.images, params.augment, views)
        self._train = _Views(found, seed, "id", device, most_on_device)
        self._sampling = recipe.sampling(data)
        self._outliers: _Views | None = None
        if data.outliers is not None and self._sampling.outlier_batch_size:
            found = frozen.features(data.outliers.images, params.augment, views)
            self._outliers = _Views(found, seed, "outliers", device, most_on_device)
        self._plain: dict[str, Features] = {}

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch, features in place of images."""
        outliers = self._outliers
        rows = self._sampling.rows(
            self._data.train.images.labels,
            outliers.num_images if outliers else 0,
            seed=self._seed,
            epoch=epoch,
        )
        labels = self._labels[upload(rows.id, self._device)]
        out_take = None
        if outliers is not None and rows.outliers is not None:
            out_take = outliers.drawn(rows.outliers, epoch)
        taken = self._train.drawn(rows.id, epoch)
        return epoch_batches(rows, taken, labels.__getitem__, out_take)

    def evaluate(self) -> Evaluation:
        """Score the validation roles, from features that are computed once too."""
        return evaluate(
            self._recipe,
            self._model,
            self._data,
            self._device,
            scored=self.module,
            read=self._read,
        )

    def _read(self, images: ImageSet, device: torch.device) -> Iterator[Tensor]:
        if images.fingerprint not in self._plain:
            self._plain[images.fingerprint] = self._frozen.features(images, "none", 1)[0]
        features = self._plain[images.fingerprint]
        for start in range(0, len(features), BATCH_SIZE):
            yield upload(features[start : start + BATCH_SIZE], device)


class _Views:
    """Features of the views of one set: mapped from disk, or a tensor on a GPU.

    Those of a wide network may be more than a GPU should hold (four views of 300,000 images of a
    ResNet-50 are 10 GB): then each batch's own travel.
    """

    def __init__(
        self, features: Features, seed: int, role: str, device: torch.device, most: int
    ) -> None:
        self.num_views, self.num_images, width = features.shape
        self._seed, self._role = seed, role
        self._array = features.reshape(-1, width)
        self._device = device
        self._tensor: Tensor | None = None
        if device.type != "cpu" and self._array.nbytes <= most:
            self._tensor = upload(self._array, device)

    def drawn(self, rows: Rows, epoch: int) -> Take:
        """The features of ``rows`` by position, each of a view at random."""
        generator = numpy_generator(self._seed, "view", self._role, epoch)
        views = generator.integers(self.num_views, size=len(rows))
        places: Rows = views * self.num_images + rows
        if self._tensor is None:
            return lambda part: upload(self._array[places[part]], self._device)
        held, sent = self._tensor, upload(places, self._device)
        return lambda part: held[sent[part]]
