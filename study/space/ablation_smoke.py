"""``--smoke`` of an ablation: one seed and few arms, none of which a small study would break."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from study.space.ablation.designs import LEAST_FRACTIONAL
from study.space.ablation.retune_reading import LEAST_TRIALS
from study.space.reading.yamlfile import KeyPath

NUM_FACTORS = 2
# What a smoke shrinks or replaces itself; a level of it could meet or cross the baseline's.
_SHRUNK = {"epochs", "epoch_images", "warmup_epochs", "outlier_batch_size", "m_in", "m_out"}
_SHRUNK |= {"base.epochs", "base.epoch_images", "base.warmup_epochs"}


def shrink_ablation(ablate: dict[str, Any], train: dict[str, Any], keep: Set[KeyPath]) -> None:
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
    small = {name: _first_level(name, levels) for name, levels in ablate["factors"].items()}
    factors = {name: levels for name, levels in small.items() if levels}
    ablate["factors"] = dict(list(factors.items())[:wanted]) or {"lr": [train["lr"] / 2]}
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


def batch_sizes(ablate: dict[str, Any]) -> list[int]:
    """Every batch size that a level sets."""
    found = []
    for name, levels in ablate.get("factors", {}).items():
        each = [{name: value} for value in levels] if isinstance(levels, list) else levels.values()
        found += [one["batch_size"] for one in each if "batch_size" in one]
    return found
