"""The section ``ablate``: which factors an ablation varies, by which design, at which seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from study.recipes.params import TrialParams
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
from study.space.ablation.retune import read_retune
from study.space.ablation.section import Ablation
from study.space.ablation.stop import read_stop
from study.space.reading.fields import check_value, plain_field
from study.space.reading.places import (
    FaultList,
    Problem,
    given_problem,
    is_whole,
    nearest,
    unknown_keys,
    wrong,
)
from study.space.reading.yamlfile import KeyPath
from study.space.search.search import ablatable, known_section, not_searchable, split_name

MAX_ARMS = 1024
MAX_TRIALS = 100_000
_KEYS = ("design", "seeds", "factors", "resolution", "stop", "retune")
_PATH: KeyPath = ("ablate",)
_FORM = "For example reconstruction: [l1, huber], or no_reversal: {without: {reversal: none}}."


def read_ablation(raw: Any, recipe: type[TrialParams], faults: FaultList) -> Ablation | None:
    """The section, each value of each level valid for its parameter.

    Args:
        raw: what the YAML has under ``ablate``.
        recipe: the parameters of the recipe.
        faults: takes every fault.

    Returns:
        The ablation without the levels that have a fault; None where nothing is left of it.
    """
    if not isinstance(raw, dict):
        way_out = f"Write its keys below `ablate:`, indented: {', '.join(_KEYS[:3])}."
        faults.add(_PATH, "a section is a mapping of keys", way_out, raw)
        return None
    faults.take(unknown_keys(raw, _KEYS, "ablate"), _PATH)
    design: Design | None = None
    with faults.gathering(_PATH):
        design = _design(raw)
    wrong_seeds = dict(_wrong_seeds(raw))
    faults.take(wrong_seeds.values(), _PATH)
    listed = raw["seeds"] if isinstance(raw.get("seeds"), list) else []
    seeds = [seed for i, seed in enumerate(listed) if i not in wrong_seeds]
    factors = _factors(raw, recipe, faults)
    stop = read_stop(raw.get("stop"), design, len(seeds), faults)
    stops = raw.get("stop") is not None
    retune = read_retune(raw.get("retune"), recipe, seeds, factors, faults, stops=stops)
    if design is None:
        return None
    faults.take(_wrong_factors(design, factors, raw, faults))
    resolution: Resolution | None = None
    with faults.gathering((*_PATH, "resolution")):
        resolution = _resolution(raw, design, len(factors))
    if not factors:
        return None
    runs = len(seeds) + (retune.num_trials if retune else 0)
    too_many = list(_too_many(num_arms(design, factors, resolution or 3), runs, design))
    faults.take(too_many, _PATH)
    if too_many:
        return None
    return Ablation(design, tuple(seeds), tuple(factors), resolution, stop, retune)


def _design(raw: Mapping[str, Any]) -> Design:
    if "design" not in raw:
        way_out = f"Write design: one_at_a_time; there are {', '.join(DESIGNS)}."
        raise wrong("an ablation names its design", way_out, at=("design",))
    name: Design = raw["design"]
    if name not in DESIGNS:
        rule = f"must be one of {', '.join(DESIGNS)}"
        raise wrong(rule, nearest(str(name), DESIGNS), name, ("design",))
    return name


def _wrong_seeds(raw: Mapping[str, Any]) -> Iterator[tuple[int, Problem]]:
    """Position -> what is wrong there; of the whole list at -1."""
    seeds = raw.get("seeds")
    if not isinstance(seeds, list) or not seeds:
        rule = "an ablation lists the seeds that all arms share"
        way_out = "Write seeds: [0, 1, 2]; effects need two or more."
        yield -1, given_problem(raw, "seeds", rule, way_out)
        return
    good = set()
    for i, seed in enumerate(seeds):
        if not is_whole(seed) or not 0 <= seed < 2**63:
            rule = "a seed is a whole number from 0 to 2^63 - 1"
            yield i, Problem(("seeds", i), rule, "Write [0, 1, 2].", seed)
        elif seed in good:
            rule = "each seed is listed once: a trial again would be the same to the last bit"
            yield i, Problem(("seeds", i), rule, "Take it out, or write another number.", seed)
        else:
            good.add(seed)


def _factors(raw: Mapping[str, Any], recipe: type[TrialParams], faults: FaultList) -> list[Factor]:
    factors = raw.get("factors")
    if not isinstance(factors, dict) or not factors:
        rule = "an ablation has at least one factor"
        faults.take([given_problem(raw, "factors", rule, _FORM)], _PATH)
        return []
    found = []
    for name, levels in factors.items():
        with faults.gathering((*_PATH, "factors", name)):
            factor = _Factor(name, recipe, faults).read(levels)
            if factor.levels:
                found.append(factor)
    return found


class _Factor:
    """Reads the levels of one factor; a level with a fault is left out."""

    def __init__(self, name: str, recipe: type[TrialParams], faults: FaultList) -> None:
        self.name, self.known, self.faults = name, ablatable(recipe), faults
        self.path: KeyPath = (*_PATH, "factors", name)

    def read(self, raw: Any) -> Factor:
        named = self.name not in self.known
        if not named and not isinstance(raw, list):
            rule = "a factor named after a parameter lists the levels beside the baseline's"
            way_out = f"Write {self.name}: [value]; with several parameters give it another name."
            raise wrong(rule, way_out, raw)
        if named and not isinstance(raw, dict):
            rule, way_out = not_searchable(self.name, self.known)
            raise wrong(rule, f"{way_out} {_FORM}", raw)
        if named:
            _check_name(self.name)
        if not raw:
            rule = "a factor has at least one level beside the baseline's"
            raise wrong(rule, f"Add one, or take the factor out. {_FORM}", raw)
        levels = self.named(raw) if named else self.listed(raw)
        return Factor(self.name, tuple(levels), named)

    def listed(self, raw: Sequence[Any]) -> list[Level]:
        levels: list[Level] = []
        for i, value in enumerate(raw):
            with self.faults.gathering((*self.path, i)):
                checked = self.checked(self.name, value)
                if any(level.settings[self.name] == checked for level in levels):
                    raise wrong("a factor lists each level once", "Take it out.", value)
                levels.append(Level(level_name(checked), {self.name: checked}, i))
        return levels

    def named(self, raw: Mapping[str, Any]) -> list[Level]:
        levels = []
        for name, settings in raw.items():
            with self.faults.gathering((*self.path, name)):
                _check_name(name)
                if not isinstance(settings, dict) or not settings:
                    rule = "a level says which parameters it sets"
                    way_out = "Write for example {without: {reversal: none}}."
                    raise wrong(rule, way_out, settings)
                found = {}
                for parameter, value in settings.items():
                    with self.faults.gathering((*self.path, name, parameter)):
                        found[parameter] = self.checked(parameter, value)
                if found:
                    levels.append(Level(name, found))
        return levels

    def checked(self, parameter: str, value: Any) -> Any:
        """The value in the YAML's form."""
        section, field = known_section(parameter, self.known, value), split_name(parameter)[1]
        return plain_field(check_value(section, field, value), field)


def _check_name(name: str) -> None:
    if name != name.strip() or not name or JOINT.strip() in name or IS in name:
        rule = f"arms are named factor{IS}level, joined by {JOINT.strip()!r}: a name has neither"
        raise wrong(f"{rule} sign", "Use letters, digits and underscores.")


def _wrong_factors(
    design: Design, factors: Sequence[Factor], raw: Mapping[str, Any], faults: FaultList
) -> Iterator[Problem]:
    """Factors that the design cannot take."""
    for factor in factors if design in ONE_LEVEL else ():
        path = (*_PATH, "factors", factor.name)
        if len(factor.levels) > 1 and not faults.under(path):
            rule = f"design {design} takes exactly one level a factor, and here are"
            way_out = "Keep one, or use design: one_at_a_time or factorial."
            value = raw["factors"][factor.name]
            yield Problem(path, f"{rule} {len(factor.levels)}", way_out, value)
    path = (*_PATH, "factors")
    few = design == "fractional_factorial" and len(factors) < LEAST_FRACTIONAL
    if few and not faults.under(path):
        rule = f"design {design} needs {LEAST_FRACTIONAL} factors or more, not {len(factors)}"
        yield Problem(path, rule, "Add a factor, or use design: factorial or one_at_a_time.")


def _resolution(raw: Mapping[str, Any], design: Design, num_factors: int) -> Resolution | None:
    asked = raw.get("resolution", 3)
    if design != "fractional_factorial":
        if "resolution" in raw:
            rule = f"has no effect with design: {design}"
            raise wrong(rule, "Take it out, or use fractional_factorial.", asked)
        return None
    if isinstance(asked, bool) or asked not in (3, 4):
        rule = "the resolution of a fractional factorial is 3 or 4"
        way_out = "4 keeps main effects clear of interactions of two factors; 3 needs fewer arms."
        raise wrong(rule, way_out, asked)
    return reached_resolution(max(num_factors, LEAST_FRACTIONAL), 4 if asked == 4 else 3)


def _too_many(arms: int, runs: int, design: Design) -> Iterator[Problem]:
    if arms > MAX_ARMS:
        rule = f"{design} of these factors has {arms:,} arms, more than {MAX_ARMS:,}"
        yield Problem(("factors",), rule, "Take factors out, or use fractional_factorial.")
    elif arms * runs > MAX_TRIALS:
        rule = f"{arms:,} arms at {runs:,} seeds are more than {MAX_TRIALS:,} trials"
        yield Problem(("seeds",), rule, "List fewer seeds, or tune less.")
