"""The trained similarity in two numbers, which the maps of a pair need for their scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from study.losses.similarity import Similarity

_PREFIX = "similarity."  # of the similarity in the loss of the recipe nordf


@dataclass(frozen=True)
class PairLogit:
    """The trained similarity: logit = scale * (offset - cos), positive means "different".

    Attributes:
        scale: s > 0.
        offset: b.
    """

    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, similarity: Similarity) -> PairLogit:
        """As trained so far; the clamp forms compare 1 - cos, or half of it."""
        if similarity.form == "logit":
            return cls(float(similarity.scale.detach()), float(similarity.offset.detach()))
        return cls(0.5 if similarity.signed else 1.0, 1.0)

    @classmethod
    def of_state(cls, loss_state: Mapping[str, Tensor]) -> PairLogit | None:
        """From the state of a loss; None for a loss without learned s and b."""
        own = {
            name.removeprefix(_PREFIX): values
            for name, values in loss_state.items()
            if name.startswith(_PREFIX)
        }
        if not own:
            return None
        similarity = Similarity()
        similarity.load_state_dict(own)
        return cls.of(similarity)
