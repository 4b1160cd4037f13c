"""The section ``ablate``: which factors an ablation varies, by which design, at which seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from study.recipes.catalog import RecipeInfo
from study.space.ablation.designs import (
    DESIGNS,
    IS,
    JOINT,
    LEAST_FRACTIONAL,
    ONE_LEVEL,
    Design,
    Factor,
    Level,
    Resolution,
    level_name,
    num_arms,
    reached_resolution,
)
from study.space.ablation.retune_reading import read_retune
from study.space.ablation.section import Ablation
from study.space.ablation.stop import read_stop
from study.space.reading.fields import check_value
from study.space.reading.places import FaultList, nearest
from study.space.reading.yamlfile import KeyPath
from study.space.search.search import ablatable, not_searchable

MAX_ARMS = 1024
MAX_TRIALS = 100_000
_KEYS = ("design", "seeds", "factors", "resolution", "stop", "retune")
_PATH: KeyPath = ("ablate",)
_FACTORS: KeyPath = ("ablate", "factors")
_FORM = "For example reconstruction: [l1, huber], or no_reversal: {without: {reversal: none}}."
_NOT_FOR_ABLATIONS = {
    "searcher": "nothing is searched: an ablation runs every arm at every seed",
    "num_trials": "an ablation has as many trials as arms times seeds{count}",
    "seed": "an ablation's trials take their seeds from ablate.seeds",
}


def read_ablation(raw: Any, info: RecipeInfo, faults: FaultList) -> Ablation | None:
    """The section, each value of each level valid for its parameter.

    Args:
        raw: what the YAML has under ``ablate``.
        info: the recipe.
        faults: takes every fault.

    Returns:
        The ablation without the levels that have a fault; None where nothing is left of it.
    """
    if not isinstance(raw, dict):
        way_out = f"Write its keys below `ablate:`, indented: {', '.join(_KEYS[:3])}."
        faults.add(_PATH, "a section is a mapping of keys", way_out, raw)
        return None
    faults.add_unknown(_PATH, raw, _KEYS)
    design = _design(raw, faults)
    seeds = _seeds(raw, faults)
    factors = _factors(raw, info, faults)
    stop = read_stop(raw.get("stop"), design, len(seeds), faults)
    stops = raw.get("stop") is not None
    retune = read_retune(raw.get("retune"), info, seeds, factors, faults, stops=stops)
    if design is None:
        return None
    _one_level(design, raw, factors, faults)
    _few_factors(design, factors, faults)
    resolution = _resolution(raw, design, factors, faults)
    runs = len(seeds) + (retune.num_trials if retune else 0)
    if not factors or not _few_arms(design, factors, resolution or 3, runs, faults):
        return None
    return Ablation(design, tuple(seeds), tuple(factors), resolution, stop, retune)


def check_tune(tune: Any, ablation: Ablation | None, faults: FaultList) -> None:
    """Keys of the section ``tune`` that an ablation has no use for.

    Args:
        tune: the section as read.
        ablation: for the number of its trials; None where it has faults.
        faults: takes every fault.
    """
    given = tune if isinstance(tune, dict) else {}
    count = ""
    if ablation is not None:
        count = f", here {counted(ablation)} = {ablation.num_trials}"
    way_outs = {"num_trials": "Take it out; ablate.seeds and ablate.factors make the number."}
    way_outs["seed"] = "Take it out, or set them there (--set ablate.seeds=[0,1])."
    for key, rule in _NOT_FOR_ABLATIONS.items():
        if key in given:
            way_out = way_outs.get(key, "Take it out.")
            faults.add(("tune", key), rule.format(count=count), way_out, given[key])


def counted(ablation: Ablation) -> str:
    """How the number of trials comes about: ``4 x 3``, or ``4 x (3 + 8 tuning)``."""
    runs = f"{len(ablation.seeds)}"
    if ablation.retune is not None:
        runs = f"({runs} + {ablation.retune.num_trials} tuning)"
    return f"{len(ablation.arms)} x {runs}"


def _design(raw: Mapping[str, Any], faults: FaultList) -> Design | None:
    path = (*_PATH, "design")
    if "design" not in raw:
        way_out = f"Write design: one_at_a_time; there are {', '.join(DESIGNS)}."
        faults.add(path, "an ablation names its design", way_out)
        return None
    name = raw["design"]
    if name not in DESIGNS:
        rule = f"must be one of {', '.join(DESIGNS)}"
        faults.add(path, rule, nearest(str(name), DESIGNS), name)
        return None
    return cast(Design, name)


def _seeds(raw: Mapping[str, Any], faults: FaultList) -> list[int]:
    path = (*_PATH, "seeds")
    seeds = raw.get("seeds")
    if not isinstance(seeds, list) or not seeds:
        rule = "an ablation lists the seeds that all arms share"
        shown = [seeds] if "seeds" in raw else []
        faults.add(path, rule, "Write seeds: [0, 1, 2]; effects need two or more.", *shown)
        return []
    good: list[int] = []
    for i, seed in enumerate(seeds):
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            rule = "a seed is a whole number from 0 to 2^63 - 1"
            faults.add((*path, i), rule, "Write [0, 1, 2].", seed)
        elif seed in good:
            rule = "each seed is listed once: a trial again would be the same to the last bit"
            faults.add((*path, i), rule, "Take it out, or write another number.", seed)
        else:
            good.append(seed)
    return good


def _factors(raw: Mapping[str, Any], info: RecipeInfo, faults: FaultList) -> list[Factor]:
    factors = raw.get("factors")
    if not isinstance(factors, dict) or not factors:
        shown = [factors] if "factors" in raw else []
        faults.add(_FACTORS, "an ablation has at least one factor", _FORM, *shown)
        return []
    found = []
    for name, levels in factors.items():
        factor = _factor(name, levels, info, faults)
        if factor is not None:
            found.append(factor)
    return found


def _factor(name: str, raw: Any, info: RecipeInfo, faults: FaultList) -> Factor | None:
    path, known = (*_FACTORS, name), ablatable(info)
    if name in known:
        if not isinstance(raw, list):
            rule = "a factor named after a parameter lists the levels beside the baseline's"
            way_out = f"Write {name}: [value]; with several parameters give it another name."
            faults.add(path, rule, way_out, raw)
            return None
        levels = _listed(name, raw, info, path, faults)
    elif not isinstance(raw, dict):
        rule, way_out = not_searchable(name, known)
        faults.add(path, rule, f"{way_out} {_FORM}", raw)
        return None
    elif not _good_name(name, path, faults):
        return None
    else:
        levels = _named(raw, info, path, faults)
    if not raw:
        rule = "a factor has at least one level beside the baseline's"
        faults.add(path, rule, f"Add one, or take the factor out. {_FORM}", raw)
    return Factor(name, tuple(levels), name not in known) if levels else None


def _good_name(name: str, path: KeyPath, faults: FaultList) -> bool:
    if name and name == name.strip() and JOINT.strip() not in name and IS not in name:
        return True
    rule = f"arms are named factor{IS}level, joined by {JOINT.strip()!r}: a name has neither sign"
    faults.add(path, rule, "Use letters, digits and underscores.")
    return False


def _listed(
    name: str, raw: Sequence[Any], info: RecipeInfo, path: KeyPath, faults: FaultList
) -> list[Level]:
    levels: list[Level] = []
    for i, value in enumerate(raw):
        checked = _checked(name, value, info, (*path, i), faults)
        if checked is None:
            continue
        if any(level.settings[name] == checked[0] for level in levels):
            faults.add((*path, i), "a factor lists each level once", "Take it out.", value)
            continue
        levels.append(Level(level_name(checked[0]), {name: checked[0]}, i))
    return levels


def _named(
    raw: Mapping[str, Any], info: RecipeInfo, path: KeyPath, faults: FaultList
) -> list[Level]:
    levels = []
    for name, settings in raw.items():
        here = (*path, name)
        if not _good_name(name, here, faults):
            continue
        if not isinstance(settings, dict) or not settings:
            rule = "a level says which parameters it sets"
            faults.add(here, rule, "Write for example {without: {reversal: none}}.", settings)
            continue
        level = _settings(settings, info, here, faults)
        if level:
            levels.append(Level(name, level))
    return levels


def _settings(
    raw: Mapping[str, Any], info: RecipeInfo, path: KeyPath, faults: FaultList
) -> dict[str, Any]:
    known, found = ablatable(info), {}
    for parameter, value in raw.items():
        here = (*path, parameter)
        if parameter not in known:
            rule, way_out = not_searchable(parameter, known)
            faults.add(here, rule, way_out, value)
            continue
        checked = _checked(parameter, value, info, here, faults)
        if checked is not None:
            found[parameter] = checked[0]
    return found


def _checked(
    parameter: str, value: Any, info: RecipeInfo, path: KeyPath, faults: FaultList
) -> tuple[Any] | None:
    """The value in the YAML's form, alone in a tuple since it may be None; None for a fault."""
    section, field = ablatable(info)[parameter]
    good, typed = check_value(section, field, value, path, faults)
    if not good:
        return None
    return (section.model_construct(**{field: typed}).model_dump(include={field})[field],)


def _one_level(
    design: Design, raw: Mapping[str, Any], factors: Sequence[Factor], faults: FaultList
) -> None:
    if design not in ONE_LEVEL:
        return
    for factor in factors:
        path = (*_FACTORS, factor.name)
        if len(factor.levels) > 1 and not faults.under(path):
            rule = f"design {design} takes exactly one level a factor, and here are"
            way_out = "Keep one, or use design: one_at_a_time or factorial."
            value = raw["factors"][factor.name]
            faults.add(path, f"{rule} {len(factor.levels)}", way_out, value)


def _few_factors(design: Design, factors: Sequence[Factor], faults: FaultList) -> None:
    few = design == "fractional_factorial" and len(factors) < LEAST_FRACTIONAL
    if few and not faults.under(_FACTORS):
        rule = f"design {design} needs {LEAST_FRACTIONAL} factors or more, not {len(factors)}"
        way_out = "Add a factor, or use design: factorial or one_at_a_time."
        faults.add(_FACTORS, rule, way_out)


def _resolution(
    raw: Mapping[str, Any], design: Design, factors: Sequence[Factor], faults: FaultList
) -> Resolution | None:
    path = (*_PATH, "resolution")
    asked = raw.get("resolution", 3)
    if design != "fractional_factorial":
        if "resolution" in raw:
            rule = f"has no effect with design: {design}"
            faults.add(path, rule, "Take it out, or use fractional_factorial.", asked)
        return None
    if isinstance(asked, bool) or asked not in (3, 4):
        rule = "the resolution of a fractional factorial is 3 or 4"
        way_out = "4 keeps main effects clear of interactions of two factors; 3 needs fewer arms."
        faults.add(path, rule, way_out, asked)
        return None
    return reached_resolution(max(len(factors), LEAST_FRACTIONAL), cast(Resolution, asked))


def _few_arms(
    design: Design,
    factors: Sequence[Factor],
    resolution: Resolution,
    num_runs: int,
    faults: FaultList,
) -> bool:
    arms = num_arms(design, factors, resolution)
    if arms > MAX_ARMS:
        rule = f"{design} of these factors has {arms:,} arms, more than {MAX_ARMS:,}"
        faults.add(_FACTORS, rule, "Take factors out, or use fractional_factorial.")
    elif arms * num_runs > MAX_TRIALS:
        rule = f"{arms:,} arms at {num_runs:,} seeds are more than {MAX_TRIALS:,} trials"
        faults.add((*_PATH, "seeds"), rule, "List fewer seeds, or tune less.")
    return arms <= MAX_ARMS and arms * num_runs <= MAX_TRIALS
