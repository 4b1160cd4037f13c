"""What few studies need is installed on demand: the extras of ``pyproject.toml``, by module."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from study.errors import BadInput, Fault

EXTRAS: Final = {
    "captum": "saliency",
    "cmaes": "cmaes",
    "mlflow": "mlflow",
    "pytorch_ood": "detectors",
    "timm": "nets",
    "wandb": "wandb",
}
"""Module -> the extra that installs it."""


def way_to(module: str) -> str:
    """How a module is installed, as a sentence."""
    extra = EXTRAS.get(module)
    return f"pip install 'ood-study[{extra}]'." if extra else f"Install {module}."


def is_there(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a folder of that name is no package


def needed(module: str, part: str = "") -> Any:
    """A module of an extra, or one below it, imported.

    Args:
        module: its top name, such as ``captum``.
        part: what is wanted of it, such as ``captum.attr``; by default itself.

    Raises:
        BadInput: naming the extra, where it is not installed.
    """
    if not is_there(module):
        raise BadInput(Fault(module, "", "is needed here and not installed", way_to(module)))
    return import_module(part or module)
