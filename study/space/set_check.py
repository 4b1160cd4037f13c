"""The names of data sets in a space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.data.names import (
    AUTO,
    DEMO_SETS,
    EXTERNAL_SETS,
    ID_SETS,
    OPENOOD_SETS,
    SYNTHETIC_SETS,
)
from study.recipes.catalog import RecipeInfo
from study.space.places import FaultList, nearest
from study.space.yamlfile import KeyPath

_ROLES = ("outliers", "ood_val", "ood_test")
_NAMED = {*DEMO_SETS, *OPENOOD_SETS}
DEFAULT_ROOT = Path("data")  # as `study.data.plan` has it


def check_sets(
    section: Mapping[str, Any],
    info: RecipeInfo,
    faults: FaultList,
    root: Path | None = None,
    *,
    check_paths: bool = True,
) -> None:
    """Names of sets: known, each in one role, and of use to the recipe.

    Args:
        section: good values of the section ``data``.
        info: the recipe.
        faults: takes every fault.
        root: the data folder; its sets are known by their file names.
        check_paths: whether files that the section names must exist.
    """
    id_set = section.get("id", AUTO)
    if check_paths and id_set not in (AUTO, *ID_SETS) and not _exists(id_set):
        known = nearest(id_set, (AUTO, *ID_SETS))
        rule = "no ID set has this name, and no file or folder has this path"
        faults.add(("data", "id"), rule, known, id_set)
    for key, default in (("outliers", AUTO), ("outlier_id_classes", "refuse")):
        if not info.needs_outliers and section.get(key, default) != default:
            rule = f"recipe {info.name} trains on no outliers, so this has no effect"
            faults.add(("data", key), rule, "Take it out.", section[key])
    seen: dict[str, str] = {str(id_set): "id"}
    for role in _ROLES:
        names = section.get(role, AUTO)
        for i, name in enumerate(names if isinstance(names, list) else ()):
            path: KeyPath = ("data", role, i)
            if name in seen:
                rule = "the set is also in this list before"
                if seen[name] != role:
                    other = f"data.{seen[name]}"
                    rule = f"the set is also in {other}; one set in two roles invalidates results"
                faults.add(path, rule, "Pick another set for one of the roles.", name)
            seen.setdefault(name, role)
            _set_name(name, role, path, faults, root or DEFAULT_ROOT, check_paths=check_paths)


def _set_name(
    name: str,
    role: str,
    path: KeyPath,
    faults: FaultList,
    root: Path,
    *,
    check_paths: bool,
) -> None:
    if name in SYNTHETIC_SETS:
        if role != "ood_val":
            rule = "synthetic sets are made from validation images: they serve ood_val only"
            faults.add(path, rule, "Move it to ood_val, or name another set.", name)
        return
    if not check_paths or name.lower() in EXTERNAL_SETS or name in _NAMED:
        return
    own = _names_in(root)
    if name in own or _exists(name) or _exists(str(root / name)):
        return
    known = (*EXTERNAL_SETS, *(SYNTHETIC_SETS if role == "ood_val" else ()), *own)
    rule = "no set has this name, and no file or folder has this path"
    way_out = f"{nearest(name, known)} With --data-root DIR the names of its files are known too."
    faults.add(path, rule, way_out, name)


def _exists(name: str) -> bool:
    return len(name) < 4096 and Path(name).expanduser().exists()


def _names_in(root: Path) -> list[str]:
    return [entry.stem for role in _ROLES for entry in sorted((root / role).glob("[!.]*"))]
