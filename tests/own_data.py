"""Data as people have it, read as a study reads it before anything is trained."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.data.images import ImageSet
from study.data.plan import make_plan
from study.data.test_access import TestData, open_test
from study.options import Override, RunOptions
from study.run import spec_of
from study.tune.setup import CheckedStudy, prepare_data
from study.watch.progress import Progress
from tests.fake_data import KINDS, class_table, save_pictures, save_table

SPACE = """\
recipe: outliers
base: {epochs: 1, batch_size: 2}
train: {loss: energy_margins, epochs: 1, batch_size: 2, outlier_batch_size: 2,
        m_in: -4, m_out: -1}
search: {energy_weight: {uniform: [0.05, 0.2]}}
"""


@dataclass(frozen=True)
class Reading:
    """What a study would see.

    Attributes:
        study: the roles of training and search.
        test: the test roles.
        told: every note and warning.
    """

    study: CheckedStudy
    test: TestData
    told: str

    @property
    def classes(self) -> tuple[str, ...]:
        return self.study.data.train.images.classes

    @property
    def id_sets(self) -> list[ImageSet]:
        """Train, validation and test."""
        data = self.study.data
        return [data.train.images, data.val_id.images, self.test.id]

    @property
    def outliers(self) -> ImageSet:
        assert self.study.data.outliers is not None
        return self.study.data.outliers.images


def read_as_a_study(root: Path, data: str = "auto", **section: Any) -> Reading:
    """Read a data root, all roles and the leak check, with these keys of ``data:``.

    Raises:
        BadInput: as the study would.
    """
    space = root.parent / "space.yaml"
    space.write_text(SPACE)
    told = io.StringIO()
    progress = Progress(told, live=False, quiet=False)
    keys = [Override(f"data.{key}", value) for key, value in section.items()]
    options = RunOptions(str(space), root / "none", data, root)  # type: ignore[arg-type]
    spec, size = spec_of(options, keys)
    progress.note(size)
    plan = make_plan(spec.data, data, root)
    study = prepare_data(spec, plan, progress)
    test = open_test(study.plan)
    return Reading(study, test, told.getvalue())


def save_rest(root: Path, *, id_set: bool = True, outliers: bool = True) -> Path:
    """What a whole study needs beside the set that a test is about."""
    if id_set:
        numbers = {kind: label for label, kind in enumerate(KINDS)}
        for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
            table = class_table(count, numbers, seed=seed)
            save_table(root / "id" / f"{split}.parquet", table, KINDS)
    if outliers:
        save_pictures(root / "outliers" / "objects_train", 4, seed=10)
    save_pictures(root / "ood_val" / "scenes", 4, seed=11)
    save_pictures(root / "ood_test" / "textures", 4, seed=12)
    return root
