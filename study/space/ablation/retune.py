"""``ablate.retune``: every arm is tuned anew, each with the same budget, before it is measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from study.recipes.params import TrialParams
from study.seeding import numpy_generator
from study.space.ablation.designs import Factor
from study.space.reading.places import FaultList, Problem, given_problem, is_whole, unknown_keys
from study.space.reading.yamlfile import KeyPath
from study.space.search.conditions import WHEN, has_when
from study.space.search.search import Searched, read_search, searchable

LEAST_TRIALS = 2  # of each arm: of one there is nothing to choose
_MOST_TRIALS = 1000
_MAX_DRAWS = 1000  # for one point that differs from those before it
_KEYS = ("num_trials", "seed", "search")
_PATH: KeyPath = ("ablate", "retune")
_SEARCH: KeyPath = (*_PATH, "search")
_FORM = "retune: {num_trials: 8, seed: 1000, search: {lr: {loguniform: [1.0e-3, 1.0e-2]}}}"


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
    search: Mapping[str, Searched]

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
        return {name: one.at(one.domain.drawn(generator)) for name, one in self.search.items()}

    def plain(self) -> dict[str, Any]:
        """The form of the YAML."""
        search = {name: entry.plain() for name, entry in self.search.items()}
        return {"num_trials": self.num_trials, "seed": self.seed, "search": search}


def read_retune(
    raw: Any,
    recipe: type[TrialParams],
    seeds: Sequence[int],
    factors: Sequence[Factor],
    faults: FaultList,
    *,
    stops: bool,
) -> Retune | None:
    """The section, where it has no fault.

    Args:
        raw: what the YAML has under ``ablate.retune``; None for no re-tuning.
        recipe: the parameters of the recipe.
        seeds: at which arms are measured.
        factors: of the ablation.
        faults: takes every fault.
        stops: whether the ablation has ``ablate.stop``.
    """
    if raw is None:
        return None
    if not isinstance(raw, dict):
        faults.add(_PATH, "re-tuning is a mapping of keys, or null", f"Write {_FORM}.", raw)
        return None
    before = len(faults.faults)
    faults.take(unknown_keys(raw, _KEYS, "retune"), _PATH)
    if stops:
        rule = "ablate.stop ends arms early, and arms with equal budgets of tuning do not end"
        faults.add(_PATH, rule, "Take one of the two out.", raw)
    faults.take(_wrong_numbers(raw, seeds), _PATH)
    search = _search(raw, recipe, factors, faults)
    if len(faults.faults) > before:
        return None
    retune = Retune(raw["num_trials"], raw["seed"], search)
    if len(retune.points) < retune.num_trials:
        rule = f"the search has only {len(retune.points)} different points"
        way_out = "Ask for fewer, or widen the search."
        faults.add((*_PATH, "num_trials"), rule, way_out, retune.num_trials)
        return None
    return retune


def _wrong_numbers(raw: Mapping[str, Any], seeds: Sequence[int]) -> Iterator[Problem]:
    number, seed = raw.get("num_trials"), raw.get("seed")
    if not is_whole(number) or not LEAST_TRIALS <= number <= _MOST_TRIALS:
        limits = f"{LEAST_TRIALS} trials or more, {_MOST_TRIALS:,} at most"
        rule = f"every arm is re-tuned with {limits}"
        yield given_problem(raw, "num_trials", rule, "Write num_trials: 8.")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        rule = "tuning trials have one seed, a whole number from 0 to 2^63 - 1"
        yield given_problem(raw, "seed", rule, "Write seed: 1000, one that ablate.seeds lacks.")
    elif seed in seeds:
        rule = "the tuning seed is among ablate.seeds, so an arm would be measured where it was"
        way_out = "Write a seed that is not listed there, for example seed: 1000."
        yield Problem(("seed",), f"{rule} tuned", way_out, seed)


def _search(
    retune: Mapping[str, Any],
    recipe: type[TrialParams],
    factors: Sequence[Factor],
    faults: FaultList,
) -> dict[str, Searched]:
    raw = retune.get("search")
    if not isinstance(raw, dict) or not raw:
        rule = "re-tuning searches at least one parameter"
        way_out = f"Write for example {_FORM}."
        faults.take([given_problem(retune, "search", rule, way_out)], _PATH)
        return {}
    refused = dict(_refused(raw, searchable(recipe)))
    faults.take(refused.values(), _SEARCH)
    wanted = {name: form for name, form in raw.items() if name not in refused}
    found = read_search(wanted, recipe, faults, _SEARCH) if wanted else {}
    levels = [(factor, level) for factor in factors for level in factor.levels]
    setters = {name: factor.name for factor, level in levels for name in level.settings}
    for name in found:
        if name in setters:
            rule = f"factor {setters[name]!r} sets {name}, so re-tuning would undo what it changes"
            faults.add((*_SEARCH, name), rule, "Take it out here or there.", raw[name])
    return found


def _refused(raw: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, Problem]]:
    """What only a search has: parameters of the model, and conditions."""
    for name, form in raw.items():
        if "." in name and name in known:
            rule = "re-tuning sets parameters of `train` alone"
            way_out = "Take it out; make it a factor, or fix it in `model`."
            yield name, Problem((name,), rule, way_out, form)
        elif has_when(form):
            rule = "what is re-tuned exists in every arm, without a condition"
            yield name, Problem((name, WHEN), rule, "Take `when` out.", form[WHEN])
