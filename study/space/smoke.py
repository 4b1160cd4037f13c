"""``--smoke``: the same study, so small that it ends within a minute on two cores."""

from __future__ import annotations

import copy
from collections.abc import Set
from typing import Any

from study.searchers.catalog import searchers
from study.section import Section
from study.space.ablation.designs import LEAST_FRACTIONAL
from study.space.ablation.retune import LEAST_TRIALS
from study.space.ablation.section import HOLD_OUT
from study.space.reading.yamlfile import KeyPath

NUM_TRIALS = 3
EPOCHS = 2  # two, so that ASHA has a rung to cut at
TRAIN_IMAGES = 256
BASE_IMAGES = 1024
NUM_FACTORS = 2
# What a smoke shrinks or replaces itself; a level of it could meet or cross the baseline's.
_SHRUNK = {"epochs", "epoch_images", "warmup_epochs", "outlier_batch_size", "m_in", "m_out"}
_SHRUNK |= {"base.epochs", "base.epoch_images", "base.warmup_epochs"}


def shrink(plain: dict[str, Any], keep: Set[KeyPath], params: type[Section]) -> dict[str, Any]:
    """A resolved spec with fewer trials, epochs and images.

    Args:
        plain: what ``StudySpec.resolved`` gives.
        keep: paths that the user set on the command line; they stay.
        params: type of the section ``train``.

    Returns:
        Plain data to be read as a space.
    """
    small = copy.deepcopy(plain)
    train, search, tune = small["train"], small.get("search", {}), small["tune"]
    kept = {path[:2] for path in keep}

    def lower(section: str, key: str, most: int) -> None:
        if key in small[section] and (section, key) not in kept:
            small[section][key] = min(small[section][key], most)

    if "ablate" in small:
        _shrink_ablation(small["ablate"], train, kept)
    lower("tune", "num_trials", NUM_TRIALS)
    lower("tune", "finish", 1)
    if "first" in tune and ("tune", "first") not in kept:
        del tune["first"]  # what they name may be shrunk or searched no more
    before = copy.deepcopy(search)
    if "epochs" in search and ("search", "epochs") not in kept:
        search["epochs"] = {"int": [1, EPOCHS]}
    lower("train", "epochs", EPOCHS)
    trained = "lr" in params.model_fields
    sizes = _values("batch_size", train, search) if trained else [0]
    most = max(sizes + _batch_sizes(small.get("ablate", {})))
    if "epoch_images" in search and not kept & {("search", "epoch_images")}:
        least = max(TRAIN_IMAGES, most)
        search["epoch_images"] = {"int": [least, least + TRAIN_IMAGES]}
    elif "epoch_images" in train and ("train", "epoch_images") not in kept:
        train["epoch_images"] = max(min(train["epoch_images"] or TRAIN_IMAGES, TRAIN_IMAGES), most)
    lower("train", "outlier_batch_size", 64)
    epochs = min(_values("epochs", train, search))
    lower("train", "warmup_epochs", epochs - 1)
    if "warmup_epochs" in search and ("search", "warmup_epochs") not in kept:
        # The parameter stays searched in name only where its range does not fit two epochs.
        del search["warmup_epochs"]
        train["warmup_epochs"] = 0
    lower("tune", "grace_epochs", epochs)
    _tune(tune, kept)
    if base := small.get("base"):
        lower("base", "epochs", EPOCHS)
        if ("base", "epoch_images") not in kept:
            images = min(base["epoch_images"] or BASE_IMAGES, BASE_IMAGES)
            base["epoch_images"] = max(images, base["batch_size"])
        lower("base", "warmup_epochs", base["epochs"] - 1)
        _margins(train, search, kept)
    _keep_conditions(before, search)
    if not search and "ablate" not in small and trained:
        lr = train.pop("lr", params.model_fields["lr"].default)
        search["lr"] = {"loguniform": [lr / 2, 2 * lr]}
    return {**small, "train": {k: v for k, v in train.items() if k in params.model_fields}}


def _tune(tune: dict[str, Any], kept: Set[KeyPath]) -> None:
    """Two epochs still make two brackets, and three trials more than one generation."""
    if tune["scheduler"] == "hyperband" and ("tune", "reduction_factor") not in kept:
        tune["reduction_factor"] = EPOCHS
    if "searcher" in tune:
        small = searchers()[tune["searcher"]].smoke
        tune |= {name: value for name, value in small.items() if ("tune", name) not in kept}


def _keep_conditions(before: dict[str, Any], search: dict[str, Any]) -> None:
    """What was shrunk exists when it did; what hung on a domain that is gone is not searched."""
    for name, form in search.items():
        if "when" in before.get(name, {}):
            search[name] = {**form, "when": before[name]["when"]}
    while gone := [name for name, form in search.items() if _orphan(form, before, search)]:
        for name in gone:
            del search[name]


def _orphan(form: dict[str, Any], before: dict[str, Any], search: dict[str, Any]) -> bool:
    def choice(space: dict[str, Any], parent: str) -> Any:
        return space.get(parent, {}).get("choice")

    return any(choice(search, p) != choice(before, p) for p in form.get("when", {}))


def _margins(train: dict[str, Any], search: dict[str, Any], kept: Set[KeyPath]) -> None:
    """Margins that cannot cross whatever the base is.

    A base of two epochs may well give outliers lower energies than ID images; a measured margin
    is therefore taken from its ID energies alone, ``m_in`` below their mean and ``m_out`` above.
    """
    both = [{**train, **search}.get(name) for name in ("m_in", "m_out")]
    measured = [isinstance(form, dict) and "sd" in form for form in both]
    named = {("search" if name in search else "train", name) for name in ("m_in", "m_out")}
    if not any(measured) or kept & named:
        return
    sides = (("m_in", "below", [1.0, 4.0]), ("m_out", "above", [0.0, 2.0]))
    for name, side, (low, high) in sides:
        if name in search:
            search[name] = {side: "id_energy", "sd": {"uniform": [low, high]}}
        else:
            train[name] = {side: "id_energy", "sd": low}


def _values(name: str, train: dict[str, Any], search: dict[str, Any]) -> list[int]:
    if name not in search:
        return [train[name]]
    kind = next(kind for kind in search[name] if kind not in ("step", "when"))
    return list(search[name][kind])


def _shrink_ablation(ablate: dict[str, Any], train: dict[str, Any], keep: Set[KeyPath]) -> None:
    """Keep the first seed and the first factors, in place; what the user set stays.

    Args:
        ablate: the section, as ``Ablation.plain`` gives it.
        train: the section ``train``, for a factor where none is left.
        keep: the first two parts of the paths that the user set.
    """
    if ("ablate", "seeds") not in keep:
        ablate["seeds"] = ablate["seeds"][:1]
        ablate.pop("stop", None)  # one seed is never looked at
    if ("ablate", "retune") not in keep:
        _shrink_retune(ablate)
    if ("ablate", "factors") in keep:
        return
    wanted = LEAST_FRACTIONAL if ablate["design"] == "fractional_factorial" else NUM_FACTORS
    held_out = ablate["factors"].pop(HOLD_OUT, [])[:2]
    small = {name: _first_level(name, levels) for name, levels in ablate["factors"].items()}
    factors = {name: levels for name, levels in small.items() if levels}
    ablate["factors"] = dict(list(factors.items())[:wanted]) or {"lr": [train["lr"] / 2]}
    ablate["factors"] |= {HOLD_OUT: held_out} if held_out else {}
    if not factors and ("ablate", "retune") not in keep:
        ablate.pop("retune", None)  # it may well be of lr
    if ablate["design"] == "fractional_factorial" and len(ablate["factors"]) < wanted:
        ablate["design"] = "factorial"
        del ablate["resolution"]


def _shrink_retune(ablate: dict[str, Any]) -> None:
    """The fewest tuning trials, over what the smoke does not shrink itself; none without any."""
    retune = ablate.get("retune")
    if retune is None:
        return
    search = {name: form for name, form in retune["search"].items() if name not in _SHRUNK}
    ablate["retune"] = {**retune, "num_trials": LEAST_TRIALS, "search": search}
    if not search:
        del ablate["retune"]


def _first_level(name: str, levels: dict[str, Any] | list[Any]) -> dict[str, Any] | list[Any]:
    """The first level that sets nothing which the smoke shrinks; empty where all do."""
    if isinstance(levels, list):
        return [] if name in _SHRUNK else levels[:1]
    kept = {level: one for level, one in levels.items() if not _SHRUNK & one.keys()}
    return dict(list(kept.items())[:1])


def _batch_sizes(ablate: dict[str, Any]) -> list[int]:
    """Every batch size that a level sets."""
    found = []
    for name, levels in ablate.get("factors", {}).items():
        each = [{name: value} for value in levels] if isinstance(levels, list) else levels.values()
        found += [one["batch_size"] for one in each if "batch_size" in one]
    return found
