"""A space, read and checked as a whole: YAML -> ``StudySpec``, or every fault in one message."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from study.domains import Domain, MarginSearch
from study.errors import BadInput, Fault
from study.fields import elsewhere, read_section
from study.overrides import Override, apply_overrides
from study.places import FaultList, Places, nearest
from study.recipes.catalog import RECIPE_INFOS, RecipeInfo, get_recipe_info
from study.recipes.params import Section
from study.search import Search, read_search
from study.sections import (
    SECTIONS,
    BaseSection,
    DataSection,
    Floor,
    ModelSection,
    SelectSection,
    TuneSection,
)
from study.smoke import shrink
from study.spec_check import check_sections, check_together
from study.yamlfile import Document, dump, read

__all__ = [
    "BaseSection",
    "DataSection",
    "Domain",
    "Floor",
    "MarginSearch",
    "ModelSection",
    "Override",
    "SelectSection",
    "StudySpec",
    "TuneSection",
    "load_resolved",
    "load_space",
    "space_name",
    "space_path",
]

SPACES = Path(__file__).resolve().parent.parent / "search_spaces"
_KEYS = ("recipe", "data", "model", "base", "train", "search", "tune", "select")
DEFAULT_FLOOR = Floor("below_base", 0.01)


@dataclass(frozen=True)
class StudySpec:
    """A validated study.

    Attributes:
        recipe: name of the recipe.
        data: section ``data``.
        model: section ``model``.
        base: section ``base``; None where no base is trained.
        train: every parameter of the recipe that is fixed, in the YAML's form, defaults included.
        search: searched parameters as the YAML names them (``lr``, ``model.dropout``).
        tune: section ``tune``.
        select: section ``select``.
        places: where each value came from, for the messages of later checks.
    """

    recipe: str
    data: DataSection
    model: ModelSection
    base: BaseSection | None
    train: dict[str, Any]
    search: dict[str, Search]
    tune: TuneSection
    select: SelectSection
    places: Places = field(compare=False, repr=False, default_factory=lambda: Places("spec.yaml"))

    @property
    def info(self) -> RecipeInfo:
        """What is known of the recipe without building it."""
        return get_recipe_info(self.recipe)

    def resolved(self) -> dict[str, Any]:
        """Plain data with every default written out; ``load_resolved`` of its dump equals this."""
        model = self.model.model_dump()
        for name in self.search:
            if name.startswith("model."):
                del model[name.removeprefix("model.")]
        plain: dict[str, Any] = {
            "recipe": self.recipe,
            "data": self.data.model_dump(),
            "model": model,
            "base": None if self.base is None else self.base.model_dump(),
            "train": copy.deepcopy(self.train),
            "search": {name: domain.plain() for name, domain in self.search.items()},
            "tune": self.tune.model_dump(),
            "select": self.select.model_dump(),
        }
        return {key: value for key, value in plain.items() if value is not None}

    def dump(self) -> str:
        """The resolved spec as YAML."""
        return dump(self.resolved())


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
    search = read_search(data.get("search"), info, faults)
    _fixed_and_searched(data, search, faults)
    _defaults(data, values, info, search)
    check_sections(data, values, info, search, faults, root, check_paths=check_paths)
    check_together(values, info, search, faults)
    if faults.faults:
        return None
    return _assemble(data, values, info, search, faults.places)


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
) -> None:
    """Defaults that depend on the rest of the spec."""
    model, base, select = values["model"], values["base"], values["select"]
    model.setdefault("init", "cifar10" if info.needs_base else "random")
    if base.get("dropout") is None and "model.dropout" not in search:
        base["dropout"] = model.get("dropout", ModelSection.model_fields["dropout"].default)
    relative = info.needs_base and model["init"] == "cifar10"
    given = data.get("select", {})
    if isinstance(given, dict) and "floor" not in given and relative:
        select["floor"] = DEFAULT_FLOOR


def _assemble(
    data: dict[str, Any],
    values: dict[str, dict[str, Any]],
    info: RecipeInfo,
    search: dict[str, Search],
    places: Places,
) -> StudySpec:
    own_base = info.needs_base and values["model"]["init"] == "cifar10"
    train = _fixed(info.params, values["train"], search)
    return StudySpec(
        recipe=str(data["recipe"]),
        data=DataSection(**values["data"]),
        model=ModelSection(**values["model"]),
        base=BaseSection(**values["base"]) if own_base else None,
        train=train,
        search=search,
        tune=TuneSection(**values["tune"]),
        select=SelectSection(**values["select"]),
        places=places,
    )


def _fixed(
    params: type[Section], given: dict[str, Any], search: dict[str, Search]
) -> dict[str, Any]:
    """Every parameter that is not searched, defaults included, in the YAML's form."""
    full = {name: info.default for name, info in params.model_fields.items()} | given
    plain = params.model_construct(**full).model_dump()
    return {name: plain[name] for name in params.model_fields if name not in search}
