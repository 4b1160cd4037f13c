"""The only way to test images: for the final test and for the leak check's fingerprints.

Nothing else imports this module; a unit test keeps it so.
"""

from __future__ import annotations

from dataclasses import dataclass

from study.data.classes import like
from study.data.contradictions import contradictions
from study.data.file_formats import read_source
from study.data.images import ImageSet
from study.data.plan import DataPlan, alike_notes, checked_ood_source, left_out_notes
from study.data.sources import Source
from study.errors import BadInput, Fault, gathered
from study.records.files import TEST_ID


@dataclass(frozen=True, eq=False)
class TestData:
    """The test roles.

    Attributes:
        id: ID test images, labelled.
        ood: the OOD test sets by name; empty where the plan has none.
        notes: what was mapped, filtered or left out in reading them.
    """

    __test__ = False  # not a test case, whatever its name makes pytest think

    id: ImageSet
    ood: dict[str, ImageSet]
    notes: tuple[str, ...] = ()

    def fingerprints(self) -> dict[str, str]:
        """sha256 of each set: ``TEST_ID``, and the OOD sets by name."""
        named = {TEST_ID: self.id, **self.ood}
        return {name: images.fingerprint for name, images in named.items()}


def open_test(plan: DataPlan) -> TestData:
    """Read the test sets that ``plan`` keeps sealed.

    Raises:
        BadInput: with the faults of all sets: a file that cannot be used, an ID test of other
            classes than the training set, a labelled OOD set that holds ID classes where the plan
            refuses that.
    """
    faults: list[Fault] = []
    notes: list[str] = []
    id_images = None
    with gathered(faults):
        id_images = read_source(Source.from_json(dict(plan.test_id.description)))
        if plan.classes:
            id_images, told = like(id_images, plan.classes, plan.id.name)
            notes += told
    id_classes = id_images.classes if id_images else ()
    ood = {}
    for name, sealed in plan.ood_test.items():
        with gathered(faults):
            source = Source.from_json(dict(sealed.description))
            ood[name], note = checked_ood_source(
                source, read_source(source), id_classes, "ood_test", plan.outlier_id_classes
            )
            notes += [note] if note else []
    if faults or id_images is None:
        raise BadInput(faults)
    notes += contradictions([id_images])
    notes += left_out_notes([id_images, *ood.values()]) + alike_notes(ood.values())
    return TestData(id_images, ood, tuple(notes))
