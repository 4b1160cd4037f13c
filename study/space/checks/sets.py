"""The names of data sets in a space: known, each in one role, and of use to the recipe."""

from __future__ import annotations

from collections.abc import Iterator

from study.data.file_formats import public_sets, set_name
from study.data.names import AUTO, DEMO_SETS, ID_SETS, OPENOOD_SETS, SYNTHETIC_SETS
from study.data.walk import entries
from study.space.ablation.section import HOLD_OUT
from study.space.checks.case import Case, Check
from study.space.reading.places import Problem, nearest
from study.space.reading.yamlfile import KeyPath
from study.terminal import typed_path

_ROLES = ("outliers", "ood_val", "ood_test")
_NAMED = {*DEMO_SETS, *OPENOOD_SETS}


def _id_set(case: Case) -> Iterator[Problem]:
    name, known = case.spec.data.id, (AUTO, *ID_SETS)
    if case.begins and name not in known and not _exists(name):
        rule = "no ID set has this name, and no file or folder has this path"
        yield Problem(("data", "id"), rule, nearest(name, known), name)


def _outliers_of_use(case: Case) -> Iterator[Problem]:
    data = case.spec.data
    for key, value, default in (
        ("outliers", data.outliers, AUTO),
        ("outlier_id_classes", data.outlier_id_classes, "refuse"),
    ):
        if not case.spec.params.needs_outliers and value != default:
            rule = f"recipe {case.spec.params.name} trains on no outliers, so this has no effect"
            yield Problem(("data", key), rule, "Take it out.", value)


def _roles(case: Case) -> Iterator[Problem]:
    data = case.spec.data
    seen: dict[str, str] = {} if data.id == AUTO else {data.id: "id"}
    for role in _ROLES:
        names = getattr(data, role)
        for i, name in enumerate(names if isinstance(names, list) else ()):
            path: KeyPath = ("data", role, i)
            if name == AUTO:
                rule = "auto stands alone, not in a list"
                yield Problem(path, rule, f"Write {role}: auto.", name)
                continue
            known = _meant(case, name, role)
            if known in seen:
                rule = "the set is also in this list before"
                if seen[known] != role:
                    other = f"data.{seen[known]}"
                    rule = f"the set is also in {other}; one set in two roles invalidates results"
                yield Problem(path, rule, "Pick another set for one of the roles.", name)
            seen.setdefault(known, role)
            yield from _of_role(case, name, role, path)


def _hold_outs(case: Case) -> Iterator[Problem]:
    levels = case.spec.ablate.hold_outs if case.spec.ablate else ()
    path: KeyPath = ("ablate", "factors", HOLD_OUT)
    own = case.spec.data.hold_out
    if own in levels:
        rule = "these classes are the baseline's, which data.hold_out names"
        yield Problem((*path, levels.index(own)), rule, "Take the level out.", own.plain())
    elif len(levels) == 1 and own is None and not case.faults.under(path):
        rule = "one level is not compared with any other, and data.hold_out names none"
        yield Problem(path, rule, "List another, or write this one in data.hold_out.")


def _meant(case: Case, name: str, role: str) -> str:
    """A key of the set that a name means: two roles may have sets of one name, each its own."""
    looked_in = (role, *_ROLES) if case.begins and name not in _NAMED else ()
    having = next((one for one in looked_in if name in _names_in(case, one)), None)
    if having:
        return f"{having}/{name}"
    return name.lower() if name.lower() in public_sets() else name


def _names_in(case: Case, role: str) -> list[str]:
    """Of the sets that lie in the folder of a role."""
    return [set_name(entry) for entry in entries(case.root / role)]


def _of_role(case: Case, name: str, role: str, path: KeyPath) -> Iterator[Problem]:
    if name in SYNTHETIC_SETS:
        if role != "ood_val":
            rule = "synthetic sets are made from validation images: they serve ood_val only"
            yield Problem(path, rule, "Move it to ood_val, or name another set.", name)
        return
    if not case.begins or name.lower() in public_sets() or name in _NAMED:
        return
    own = [one for folder in _ROLES for one in _names_in(case, folder)]
    if name in own or _exists(name) or _exists(str(case.root / name)):
        return
    if name in ID_SETS:
        rule = "this is an ID set, and no folder has this path"
        yield Problem(path, rule, "Name a set outside the distribution.", name)
        return
    known = (*public_sets(), *(SYNTHETIC_SETS if role == "ood_val" else ()), *own)
    rule = "no set has this name, and no file or folder has this path"
    way_out = f"{nearest(name, known)} With --data-root DIR the names of its files are known too."
    yield Problem(path, rule, way_out, name)


def _exists(name: str) -> bool:
    return len(name) < 4096 and typed_path(name).exists()


CHECKS: tuple[Check, ...] = (_id_set, _outliers_of_use, _roles, _hold_outs)
