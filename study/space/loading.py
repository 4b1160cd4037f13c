"""A space, read and checked as a whole: YAML -> ``StudySpec``, or every fault in one message."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from study.errors import BadInput, Fault
from study.options import Override
from study.recipes.params import TrialParams
from study.recipes.registry import RECIPES
from study.records.words import todays_words, with_first_defaults
from study.space.ablation.section import Ablation, read_ablation
from study.space.checks import bases, extras, model, selection, sets, together, tune
from study.space.checks.arms import check_arms
from study.space.checks.case import DEFAULT_ROOT, Case, Check, run
from study.space.defaults import with_defaults
from study.space.reading.fields import elsewhere, read_section
from study.space.reading.overrides import apply_overrides
from study.space.reading.places import FaultList, Places, nearest
from study.space.reading.sections import SECTIONS
from study.space.reading.yamlfile import Document, KeyPath, read
from study.space.search.search import Searched, read_search, split_name
from study.space.smoke import shrink
from study.space.study_spec import StudySpec

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"
_KEYS = ("recipe", "data", "model", "base", "train", "search", "ablate", "tune", "select")
# In this order: a check leaves alone what one before it has told.
_CHECKS: tuple[Check, ...] = (
    *bases.BEFORE_THE_MODEL,
    *model.CHECKS,
    *bases.AFTER_THE_MODEL,
    *selection.CHECKS,
    *sets.CHECKS,
    *tune.CHECKS,
    *extras.CHECKS,
    *together.CHECKS,
    tune.epochs,
)
# Keys of `tune` that a file says for its own search -> what an option must not change for them.
_OF_ITS_OWN: dict[str, set[KeyPath]] = {
    "first": {("search",), ("ablate",), ("tune", "searcher")},
    "finish": {("ablate",), ("tune", "scheduler")},
}
_NOT_FOR_ABLATIONS = {
    ("tune", "searcher"): (
        "nothing is searched: an ablation runs every arm at every seed",
        "Take it out.",
    ),
    ("tune", "num_trials"): (
        "an ablation has as many trials as arms times seeds{count}",
        "Take it out; ablate.seeds and ablate.factors make the number.",
    ),
    ("tune", "seed"): (
        "an ablation's trials take their seeds from ablate.seeds",
        "Take it out, or set them there (--set ablate.seeds=[0,1]).",
    ),
    ("select", "confirm"): (
        "an ablation trains every arm on several seeds already and selects none by luck",
        "Take it out; see ablate.seeds.",
    ),
}


def space_path(name_or_path: str) -> Path:
    """The file of a space given by its name in ``search_spaces/`` or by a path.

    Raises:
        BadInput: if there is no such space.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    names = sorted(file.stem for file in SPACES.glob("*.yaml"))
    if name_or_path in names:
        return SPACES / f"{name_or_path}.yaml"
    way_out = f"{nearest(name_or_path, names)} A file of your own is given by its path, x.yaml."
    raise BadInput(Fault("--space", "", "no space has this name", way_out, name_or_path))


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
    path, root = space_path(name_or_path), data_root or DEFAULT_ROOT
    document = read(path, _shown(path))
    faults = _begin(document)
    data = document.value
    fixed = apply_overrides(data, overrides, faults)
    _leave_out(data, fixed)
    spec = _with_whole_paths(_build(data, faults, root, begins=True))
    if not smoke:
        return spec
    small = shrink(spec.resolved(), fixed, type(spec.params))
    shrunk = _build(small, FaultList(Places("--smoke")), root, begins=True)
    return replace(shrunk, places=spec.places)


def _with_whole_paths(spec: StudySpec) -> StudySpec:
    """Files that trials read mean the same wherever the study goes on, is tested or replayed."""
    named = {name: getattr(spec.params, name) for name in spec.params.files}
    whole = {name: str(Path(file).absolute()) for name, file in named.items() if file is not None}
    return replace(spec, params=spec.params.model_copy(update=whole)) if whole else spec


def _leave_out(data: dict[str, Any], fixed: Iterable[KeyPath]) -> None:
    """Take out what the file says for its own search, where an option changed that."""
    changed = {path[:length] for path in fixed for length in (1, 2)}
    tune = data.get("tune")
    for key, hangs_on in _OF_ITS_OWN.items():
        if isinstance(tune, dict) and ("tune", key) not in changed and changed & hangs_on:
            tune.pop(key, None)


def load_resolved(path: Path) -> StudySpec:
    """Read the ``spec.yaml`` of a run; files that it names need not be there any more.

    Raises:
        BadInput: if it is not what ``StudySpec.dump`` writes.
    """
    document = read(path)
    told = with_first_defaults(document.value)
    return _build(told, _begin(document), DEFAULT_ROOT, begins=False)


def _begin(document: Document) -> FaultList:
    places = Places(document.place, dict(document.lines))
    return FaultList(places, list(document.faults), document.misread)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _build(data: dict[str, Any], faults: FaultList, root: Path, *, begins: bool) -> StudySpec:
    """The spec, or `BadInput` with every fault."""
    data = todays_words(data)
    for key, value in data.items():
        if key not in _KEYS:
            way_out = elsewhere(key, _KEYS)
            faults.add((key,), "a space has no such section", way_out, value)
    recipe = _recipe(data, faults)
    parts: dict[str, Any] = {
        name: read_section(section, data.get(name, {}), (name,), faults)
        for name, section in SECTIONS.items()
    }
    if recipe is None:
        faults.stop()
        raise AssertionError("a space without a recipe has a fault")
    params = read_section(recipe, data.get("train", {}), ("train",), faults)
    search, ablate = _trials(data, recipe, faults)
    _fixed_and_searched(data, search, faults)
    own_base = parts.pop("base")
    spec = StudySpec(
        recipe.name, own_base=own_base, params=params, search=search, ablate=ablate, **parts
    )
    spec = replace(with_defaults(spec, ablates="ablate" in data), places=faults.places)
    case = Case(spec, faults, data.keys(), root, begins)
    run(_CHECKS, case)
    check_arms(case)
    faults.stop()
    return spec


def _recipe(data: dict[str, Any], faults: FaultList) -> type[TrialParams] | None:
    if "recipe" not in data:
        way_out = f"Write `recipe: energy` at the top; there are {', '.join(RECIPES)}."
        faults.add(("recipe",), "a space names its recipe", way_out)
        return None
    name = data["recipe"]
    recipe = RECIPES.get(name) if isinstance(name, str) else None
    if recipe is None:
        faults.add(("recipe",), "no recipe has this name", nearest(str(name), RECIPES), name)
    return recipe


def _trials(
    data: dict[str, Any], recipe: type[TrialParams], faults: FaultList
) -> tuple[dict[str, Searched], Ablation | None]:
    """What makes trials differ: the section ``search``, or ``ablate`` in its place."""
    if "ablate" not in data:
        return read_search(data.get("search"), recipe, faults), None
    if "search" in data:
        given = data["ablate"]
        keys = list(given)[:1] if isinstance(given, dict) else []
        path = ("ablate",) if ("ablate",) in faults.places.lines else ("ablate", *keys)
        way_out = "Take one out; what was searched is fixed in `train` for an ablation."
        faults.add(path, "a space has `search` or `ablate`, and this one has both", way_out)
        return {}, None
    ablate = read_ablation(data["ablate"], recipe, faults)
    count = f", here {ablate.counted} = {ablate.num_trials}" if ablate is not None else ""
    for (section, key), (rule, way_out) in _NOT_FOR_ABLATIONS.items():
        given = data[section].get(key) if isinstance(data.get(section), dict) else None
        if given is not None:
            faults.add((section, key), rule.format(count=count), way_out, given)
    return {}, ablate


def _fixed_and_searched(
    data: dict[str, Any], search: dict[str, Searched], faults: FaultList
) -> None:
    for name in search:
        section, key = split_name(name)
        given = data.get(section)
        if isinstance(given, dict) and key in given:
            rule = f"the parameter is fixed in `{section}` and searched in `search`"
            way_out = f"Take one of the two out (--set search.{name}=null ends the search)."
            faults.add((section, key), rule, way_out, given[key])
