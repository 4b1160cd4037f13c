"""Names of classes in a text beside a set whose labels are numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from study.data.texts import text_lines
from study.errors import BadInput, Fault


def class_list(path: Path, labels: npt.NDArray[np.int64]) -> list[str]:
    """The names that ``STEM_classes.txt`` or ``classes.txt`` beside ``path`` gives the labels.

    None where there is no such file.

    Raises:
        BadInput: where it is no text, names a class twice, or has no name for a label.
    """
    places = (path.with_name(f"{path.stem}_classes.txt"), path.with_name("classes.txt"))
    beside = next((place for place in places if place.is_file()), None)
    if beside is None:
        return []
    lines = text_lines(beside, "text", "Write it as UTF-8.")
    names = [line.strip() for line in lines if line.strip()]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        rule = f"names class '{twice}' twice"
        raise BadInput(Fault(str(beside), "", rule, "Give each class a name of its own."))
    if labels.size and (int(labels.max()) >= len(names) or int(labels.min()) < -1):
        rule = f"names {len(names)} classes for labels {labels.min()} .. {labels.max()}"
        raise BadInput(Fault(str(beside), "", rule, "Name each class on a line, label 0 first."))
    return names
