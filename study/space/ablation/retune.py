"""``ablate.retune``: every arm is tuned anew, each with the same budget, before it is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from study.seeding import numpy_generator
from study.space.search.domains import Domain, LogUniform, MarginSearch, Scalar, Uniform

_MAX_DRAWS = 1000  # for one point that differs from those before it


@dataclass(frozen=True)
class Retune:
    """Equal budgets of tuning: the same random points, at one seed, in every arm.

    Attributes:
        num_trials: of each arm.
        seed: of the tuning trials, and of the points; no seed at which arms are measured.
        search: parameter of ``train`` -> what is tried.
    """

    num_trials: int
    seed: int
    search: Mapping[str, Domain | MarginSearch]

    @cached_property
    def points(self) -> tuple[dict[str, Any], ...]:
        """Settings of the tuning trials of any arm, by number: parameter -> value as in the YAML.

        Each is drawn from a generator of its own, named by (seed, "retune", number), and again
        where it equals an earlier one. They are fewer than ``num_trials`` where the domains do
        not have so many different points.
        """
        found: list[dict[str, Any]] = []
        for number in range(self.num_trials):
            generator = numpy_generator(self.seed, "retune", number)
            draws = (self._draw(generator) for _ in range(_MAX_DRAWS))
            point = next((one for one in draws if one not in found), None)
            if point is None:
                break
            found.append(point)
        return tuple(found)

    def _draw(self, generator: np.random.Generator) -> dict[str, Any]:
        point: dict[str, Any] = {}
        for name, entry in self.search.items():
            if isinstance(entry, MarginSearch):
                point[name] = entry.at(drawn(entry.domain, generator))
            else:
                point[name] = drawn(entry, generator)
        return point

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        search = {name: entry.plain() for name, entry in self.search.items()}
        return {"num_trials": self.num_trials, "seed": self.seed, "search": search}


def drawn(domain: Domain, generator: np.random.Generator) -> Scalar:
    """A random value of a domain, uniform in the logarithm where the domain is."""
    if isinstance(domain, LogUniform):
        value = math.exp(generator.uniform(math.log(domain.low), math.log(domain.high)))
        return min(max(value, domain.low), domain.high)
    if isinstance(domain, Uniform) and domain.step is None:
        return float(generator.uniform(domain.low, domain.high))
    number = int(generator.integers(domain.count() or 0))
    return domain.point(number) if isinstance(domain, Uniform) else domain.points()[number]
