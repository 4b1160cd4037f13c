"""From explanations to the rows of a picture, and the picture of a model in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from study.explain.choice import ChosenImages, class_name
from study.explain.estimates import Floats
from study.explain.explanation import CLASS, SIMILARITY, Explanation, explain
from study.explain.options import MapOptions
from study.explain.panel import Picture, Row, draw_panel, panel_array
from study.explain.targets import PairLogit
from study.records.files import VAL_ID
from study.records.scores import SetScores

# Half the steps of the command's: a look, not a measurement.
LIVE = MapOptions(steps=16)
_LONGEST = 13  # letters that fit under a picture


@dataclass(frozen=True, eq=False)
class ScoreTexts:
    """An OOD score of the validation images at one epoch, as it is told under a picture.

    Attributes:
        name: of the score.
        id_values: of all ID validation images, shape (N,).
        values: set name -> image id -> score.
    """

    name: str
    id_values: Floats
    values: Mapping[str, Mapping[bytes, float]]

    @classmethod
    def of(cls, sets: Mapping[str, SetScores], name: str, row: int) -> ScoreTexts:
        """From the scores file of a trial.

        Args:
            sets: ``VAL_ID`` and the OOD sets.
            name: of the score.
            row: of the epoch in every (E, N) array.
        """
        values = {
            one: dict(zip(scored.image.tolist(), scored.scores[name][row].tolist(), strict=True))
            for one, scored in sets.items()
        }
        return cls(name, sets[VAL_ID].scores[name][row], values)

    def text(self, set_name: str, image: bytes) -> str:
        """The score, and the share of ID images that are less OOD; empty where unknown."""
        value = self.values.get(set_name, {}).get(image)
        if value is None:
            return ""
        share = np.mean(self.id_values < value)
        told = f"{self.name} {value:.2f}".replace("-", "\N{MINUS SIGN}")
        return f"{told}\n> {100 * share:.0f} % of ID"


def rows_of(
    chosen: ChosenImages, explanation: Explanation, scores: ScoreTexts | None = None
) -> list[Row]:
    """A row for each image.

    Args:
        chosen: the images.
        explanation: of the same images.
        scores: what stands under the images; None for nothing.
    """
    images, classes = chosen.images, chosen.id_images.classes
    return [
        Row(
            title=_title(chosen, index),
            image=images.pixels[index],
            image_text=scores.text(chosen.name, bytes(images.ids[index])) if scores else "",
            class_map=explanation.maps[CLASS][index].numpy(),
            class_text=(
                f"{_short(class_name(classes, int(explanation.predicted[index])))}"
                f"\np = {explanation.confidence[index]:.2f}"
            ),
            **_of_branches(chosen, explanation, index),
        )
        for index in range(len(chosen))
    ]


def _title(chosen: ChosenImages, index: int) -> str:
    name = class_name(chosen.images.classes, int(chosen.images.labels[index]))
    where = "ID" if chosen.is_id else "OOD"
    what = name if chosen.is_id else chosen.name
    lines = [where, _short(what)]
    if not chosen.is_id and name:
        lines.append(_short(name))
    return "\n".join(lines)


def _of_branches(chosen: ChosenImages, explanation: Explanation, index: int) -> dict[str, Any]:
    """What only a model with more than a classifier has."""
    told: dict[str, Any] = {}
    if explanation.reconstruction is not None:
        image = explanation.reconstruction[index]
        error = float(np.abs(image - chosen.images.pixels[index] / 255).mean())
        told |= {"reconstruction": image, "reconstruction_text": f"L1 {error:.3f}"}
    if explanation.cosine is not None:
        row, others = chosen.partners[index], chosen.id_images
        partner = class_name(others.classes, int(others.labels[row]))
        told |= {
            "similarity_map": explanation.maps[SIMILARITY][index].numpy(),
            "similarity_text": f"cos {explanation.cosine[index]:.3f}",
            "partner": others.pixels[row],
            "partner_text": f"{_short(partner)}\n(ID)",
        }
    return told


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def panel_image(
    model: nn.Module,
    chosen: Sequence[ChosenImages],
    device: torch.device,
    *,
    pair: PairLogit | None = None,
    options: MapOptions = LIVE,
) -> Picture:
    """The panel of a model as it stands, for TensorBoard at chosen epochs.

    Args:
        model: on ``device``; weights, gradients, mode and global generators stay as they are.
        chosen: the same images at every epoch, a few of each set.
        device: where to compute.
        pair: scale and offset of the similarity logit, as trained so far.
        options: how maps are made.

    Returns:
        uint8, shape (height, width, 3).
    """
    rows = [
        row
        for part in chosen
        for row in rows_of(part, explain(model, part, options, device, pair))
    ]
    return panel_array(draw_panel(rows, method=options.method))
