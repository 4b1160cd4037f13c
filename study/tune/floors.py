"""The floor of a study: its height on the base, and whether the validation images can tell it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from study.bases.base_models import BaseModel
from study.data.roles import StudyData
from study.records.files import VAL_ID
from study.scoring.floor import Floor, asked_of_each
from study.scoring.objective import ID_ACCURACY
from study.space.study_spec import StudySpec


def asked_by(spec: StudySpec) -> float | None:
    """With what probability each state must hold the floor; None where its accuracy must."""
    rule = spec.select.floor
    if rule is None or rule.confidence is None:
        return None
    return asked_of_each(rule.confidence, _num_candidates(spec))


def told_of_asked(spec: StudySpec, asked: float | None, now: float | None) -> Iterator[str]:
    """What to say of a confidence that is another for each state than for the choice.

    Args:
        spec: of the study.
        asked: of each state, since the study began.
        now: what ``asked_by`` gives, another where trials were added since.
    """
    rule = spec.select.floor
    if rule is None or asked is None or now is None:
        return
    if now > asked:
        yield (
            f"the floor is asked of each state with a probability of {asked:.4g}, as when the "
            f"study began; of as many trials as now it would be {now:.4g}"
        )
    elif asked != rule.confidence:
        yield (
            f"the floor is asked of each state with a probability of {asked:.4g}, so that the "
            f"choice among {_num_candidates(spec):,} holds it with {rule.confidence:g}"
        )


def _num_candidates(spec: StudySpec) -> int:
    """How many configurations the choice is planned to be among."""
    return spec.tune.num_trials if spec.ablate is None else len(spec.ablate.arms)


def floor_of(
    spec: StudySpec, data: StudyData, base: BaseModel | None, confidence: float | None
) -> Floor | None:
    """The floor on this base, by whose predictions a floor below its accuracy goes.

    ``confidence`` is what each state is asked, see ``asked_by``.
    """
    rule = spec.select.floor
    if rule is None:
        return None
    accuracy = rule.accuracy(base.metrics[ID_ACCURACY] if base else None)
    right = None
    if base is not None and rule.kind == "below_base":
        one = base.scores.sets[VAL_ID]
        assert np.array_equal(one.image, data.val_id.images.ids), "measured on other images"
        right = one.prediction[-1] == one.label
    return Floor(accuracy, confidence, right)


def too_fine(spec: StudySpec, data: StudyData, floor: Floor) -> str:
    """What to say of a floor that the validation images cannot measure; empty for nothing."""
    rule, num = spec.select.floor, len(np.unique(data.val_id.images.groups))
    if rule is None or rule.kind != "below_base" or not rule.value:
        return ""
    way_out = "Take more images (data.val_fraction) or a wider floor."
    if rule.value < 1 / num:
        return (
            f"the floor, {rule.value:g} below the base, is less than one of the {num:,} "
            f"validation ID images is worth, {1 / num:.4f}. {way_out}"
        )
    accuracy = max(0.0, floor.accuracy)  # a weak base less a wide margin is below 0
    error = math.sqrt(accuracy * (1 - accuracy) / num)
    if rule.confidence is None and rule.value < error:
        return (
            f"the floor, {rule.value:g} below the base, is finer than {num:,} validation images "
            f"can tell (standard error {error:.4f}): luck decides. {way_out} Or ask that it holds "
            "(confidence: 0.9)."
        )
    return ""
