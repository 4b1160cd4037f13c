"""The leak check as a step of a study's set-up.

Besides the final test, this is the only place that reads test files. It returns counts, names of
a few examples and the study's own roles; of test images none leaves it but those of the examples,
in pictures for people.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from study.data.enough import check_enough
from study.data.images import ImageSet
from study.data.leaks.check import check_leaks
from study.data.leaks.proposals import Mask
from study.data.leaks.report import LeakReport, Member, Role
from study.data.roles import StudyData
from study.data.test_access import open_test
from study.errors import BadInput, Fault

if TYPE_CHECKING:
    from study.data.plan import DataPlan
    from study.data.section import DataSection


def run_leak_check(
    plan: DataPlan, data: StudyData, section: DataSection
) -> tuple[StudyData, LeakReport]:
    """Compare all roles, the test roles included; drop what the section says.

    Args:
        plan: where the test sets are sealed.
        data: the roles that training and search see.
        section: ``leaks`` and ``id_near_duplicates`` are read.

    Returns:
        The study's data without the dropped images (the same object where none was), and the
        report; the data's notes say what was dropped.

    Raises:
        BadInput: for a collision that stops the study, where dropping would empty a set or take a
            whole class out of train or validation ID, or where a set that is measured on has a
            single source.
    """
    started = time.perf_counter()
    test = open_test(plan)
    members = [
        Member(cast(Role, key.partition("/")[0]), images) for key, images in data.sets().items()
    ]
    members.append(Member("id_test", test.id))
    members += [Member("ood_test", images) for images in test.ood.values()]
    report, dropped = check_leaks(
        members, leaks=section.leaks, id_near_duplicates=section.id_near_duplicates
    )
    data = replace(data, notes=(*data.notes, *test.notes)) if test.notes else data
    kept = _without(data, dropped) if dropped else data
    check_enough(
        {"validation ID": kept.val_id.images, "ID test": test.id},
        {f"OOD validation {name}": one for name, one in kept.ood_val.sets.items()}
        | {f"OOD test {name}": one for name, one in test.ood.items()},
    )
    time_s = time.perf_counter() - started
    return kept, replace(report, time_s=time_s, test_fingerprints=test.fingerprints())


def _without(data: StudyData, dropped: dict[str, Mask]) -> StudyData:
    """``data`` less the dropped images."""
    faults = [fault for key, mask in dropped.items() for fault in _faults(data, key, mask)]
    if faults:
        raise BadInput(faults)

    def rest(key: str, images: ImageSet) -> ImageSet:
        return images.take(np.flatnonzero(~dropped[key])) if key in dropped else images

    lost = ", ".join(f"{int(mask.sum()):,} from {key}" for key, mask in dropped.items())
    notes = (*data.notes, f"the leak check dropped images: {lost}")
    return replace(data.mapped(rest), notes=notes)


def _faults(data: StudyData, key: str, mask: Mask) -> list[Fault]:
    images = data.sets()[key]
    if mask.all():
        rule = f"'{key}' has no image left after {len(mask):,} leaking ones were dropped"
        return [Fault("data", "leaks", rule, "Name another set for it.")]
    gone = np.setdiff1d(images.labels, images.labels[~mask])
    if key in ("train", "val_id", "confirm_id") and len(gone):
        names = ", ".join(images.classes[k] if images.classes else str(k) for k in gone)
        rule = f"'{key}' has no image of class {names} left after leaking ones were dropped"
        return [Fault("data", "leaks", rule, "Keep near-duplicates, or name other sets.")]
    return []
