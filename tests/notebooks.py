"""Executes a notebook of analysis/notebooks as a reader does: a kernel of its own, in order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.conftest import PROJECT

FOLDER = PROJECT / "analysis" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
_LIMIT_S = 120  # a cell; on a quiet machine a whole notebook takes some ten seconds


def executed(name: str, folders: Mapping[str, Path], patch: pytest.MonkeyPatch) -> NotebookNode:
    """The notebook with outputs; a cell that may fail, by its tag, does not end it."""
    for variable, folder in folders.items():
        patch.setenv(variable, str(folder))
    # A checkout need not be installed, and the kernel is a process of its own.
    patch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    client = NotebookClient(
        notebook, timeout=_LIMIT_S, kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
    )  # fmt: skip
    return client.execute()


def problems(notebook: NotebookNode) -> list[tuple[str, str]]:
    """(class, what the reader sees) of every cell that ended with an exception."""
    return [
        (output.ename, "\n".join(output.traceback))
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]


def pictures(notebook: NotebookNode) -> int:
    """How many figures the reader sees."""
    outputs = (one for cell in notebook.cells for one in cell.get("outputs", ()))
    return sum("image/png" in one.get("data", {}) for one in outputs)
