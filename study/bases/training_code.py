"""Which code decides a base's weights: what its training imports, found by reading it.

A base in the cache is of its spec, its data and this code. The code is followed from import to
import, also those inside functions, so that no list of files can miss one; comments, docstrings
and the breaks of lines are no part of it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from study.models.registry import source_file
from study.plugins import file_of_module

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "study.bases.training"
PROBING = "study.training.linear"
STARTING = "study.bases.initial"
NO_WEIGHT = (
    "study.bases.training_code",
    "study.contents",
    "study.data.decode",
    "study.declared",  # values stand in the key themselves, here and in the next two
    "study.recipes.classifier_params",
    "study.section",
    "study.detectors",
    "study.errors",
    "study.literals",
    "study.locks",
    "study.recipes.trial_detectors",
    "study.plugins",  # a backbone's own is read in its place
    "study.records",
    "study.scoring",
    "study.training.chosen",
    "study.training.evaluation",
    "study.watch",
)
"""What a base's training imports and what changes none of its weights: it scores, tells, keeps or
chooses. What these import is not followed either."""


def code_version(backbone: str, *, probes: bool = False, starts: bool = False) -> str:
    """Hash of the code that decides what training of ``backbone`` computes.

    Another backbone's file is no part of it, so that adding one trains no base anew.

    Args:
        backbone: name in the registry.
        probes: whether the last layer alone is trained.
        starts: whether training starts from another network or from weights that are given.
    """
    return hash_of(training_modules(backbone, probes=probes, starts=starts))


def training_modules(
    backbone: str, *, probes: bool = False, starts: bool = False, root: Path = ROOT
) -> list[str]:
    """Names of the modules whose code decides; arguments as of `code_version`."""
    waiting = [TRAINING, f"study.models.{source_file(backbone).stem}"]
    waiting += [STARTING] if starts else []
    left_out = NO_WEIGHT if probes else (*NO_WEIGHT, PROBING)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and not any(f"{name}.".startswith(f"{one}.") for one in left_out):
            found.add(name)
            waiting += _read(name, root)[1]
    return sorted(found)


def hash_of(modules: Sequence[str], root: Path = ROOT) -> str:
    """SHA-256 of the code of these modules."""
    lines = [f"{name} {_read(name, root)[0]}" for name in modules]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@cache  # a process asks for the key of every base more than once
def _read(name: str, root: Path) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's code, and the modules of the project that it imports."""
    tree = ast.parse(_file(name, root).read_text(encoding="utf-8"))
    imported = {one for one in _imports(tree) if one.startswith("study.")}
    known = tuple(one for one in imported if _file(one, root).exists())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and _documented(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), known


def _file(name: str, root: Path) -> Path:
    if plugin := file_of_module(name):
        return plugin
    path = root.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all imports; the project has no relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            # "from a import b" may mean the module a.b
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    first = node.body[0] if node.body else None
    text = first.value if isinstance(first, ast.Expr) else None
    return isinstance(text, ast.Constant) and isinstance(text.value, str)
