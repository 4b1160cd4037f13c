"""What one trial is told to do; plain values, so that it can travel to any worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from study.records.files import BASE, trial_id


@dataclass(frozen=True)
class Assignment:
    """What one trial is to do.

    Attributes:
        number: of the trial in its study, from 0.
        seed: names all its random streams.
        model: the section ``model:`` with searched values in place.
        train: the section ``train:`` with searched values in place and margins as numbers.
        standings: of the epochs that are on record (`study.scoring.objective.standing`); training
            goes on after them.
        scores: hashes of the files of their per-image scores; "" of older records.
        path: whether points between its base and its trained weights are scored too.
        kept: whether it is scored on the part of validation that is kept for confirmation too.
        base: name of the base that the trial starts from, or looks at; a study has one, but an
            ablation may have several.
    """

    number: int
    seed: int
    model: dict[str, Any]
    train: dict[str, Any]
    standings: tuple[tuple[bool, float], ...] = ()
    scores: tuple[str, ...] = ()
    kept: bool = False
    path: bool = False
    base: str = BASE

    @property
    def trial_id(self) -> str:
        """The trial's name in every file."""
        return trial_id(self.number)
