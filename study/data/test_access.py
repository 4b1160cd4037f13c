"""The only way to test images: for the final test and for the leak check's fingerprints.

Nothing else imports this module; a unit test keeps it so.
"""

from __future__ import annotations

from dataclasses import dataclass

from study.data.class_names import checked_ood_set
from study.data.file_formats import read_source
from study.data.images import ImageSet
from study.data.plan import DataPlan, SealedSource
from study.data.sources import Source
from study.records.files import TEST_ID


@dataclass(frozen=True, eq=False)
class TestData:
    """The test roles.

    Attributes:
        id: ID test images, labelled.
        ood: the OOD test sets by name; empty where the plan has none.
    """

    __test__ = False  # not a test case, whatever its name makes pytest think

    id: ImageSet
    ood: dict[str, ImageSet]

    def fingerprints(self) -> dict[str, str]:
        """sha256 of each set: ``TEST_ID``, and the OOD sets by name."""
        named = {TEST_ID: self.id, **self.ood}
        return {name: images.fingerprint for name, images in named.items()}


def open_test(plan: DataPlan) -> TestData:
    """Read the test sets that ``plan`` keeps sealed.

    Raises:
        BadInput: if a file cannot be used, or a labelled OOD set holds ID classes and the plan
            refuses that.
    """
    id_images = _open(plan.test_id)
    ood = {}
    for name, sealed in plan.ood_test.items():
        images, _ = checked_ood_set(
            _open(sealed), id_images.classes, "data.ood_test", plan.outlier_id_classes
        )
        ood[name] = images
    return TestData(id_images, ood)


def _open(sealed: SealedSource) -> ImageSet:
    return read_source(Source.from_json(dict(sealed.description)))
