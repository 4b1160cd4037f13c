"""The section ``ablate`` of a space: a design at its seeds, and the trials that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from study.space.ablation.designs import Arm, Design, Factor, Level, Resolution, make_arms
from study.space.ablation.retune import Retune
from study.space.ablation.stop import StopRule
from study.space.reading.yamlfile import KeyPath

ARM, SEED = "arm", "seed"  # the names under which a trial's point has them
RETUNE = "retune"  # and, where arms are re-tuned, the number of the tuning point
DEFAULT = "default"  # in its place: what `train` says
_NETWORK = ("model.stem", "model.normalisation", "model.image_size")


@dataclass(frozen=True)
class Ablation:
    """The section ``ablate`` of a space.

    Attributes:
        design: which arms there are.
        seeds: shared by all arms: trials of one seed share their random streams.
        factors: in the order of the YAML, which is the order of a path.
        stop: the rule by which clearly worse arms end early; None for none.
        retune: the tuning that every arm gets before it is measured; None for none.
        resolution: of a fractional factorial, None for other designs. 3: main effects are mixed
            up with interactions of two factors; 4: only with those of three.
    """

    design: Design
    seeds: tuple[int, ...]
    factors: tuple[Factor, ...]
    resolution: Resolution | None = None
    stop: StopRule | None = None
    retune: Retune | None = None

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm once, the baseline first."""
        return make_arms(self.design, self.factors, self.resolution or 3)

    def arm(self, name: str) -> Arm:
        """The arm of this name (KeyError if there is none)."""
        return self._by_name[name]

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
        arm = self.arm(str(point[ARM]))
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
        plain = {
            "design": self.design,
            "resolution": self.resolution,
            "stop": None if self.stop is None else self.stop.model_dump(),
            "retune": None if self.retune is None else self.retune.plain(),
            "seeds": list(self.seeds),
            "factors": {factor.name: factor.plain() for factor in self.factors},
        }
        return {key: value for key, value in plain.items() if value is not None}
