"""Folders of the user's own that no run's folder holds: the cache, what the machine remembers."""

from __future__ import annotations

import os
from pathlib import Path

from study.errors import BadInput, Fault


def own_folder(variable: str, below_home: str) -> Path:
    """The folder that an environment variable names, or one below the user's home.

    It may not exist yet. A relative one means the same in processes that are started elsewhere.

    Raises:
        BadInput: where the user has no home and the variable is not set.
    """
    named = os.environ.get(variable, "").strip()
    try:
        folder = (Path(named).expanduser() if named else Path.home() / below_home).absolute()
    except RuntimeError:  # a user without a name, as in a container
        rule = "there is no home folder to keep files in"
        way_out = f"Set {variable} (or HOME) to a folder that can be written."
        raise BadInput(Fault(variable, "", rule, way_out)) from None
    if named:
        os.environ[variable] = str(folder)
    return folder
