"""Reads ``ablate.retune`` and tells what cannot be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.recipes.catalog import RecipeInfo
from study.space.ablation.designs import Factor
from study.space.ablation.retune import Retune
from study.space.reading.places import FaultList
from study.space.reading.yamlfile import KeyPath
from study.space.search.search import Search, read_search, searchable
from study.space.search.when import WHEN

LEAST_TRIALS = 2  # of each arm: of one there is nothing to choose
_MOST_TRIALS = 1000
_KEYS = ("num_trials", "seed", "search")
_PATH: KeyPath = ("ablate", "retune")
_SEARCH: KeyPath = (*_PATH, "search")
_FORM = "retune: {num_trials: 8, seed: 1000, search: {lr: {loguniform: [1.0e-3, 1.0e-2]}}}"


def read_retune(
    raw: Any,
    info: RecipeInfo,
    seeds: Sequence[int],
    factors: Sequence[Factor],
    faults: FaultList,
    *,
    stops: bool,
) -> Retune | None:
    """The section, where it has no fault.

    Args:
        raw: what the YAML has under ``ablate.retune``; None for no re-tuning.
        info: the recipe.
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
    faults.add_unknown(_PATH, raw, _KEYS)
    if stops:
        rule = "ablate.stop ends arms early, and arms with equal budgets of tuning do not end"
        faults.add(_PATH, rule, "Take one of the two out.", raw)
    num_trials, seed = raw.get("num_trials"), raw.get("seed")
    _check_numbers(raw, seeds, faults)
    search = _search(raw, info, factors, faults)
    if len(faults.faults) > before or num_trials is None or seed is None:
        return None
    retune = Retune(num_trials, seed, search)
    if len(retune.points) < num_trials:
        rule = f"the search has only {len(retune.points)} different points"
        faults.add((*_PATH, "num_trials"), rule, "Ask for fewer, or widen the search.", num_trials)
        return None
    return retune


def _check_numbers(raw: Mapping[str, Any], seeds: Sequence[int], faults: FaultList) -> None:
    number, seed = raw.get("num_trials"), raw.get("seed")
    whole = isinstance(number, int) and not isinstance(number, bool)
    if not whole or number not in range(LEAST_TRIALS, _MOST_TRIALS + 1):
        limits = f"{LEAST_TRIALS} trials or more, {_MOST_TRIALS:,} at most"
        rule = f"every arm is re-tuned with {limits}"
        shown = [number] if "num_trials" in raw else []
        faults.add((*_PATH, "num_trials"), rule, "Write num_trials: 8.", *shown)
    path = (*_PATH, "seed")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        rule = "tuning trials have one seed, a whole number from 0 to 2^63 - 1"
        shown = [seed] if "seed" in raw else []
        faults.add(path, rule, "Write seed: 1000, one that ablate.seeds lacks.", *shown)
    elif seed in seeds:
        rule = "the tuning seed is among ablate.seeds, so an arm would be measured where it was"
        way_out = "Write a seed that is not listed there, for example seed: 1000."
        faults.add(path, f"{rule} tuned", way_out, seed)


def _search(
    retune: Mapping[str, Any], info: RecipeInfo, factors: Sequence[Factor], faults: FaultList
) -> dict[str, Search]:
    raw = retune.get("search")
    if not isinstance(raw, dict) or not raw:
        rule = "re-tuning searches at least one parameter"
        shown = [raw] if "search" in retune else []
        faults.add(_SEARCH, rule, f"Write for example {_FORM}.", *shown)
        return {}
    wanted = {name: form for name, form in raw.items() if _allowed(name, form, info, faults)}
    found = read_search(wanted, info, faults, _SEARCH) if wanted else {}
    for name in found:
        setters = [
            factor.name for factor in factors for one in factor.levels if name in one.settings
        ]
        if setters:
            rule = f"factor {setters[0]!r} sets {name}, so re-tuning would undo what it changes"
            faults.add((*_SEARCH, name), rule, "Take it out here or there.", raw[name])
    return found


def _allowed(name: str, form: Any, info: RecipeInfo, faults: FaultList) -> bool:
    """Whether nothing here speaks against it; the rest is said where domains are read."""
    path = (*_SEARCH, name)
    if "." in name and name in searchable(info):
        rule = "re-tuning sets parameters of `train` alone"
        faults.add(path, rule, "Take it out; make it a factor, or fix it in `model`.", form)
        return False
    if isinstance(form, dict) and WHEN in form:
        rule = "what is re-tuned exists in every arm, without a condition"
        faults.add((*path, WHEN), rule, "Take `when` out.", form[WHEN])
        return False
    return True
