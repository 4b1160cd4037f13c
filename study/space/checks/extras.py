"""What a space uses and what is not installed, or not there: told before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from study.detectors.catalog import CATALOG
from study.extras import is_there, way_to
from study.literals import Declaration
from study.models.names import DECLARED
from study.searchers.catalog import searchers
from study.space.checks.case import Case, Check, is_file
from study.space.reading.places import Problem
from study.space.reading.yamlfile import KeyPath


def _declared(case: Case) -> Iterator[Problem]:
    spec = case.spec
    used: list[tuple[str, list[Any], Mapping[str, Declaration]]] = [
        ("model.backbone", spec.values_of("model.backbone"), DECLARED),
        ("tune.searcher", [spec.tune.searcher], searchers()),
    ]
    fields = type(spec.params).model_fields
    if "detector" in fields:
        used.append(("detector", spec.values_of("detector"), CATALOG))
    if "detectors" in fields:
        chosen = [one for names in spec.values_of("detectors") for one in names]
        used.append(("detectors", chosen, CATALOG))
    for name, values, declarations in used:
        for value in dict.fromkeys(values):
            declared = declarations.get(value)
            path = ("tune", "searcher") if name == "tune.searcher" else spec.path_of(name)
            for module in declared.requires if declared else ():
                if not is_there(module):
                    yield _missing(path, f"{value} needs {module}", module, value)


def _panels(case: Case) -> Iterator[Problem]:
    params = case.spec.params
    asked = getattr(params, "panel_epochs", [])
    if asked and not is_there("captum"):
        yield _missing(("train", "panel_epochs"), "panels need captum", "captum", asked)


def _files(case: Case) -> Iterator[Problem]:
    for name in sorted(case.spec.params.files) if case.begins else ():
        for value in dict.fromkeys(case.spec.values_of(name)):
            if value is not None and not is_file(value):
                path = case.spec.path_of(name)
                yield Problem(path, "there is no such file", "Check the path.", value)


def _missing(path: KeyPath, need: str, module: str, value: object) -> Problem:
    return Problem(path, f"{need}, which is not installed", way_to(module), value)


CHECKS: tuple[Check, ...] = (_declared, _panels, _files)
