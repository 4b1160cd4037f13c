"""Where ``study`` and ``analysis`` of this project are, and that they are the ones imported."""

from __future__ import annotations

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
NAMES = ("study", "analysis")


class NameTaken(ImportError):
    """Another module has the name of one of this project's packages already."""


def claim_names() -> None:
    """Let ``study`` and ``analysis`` mean this project's, here and in processes started later.

    Raises:
        NameTaken: where another module of that name was imported before; says which, and what
            to do.
    """
    for name in NAMES:
        taken = sys.modules.get(name)
        file = getattr(taken, "__file__", None)
        if taken is not None and (file is None or HOME / name not in Path(file).resolve().parents):
            told = f"the name {name} is taken by {file or 'a module without a file'}"
            way_out = "Import ood_study before it, or rename it."
            raise NameTaken(f"{told}, and ood-study needs it for itself. {way_out}")
    if any(_found_elsewhere(name) for name in NAMES):
        sys.path.insert(0, str(HOME))


def _found_elsewhere(name: str) -> bool:
    """Whether a folder that is looked into before this project's has a module of that name."""
    for entry in sys.path:
        folder = Path(entry or ".").resolve()
        if folder == HOME:
            return False
        if (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists():
            return True
    return True  # the project's folder is in no path: it was loaded by its file
