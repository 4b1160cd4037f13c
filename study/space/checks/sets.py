"""The names of data sets in a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from study.errors import BadInput
from study.recipes.catalog import RecipeInfo
from study.space.checks.arms import values_of
from study.space.reading.places import FaultList, nearest
from study.space.reading.yamlfile import KeyPath
from study.space.study_spec import StudySpec

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
    seen: dict[str, str] = {} if id_set == AUTO else {str(id_set): "id"}
    for role in _ROLES:
        names = section.get(role, AUTO)
        for i, name in enumerate(names if isinstance(names, list) else ()):
            path: KeyPath = ("data", role, i)
            if name == AUTO:
                faults.add(path, "auto stands alone, not in a list", f"Write {role}: auto.", name)
                continue
            known = name.lower() if name.lower() in EXTERNAL_SETS else name
            if known in seen:
                rule = "the set is also in this list before"
                if seen[known] != role:
                    other = f"data.{seen[known]}"
                    rule = f"the set is also in {other}; one set in two roles invalidates results"
                faults.add(path, rule, "Pick another set for one of the roles.", name)
            seen.setdefault(known, role)
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
    if name in ID_SETS:
        rule = "this is an ID set, and no folder has this path"
        faults.add(path, rule, "Name a set outside the distribution.", name)
        return
    known = (*EXTERNAL_SETS, *(SYNTHETIC_SETS if role == "ood_val" else ()), *own)
    rule = "no set has this name, and no file or folder has this path"
    way_out = f"{nearest(name, known)} With --data-root DIR the names of its files are known too."
    faults.add(path, rule, way_out, name)


def check_outlier_weights(spec: StudySpec, names: Sequence[str]) -> None:
    """Every ``outlier_weights`` of a study against the outlier sets that were found.

    Args:
        spec: the study.
        names: of the sets, in order.

    Raises:
        BadInput: where the weights do not name each of several sets once.
    """
    given: list[tuple[Any, KeyPath]]
    given = [(spec.train.get("outlier_weights"), ("train", "outlier_weights"))]
    given += values_of("outlier_weights", spec.ablate) if spec.ablate else []
    told = f"the sets are {', '.join(names)}" if len(names) > 1 else "there is one set alone"
    rule = f"each of several outlier sets has one weight, and {told}"
    faults = FaultList(spec.places)
    for weights, path in given:
        if weights is not None and (len(names) < 2 or set(weights) != set(names)):
            way_out = "Name each of them once, or take outlier_weights out."
            faults.add(path, rule, way_out, weights)
    if faults.faults:
        raise BadInput(faults.faults)


def _exists(name: str) -> bool:
    return len(name) < 4096 and Path(name).expanduser().exists()


def _names_in(root: Path) -> list[str]:
    return [entry.stem for role in _ROLES for entry in sorted((root / role).glob("[!.]*"))]
