"""A space, read and checked as a whole: YAML -> ``StudySpec``, or every fault in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.data.section import DataSection
from study.errors import BadInput, Fault
from study.recipes.catalog import RECIPE_INFOS, RecipeInfo
from study.records.words import todays_words
from study.section import Section
from study.space.ablation.reading import check_tune, read_ablation
from study.space.ablation.section import Ablation
from study.space.checks.arms import check_arms
from study.space.checks.bases import check_backbone, check_bases, sets_base, trains_base
from study.space.checks.together import check_arm, check_sections, check_together
from study.space.reading.fields import elsewhere, read_section
from study.space.reading.overrides import Override, apply_overrides
from study.space.reading.places import FaultList, Places, nearest
from study.space.reading.sections import (
    SECTIONS,
    BaseSection,
    Floor,
    ModelSection,
    SelectSection,
    TuneSection,
)
from study.space.reading.yamlfile import Document, read
from study.space.search.search import Search, read_search
from study.space.smoke import shrink
from study.space.study_spec import StudySpec

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
_KEYS = ("recipe", "data", "model", "base", "train", "search", "ablate", "tune", "select")
DEFAULT_FLOOR = Floor("below_base", 0.01)


def space_path(name_or_path: str) -> Path:
    """The file of a space given by its name in ``search_spaces/`` or by a path.

    Raises:
        BadInput: if there is no such space.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    shipped = SPACES / f"{name_or_path}.yaml"
    names = sorted(file.stem for file in SPACES.glob("*.yaml"))
    if name_or_path in names:
        return shipped
    way_out = f"{nearest(name_or_path, names)} A file of your own is given by its path, x.yaml."
    raise BadInput(Fault("--space", "", "no space has this name", way_out, name_or_path))


def space_name(name_or_path: str) -> str:
    """The name of a space, for the folder of its runs: the stem of its file."""
    return Path(name_or_path).stem or name_or_path


def load_space(
    name_or_path: str,
    overrides: Iterable[str | Override] = (),
    smoke: bool = False,
    data_root: Path | None = None,
) -> StudySpec:
    """Read and check a space.

    Args:
        name_or_path: name of a shipped space, or path of a YAML file.
        overrides: ``SECTION.KEY=VALUE`` texts and ``Override``s, laid over the file.
        smoke: shrink whatever the overrides do not set, so that the study ends in a minute.
        data_root: folder whose sets may be named in ``data`` by their file names; by default
            ``data`` in the working directory.

    Returns:
        The spec.

    Raises:
        BadInput: with every fault of the file and of the overrides.
    """
    path = space_path(name_or_path)
    document = read(path, _shown(path))
    faults = _begin(document)
    data = document.value
    fixed = apply_overrides(data, overrides, faults)
    spec = _finish(_build(data, faults, data_root, check_paths=True), faults)
    if not smoke:
        return spec
    small = shrink(spec.resolved(), fixed, spec.info.params)
    faults = FaultList(Places("--smoke"))
    shrunk = _finish(_build(small, faults, data_root, check_paths=True), faults)
    return replace(shrunk, places=spec.places)


def load_resolved(path: Path) -> StudySpec:
    """Read the ``spec.yaml`` of a run; files that it names need not be there any more.

    Raises:
        BadInput: if it is not what ``StudySpec.dump`` writes.
    """
    document = read(path)
    faults = _begin(document)
    return _finish(_build(document.value, faults, None, check_paths=False), faults)


def _begin(document: Document) -> FaultList:
    places = Places(document.place, dict(document.lines))
    return FaultList(places, list(document.faults), document.misread)


def _finish(spec: StudySpec | None, faults: FaultList) -> StudySpec:
    if faults.faults:
        order = sorted(faults.faults, key=lambda fault: (fault.line is None, fault.line or 0))
        raise BadInput(list(dict.fromkeys(order)) if _hashable(order) else order)
    if spec is None:
        raise AssertionError("a space without faults is a spec")
    return spec


def _hashable(faults: Sequence[Fault]) -> bool:
    return all(not isinstance(fault.value, list | dict) for fault in faults)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _build(
    data: dict[str, Any], faults: FaultList, root: Path | None, *, check_paths: bool
) -> StudySpec | None:
    """The spec, or None where ``faults`` says why there is none."""
    data = todays_words(data)
    for key, value in data.items():
        if key not in _KEYS:
            way_out = elsewhere(key, dict.fromkeys(_KEYS))
            faults.add((key,), "a space has no such section", way_out, value)
    info = _recipe(data, faults)
    values: dict[str, dict[str, Any]] = {}
    for name, section in SECTIONS.items():
        values[name] = read_section(section, data.get(name, {}), (name,), faults) or {}
    if info is None:
        return None
    values["train"] = read_section(info.params, data.get("train", {}), ("train",), faults) or {}
    search, ablate = _trials(data, info, faults)
    _fixed_and_searched(data, search, faults)
    own_base = _defaults(data, values, info, search, ablate)
    if own_base and not faults.under(("model", "init")):
        check_backbone(values, search, ablate, faults)
    if not faults.under(("model", "init")):
        check_bases(values, ablate, faults, own_base=own_base)
    check_sections(
        data, values, info, search, faults, root, own_base=own_base, check_paths=check_paths
    )
    check_together(values, info, search, faults, effects=ablate is None)
    if ablate is not None:

        def check(arm: dict[str, dict[str, Any]], into: FaultList) -> None:
            check_arm(arm, info, into, own_base=own_base, check_paths=check_paths)

        check_arms(ablate, values, info, faults, check)
    if faults.faults:
        return None
    return _assemble(data, values, info, search, ablate, faults.places, own_base)


def _trials(
    data: dict[str, Any], info: RecipeInfo, faults: FaultList
) -> tuple[dict[str, Search], Ablation | None]:
    """What makes trials differ: the section ``search``, or ``ablate`` in its place."""
    if "ablate" not in data:
        return read_search(data.get("search"), info, faults), None
    if "search" in data:
        given = data["ablate"]
        keys = list(given)[:1] if isinstance(given, dict) else []
        path = ("ablate",) if ("ablate",) in faults.places.lines else ("ablate", *keys)
        way_out = "Take one out; what was searched is fixed in `train` for an ablation."
        faults.add(path, "a space has `search` or `ablate`, and this one has both", way_out)
        return {}, None
    ablate = read_ablation(data["ablate"], info, faults)
    check_tune(data.get("tune"), ablate, faults)
    select = data.get("select")
    if isinstance(select, dict) and select.get("confirm") is not None:
        rule = "an ablation trains every arm on several seeds already and selects none by luck"
        faults.add(
            ("select", "confirm"), rule, "Take it out; see ablate.seeds.", select["confirm"]
        )
    return {}, ablate


def _recipe(data: dict[str, Any], faults: FaultList) -> RecipeInfo | None:
    if "recipe" not in data:
        way_out = f"Write `recipe: energy` at the top; there are {', '.join(RECIPE_INFOS)}."
        faults.add(("recipe",), "a space names its recipe", way_out)
        return None
    name = data["recipe"]
    info = RECIPE_INFOS.get(name) if isinstance(name, str) else None
    if info is None:
        faults.add(("recipe",), "no recipe has this name", nearest(str(name), RECIPE_INFOS), name)
    return info


def _fixed_and_searched(
    data: dict[str, Any], search: dict[str, Search], faults: FaultList
) -> None:
    for name in search:
        section, key = ("model", name[6:]) if name.startswith("model.") else ("train", name)
        given = data.get(section)
        if isinstance(given, dict) and key in given:
            rule = f"the parameter is fixed in `{section}` and searched in `search`"
            way_out = f"Take one of the two out (--set search.{name}=null ends the search)."
            faults.add((section, key), rule, way_out, given[key])


def _defaults(
    data: dict[str, Any],
    values: dict[str, dict[str, Any]],
    info: RecipeInfo,
    search: dict[str, Search],
    ablate: Ablation | None,
) -> bool:
    """Fill in defaults that depend on the rest of the spec; whether the study trains a base."""
    model, base, select = values["model"], values["base"], values["select"]
    model.setdefault("init", "random" if info.base == "none" else "base")
    own_base = trains_base(values, info, search, ablate)
    if "ablate" in data:  # equal budgets: a pair of trials of which one was stopped is no pair
        values["tune"].setdefault("scheduler", "none")
    if values["tune"].get("objectives") is not None:  # none of them alone tells the worse trial
        values["tune"].setdefault("scheduler", "none")
    if base.get("dropout") is None and "model.dropout" not in search:
        base["dropout"] = model.get("dropout", ModelSection.model_fields["dropout"].default)
    given = data.get("select", {})
    relative = own_base and model["init"] == "base" and not sets_base(ablate)
    if isinstance(given, dict) and "floor" not in given and relative:
        select["floor"] = DEFAULT_FLOOR
    return own_base


def _assemble(
    data: dict[str, Any],
    values: dict[str, dict[str, Any]],
    info: RecipeInfo,
    search: dict[str, Search],
    ablate: Ablation | None,
    places: Places,
    own_base: bool,
) -> StudySpec:
    train = _fixed(info.params, values["train"], search)
    if ablate is not None:  # its trials are enumerated like a grid's points
        values["tune"] |= {"searcher": "grid", "num_trials": ablate.num_trials}
    return StudySpec(
        recipe=str(data["recipe"]),
        data=DataSection(**values["data"]),
        model=ModelSection(**values["model"]),
        base=BaseSection(**values["base"]) if own_base else None,
        train=train,
        search=search,
        tune=TuneSection(**values["tune"]),
        select=SelectSection(**values["select"]),
        ablate=ablate,
        places=places,
    )


def _fixed(
    params: type[Section], given: dict[str, Any], search: dict[str, Search]
) -> dict[str, Any]:
    """Every parameter that is not searched, defaults included, in the YAML's form."""
    defaults = {name: info.default for name, info in params.model_fields.items()}
    plain = params.model_construct(**defaults | given).model_dump()
    unwritten: frozenset[str] = getattr(params, "unwritten", frozenset())
    left_out = {name for name in unwritten if plain[name] == defaults[name]}
    return {name: plain[name] for name in params.model_fields if name not in {*search, *left_out}}
