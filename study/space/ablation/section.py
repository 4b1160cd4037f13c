"""The section ``ablate`` of a space: a design at its seeds, its trials, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from study.data.section import DataSection, HoldOut
from study.recipes.params import TrialParams
from study.space.ablation.designs import (
    DESIGNS,
    IS,
    JOINT,
    LEAST_FRACTIONAL,
    ONE_LEVEL,
    Arm,
    Design,
    Factor,
    Level,
    Resolution,
    level_name,
    make_arms,
    num_arms,
    reached_resolution,
)
from study.space.ablation.retune import Retune, read_retune
from study.space.ablation.stop import StopRule, read_stop
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

ARM, SEED = "arm", "seed"  # the names under which a trial's point has them
RETUNE = "retune"  # and, where arms are re-tuned, the number of the tuning point
DEFAULT = "default"  # in its place: what `train` says
HOLD_OUT = "data.hold_out"  # a factor without arms: every arm is run under each of its levels
_NETWORK = ("model.stem", "model.normalisation", "model.image_size")
MAX_ARMS = 1024
MAX_TRIALS = 100_000
_KEYS = ("design", "seeds", "factors", "resolution", "stop", "retune")
_PATH: KeyPath = ("ablate",)
_HOLD_OUT_FORM = f"Write {HOLD_OUT}: [{{near_val: [beagle], near_test: [pug]}}]."
_FORM = "For example reconstruction: [l1, huber], or no_reversal: {without: {reversal: none}}."


@dataclass(frozen=True)
class Ablation:
    """The section ``ablate`` of a space.

    Attributes:
        design: which arms there are.
        seeds: shared by all arms: trials of one seed share their random streams.
        factors: in the order of the YAML, which is the order of a path.
        stop: the rule by which clearly worse arms end early; None for none.
        retune: the tuning that every arm gets before it is measured; None for none.
        hold_outs: classes to hold out of the ID set beside ``data.hold_out``'s; the arms are run
            under each, on its own data and base. They make no arms and count in no number here.
        resolution: of a fractional factorial, None for other designs. 3: main effects are mixed
            up with interactions of two factors; 4: only with those of three.
    """

    design: Design
    seeds: tuple[int, ...]
    factors: tuple[Factor, ...]
    resolution: Resolution | None = None
    stop: StopRule | None = None
    retune: Retune | None = None
    hold_outs: tuple[HoldOut, ...] = ()

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm once, the baseline first."""
        return make_arms(self.design, self.factors, self.resolution or 3)

    @cached_property
    def _by_name(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.arms}

    @property
    def num_tuning(self) -> int:
        """Number of tuning trials, which come before all others."""
        return len(self.arms) * self.retune.num_trials if self.retune is not None else 0

    @property
    def num_trials(self) -> int:
        """Number of trials: arms times seeds, and those that tune."""
        return self.num_tuning + len(self.arms) * len(self.seeds)

    def points(self) -> list[dict[str, Any]]:
        """Arm and seed of every trial: all arms at the first seed first.

        Where arms are re-tuned, the tuning trials come first, all arms at the first point before
        the second; of the others the best point is not known yet and stands as the default.
        """
        if self.retune is None:
            return [{ARM: arm.name, SEED: seed} for seed in self.seeds for arm in self.arms]
        runs = [(self.retune.seed, number) for number in range(self.retune.num_trials)]
        return [
            {ARM: arm.name, SEED: seed, RETUNE: number}
            for seed, number in [*runs, *((seed, DEFAULT) for seed in self.seeds)]
            for arm in self.arms
        ]

    def settings(self, point: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a trial's point sets: by its arm, and by its tuning point where it has one."""
        arm = self._by_name[str(point[ARM])]
        number = point.get(RETUNE, DEFAULT)
        if self.retune is None or number == DEFAULT:
            return arm.settings
        return {**arm.settings, **self.retune.points[number]}

    @property
    def counted(self) -> str:
        """How the number of trials comes about: ``4 x 3``, or ``4 x (3 + 8 tuning)``."""
        runs = f"{len(self.seeds)}"
        if self.retune is not None:
            runs = f"({runs} + {self.retune.num_trials} tuning)"
        return f"{len(self.arms)} x {runs}"

    def levels(self) -> Iterator[tuple[Factor, Level]]:
        """Every level with its factor."""
        return ((factor, level) for factor in self.factors for level in factor.levels)

    def set_at(self, parameter: str) -> list[tuple[Any, KeyPath]]:
        """Every value that a level gives a parameter, and where it does."""
        return [
            (level.settings[parameter], factor.path(level, parameter))
            for factor, level in self.levels()
            if parameter in level.settings
        ]

    def of_base(self) -> list[tuple[KeyPath, str]]:
        """Where levels change the base that their arms start from, and which parameter each does.

        Of the network that is what a base has with the trials that start from it.
        """
        return [
            (factor.path(level, name), name)
            for factor, level in self.levels()
            for name in level.settings
            if name.startswith("base.") or name in _NETWORK
        ]

    def values(self, parameter: str) -> list[Any]:
        """Every value that some level or tuning point gives a parameter, each once."""
        settings = [level.settings for _, level in self.levels()]
        settings += [] if self.retune is None else self.retune.points
        found = [one[parameter] for one in settings if parameter in one]
        return [value for i, value in enumerate(found) if value not in found[:i]]

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        held_out = {HOLD_OUT: [one.plain() for one in self.hold_outs]} if self.hold_outs else {}
        plain = {
            "design": self.design,
            "resolution": self.resolution,
            "stop": None if self.stop is None else self.stop.model_dump(),
            "retune": None if self.retune is None else self.retune.plain(),
            "seeds": list(self.seeds),
            "factors": {factor.name: factor.plain() for factor in self.factors} | held_out,
        }
        return {key: value for key, value in plain.items() if value is not None}


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
    seeds = _seeds(raw, faults)
    factors = _factors(raw, recipe, faults)
    hold_outs = _hold_outs(raw, faults)
    stop = read_stop(raw.get("stop"), design, len(seeds), faults)
    stops = raw.get("stop") is not None
    retune = read_retune(raw.get("retune"), recipe, seeds, factors, faults, stops=stops)
    if design is None:
        return None
    faults.take(_wrong_factors(design, factors, raw, faults))
    resolution: Resolution | None = None
    with faults.gathering((*_PATH, "resolution")):
        resolution = _resolution(raw, design, len(factors))
    if not factors and not hold_outs:
        return None
    runs = len(seeds) + (retune.num_trials if retune else 0)
    too_many = list(_too_many(num_arms(design, factors, resolution or 3), runs, design))
    faults.take(too_many, _PATH)
    if too_many:
        return None
    return Ablation(
        design, tuple(seeds), tuple(factors), resolution, stop, retune, tuple(hold_outs)
    )


def _design(raw: Mapping[str, Any]) -> Design:
    if "design" not in raw:
        way_out = f"Write design: one_at_a_time; there are {', '.join(DESIGNS)}."
        raise wrong("an ablation names its design", way_out, at=("design",))
    name: Design = raw["design"]
    if name not in DESIGNS:
        rule = f"must be one of {', '.join(DESIGNS)}"
        raise wrong(rule, nearest(str(name), DESIGNS), name, ("design",))
    return name


def _seeds(raw: Mapping[str, Any], faults: FaultList) -> list[int]:
    """Those without a fault."""
    seeds = raw.get("seeds")
    if not isinstance(seeds, list) or not seeds:
        rule = "an ablation lists the seeds that all arms share"
        way_out = "Write seeds: [0, 1, 2]; effects need two or more."
        faults.take([given_problem(raw, "seeds", rule, way_out)], _PATH)
        return []
    good: list[int] = []
    for i, seed in enumerate(seeds):
        with faults.gathering((*_PATH, "seeds", i)):
            if not is_whole(seed) or not 0 <= seed < 2**63:
                raise wrong(
                    "a seed is a whole number from 0 to 2^63 - 1", "Write [0, 1, 2].", seed
                )
            if seed in good:
                rule = "each seed is listed once: a trial again would be the same to the last bit"
                raise wrong(rule, "Take it out, or write another number.", seed)
            good.append(seed)
    return good


def _factors(raw: Mapping[str, Any], recipe: type[TrialParams], faults: FaultList) -> list[Factor]:
    factors = raw.get("factors")
    if not isinstance(factors, dict) or not factors:
        rule = "an ablation has at least one factor"
        faults.take([given_problem(raw, "factors", rule, _FORM)], _PATH)
        return []
    found = []
    for name, levels in factors.items():
        if name == HOLD_OUT:
            continue
        with faults.gathering((*_PATH, "factors", name)):
            factor = _Factor(name, recipe, faults).read(levels)
            if factor.levels:
                found.append(factor)
    return found


def _hold_outs(raw: Mapping[str, Any], faults: FaultList) -> list[HoldOut]:
    """The levels of ``data.hold_out`` without a fault."""
    factors = raw.get("factors")
    if not isinstance(factors, dict) or HOLD_OUT not in factors:
        return []
    path, levels = (*_PATH, "factors", HOLD_OUT), factors[HOLD_OUT]
    if not isinstance(levels, list) or not levels:
        rule = "a factor named after a parameter lists the levels beside the baseline's"
        faults.add(path, rule, _HOLD_OUT_FORM, levels)
        return []
    good: list[HoldOut] = []
    for i, level in enumerate(levels):
        with faults.gathering((*path, i)):
            held = check_value(DataSection, "hold_out", level).hold_out
            if held is None:
                raise wrong("a level says which classes it holds out", _HOLD_OUT_FORM, level)
            if held in good:
                raise wrong("a factor lists each level once", "Take it out.", level)
            good.append(held)
    return good


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
