"""Ablation designs: factors and their levels -> arms. Pure: knows no recipe, file or table.

The baseline is what a space's ``train:`` and ``model:`` say; a level changes one parameter or
several of them; an arm is a set of levels, one a factor at most; a trial is an arm at a seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from study.space.reading.yamlfile import KeyPath

Design = Literal[
    "leave_one_out", "add_one", "one_at_a_time", "factorial", "fractional_factorial", "path"
]
Resolution = Literal[3, 4]
DESIGNS: tuple[Design, ...] = get_args(Design)
ONE_LEVEL: tuple[Design, ...] = ("leave_one_out", "add_one", "fractional_factorial", "path")
"""Designs in which each factor has exactly one level beside the baseline's."""
COMBINING: tuple[Design, ...] = ("factorial", "fractional_factorial", "path")
"""Designs with arms that change several factors at once."""
BASELINE = "baseline"
JOINT, IS = " + ", "="
LEAST_FRACTIONAL = 3  # factors: with two, the fraction of a factorial is all of it


@dataclass(frozen=True)
class Level:
    """One value of a factor beside the baseline's.

    Attributes:
        name: as arms are named by it.
        settings: parameter, as ``search`` names it -> value in the YAML's form.
        position: in the factor's list of the YAML, for messages.
    """

    name: str
    settings: Mapping[str, Any]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Factor:
    """What an ablation varies.

    Attributes:
        name: of a parameter, or any name where the levels set several.
        levels: at least one; the baseline's is not among them.
        named: whether levels have names of their own.
    """

    name: str
    levels: tuple[Level, ...]
    named: bool

    def path(self, level: Level, parameter: str) -> KeyPath:
        """Where a level sets a parameter."""
        if self.named:
            return ("ablate", "factors", self.name, level.name, parameter)
        return ("ablate", "factors", self.name, level.position)

    def plain(self) -> dict[str, Any] | list[Any]:
        """The form of the YAML."""
        if self.named:
            return {level.name: dict(level.settings) for level in self.levels}
        return [level.settings[self.name] for level in self.levels]


@dataclass(frozen=True)
class Arm:
    """What is trained beside the others, at every seed.

    Attributes:
        levels: factor -> level name, of the factors that are not at the baseline.
        settings: parameter -> value that differs from the baseline's.
    """

    levels: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``baseline``, or ``factor=level``, joined by `` + ``."""
        parts = [f"{factor}{IS}{level}" for factor, level in self.levels.items()]
        return JOINT.join(parts) or BASELINE


def level_name(value: Any) -> str:
    """What an arm calls a value: ``mse``, ``0.1``, ``true``, ``below id_energy sd 2``."""
    if isinstance(value, Mapping):
        return " ".join(f"{key} {level_name(one)}" for key, one in value.items())
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def num_arms(design: Design, factors: Sequence[Factor], resolution: Resolution = 3) -> int:
    """Number of arms, without making them: a factorial of many factors has very many."""
    if design == "factorial":
        return math.prod(1 + len(factor.levels) for factor in factors)
    if design == "fractional_factorial":
        return _order(len(factors), resolution)
    return 1 + sum(len(factor.levels) for factor in factors)


def make_arms(
    design: Design, factors: Sequence[Factor], resolution: Resolution = 3
) -> tuple[Arm, ...]:
    """The arms of a design, the baseline first.

    Args:
        design: ``one_at_a_time``, ``leave_one_out`` and ``add_one``: one arm a level;
            ``factorial``: all combinations, the last factor moving fastest;
            ``fractional_factorial``: see ``fraction``; ``path``: each arm keeps the levels of
            the one before.
        factors: with one level each where the design is in ``ONE_LEVEL``.
        resolution: of a fractional factorial.
    """
    if design == "factorial":
        each = [[None, *((factor, level) for level in factor.levels)] for factor in factors]
        return tuple(_arm(filter(None, pick)) for pick in itertools.product(*each))
    if design == "fractional_factorial":
        rows = fraction(len(factors), resolution)
        firsts = [(factor, factor.levels[0]) for factor in factors]
        return tuple(_arm(itertools.compress(firsts, row)) for row in rows)
    single = [(factor, level) for factor in factors for level in factor.levels]
    if design == "path":
        return tuple(_arm(single[:step]) for step in range(len(single) + 1))
    return (_arm(()), *(_arm([one]) for one in single))


def _arm(pick: Iterable[tuple[Factor, Level]]) -> Arm:
    levels: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for factor, level in pick:
        levels[factor.name] = level.name
        settings |= level.settings
    return Arm(levels, settings)


def fraction(num_factors: int, resolution: Resolution = 3) -> list[list[bool]]:
    """Rows of a two-level fractional factorial; True where a factor leaves the baseline.

    Orders that are powers of two are regular 2^(k-p) designs (columns of a Sylvester matrix,
    those with an odd number of generators where they suffice, which gives resolution 4); orders
    12, 20, 24 and so on are those of Plackett and Burman (Biometrika 33, 1946), here by Paley's
    construction. Every column is balanced, every two are orthogonal, the first row is the
    baseline.

    Args:
        num_factors: k, at least ``LEAST_FRACTIONAL``.
        resolution: at least so much.

    Returns:
        N rows of k, N the least order that serves.
    """
    order = _order(num_factors, resolution)
    if _is_power_of_two(order):
        odd = [word for word in range(order) if word.bit_count() % 2]
        words = odd if num_factors <= len(odd) else list(range(1, order))
        words.sort(key=lambda word: (word.bit_count(), word))
        chosen = words[:num_factors]
        return [[bool((row & word).bit_count() % 2) for word in chosen] for row in range(order)]
    prime = order - 1
    squares = {i * i % prime for i in range(1, prime)}
    rows = [[False] * num_factors]
    # Row i of I + S, its sign turned so that the first column is constant.
    rows += [
        [j == i or (i - j) % prime in squares for j in range(num_factors)] for i in range(prime)
    ]
    return rows


def reached_resolution(num_factors: int, resolution: Resolution) -> Resolution:
    """The resolution that ``fraction`` reaches, which may be higher than was asked for."""
    order = _order(num_factors, resolution)
    return 4 if _is_power_of_two(order) and num_factors <= order // 2 else 3


def _order(num_factors: int, resolution: Resolution) -> int:
    order = 4
    while not _serves(order, num_factors, resolution):
        order += 4
    return order


def _serves(order: int, num_factors: int, resolution: Resolution) -> bool:
    if _is_power_of_two(order):
        return num_factors <= (order - 1 if resolution == 3 else order // 2)
    prime = order - 1  # 3 modulo 4, as Paley's first construction needs it
    is_prime = all(prime % divisor for divisor in range(2, math.isqrt(prime) + 1))
    return resolution == 3 and is_prime and num_factors <= prime


def _is_power_of_two(number: int) -> bool:
    return number.bit_count() == 1
