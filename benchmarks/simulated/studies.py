"""Simulated studies whose true FPR95 is known, to judge what a selection says of its winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm

from analysis.choice.cells import Cells, all_images, weighed
from analysis.choice.corrected import resamples
from analysis.choice.replayed import Search
from study.records.files import VAL_ID
from study.scoring.objective import PENALTY

# Separation of ID and OOD in sd; two sets share it. 1.8 is an FPR95 of .44.
EQUAL = (1.8,) * 20
ONE_BETTER = (*EQUAL[:-1], 2.3)


def make_cells(
    rng: np.random.Generator,
    separations: Sequence[float],
    *,
    correlated: float,
    epochs: int = 3,
    num_id: int = 1000,
    num_ood: int = 500,
    crops: int = 1,
    seeds: int = 1,
    seed_sd: float = 0.0,
    gain: float = 0.0,
    accuracies: Sequence[float] = (),
    floor: float | None = None,
) -> Cells:
    """One study.

    Args:
        rng: of everything.
        separations: one configuration each.
        correlated: share of a score's variance that all trials share, image by image; half of
            the rest is shared by the epochs of a trial.
        epochs: of every trial.
        num_id: validation ID images.
        num_ood: images of each of two OOD sets.
        crops: of one source, in the OOD sets.
        seeds: trials of each configuration.
        seed_sd: of the separation over seeds.
        gain: of the separation from epoch to epoch, up to the stated one at the last.
        accuracies: on validation ID, one each configuration; all predictions are right without.
        floor: on it.
    """
    num = len(separations) * seeds
    config = np.repeat(np.arange(len(separations)), seeds)
    each = np.asarray(separations)[config] + seed_sd * rng.normal(size=num)
    scores, groups = {}, {}
    for name, size in ((VAL_ID, num_id), ("a", num_ood), ("b", num_ood)):
        group = np.arange(size) // (1 if name == VAL_ID else crops)
        shared, own = _noise(rng, 1, group), np.repeat(_noise(rng, num, group), epochs, axis=0)
        moment = _noise(rng, num * epochs, group)
        rest = np.sqrt((1 - correlated) / 2) * (own + moment)
        late = gain * (np.tile(np.arange(1, epochs + 1), num) - epochs)
        shift = 0.0 if name == VAL_ID else (np.repeat(each, epochs) + late)[:, None]
        scores[name] = np.sqrt(correlated) * shared + rest + shift
        groups[name] = np.array([f"{name}/{one}" for one in group], dtype=np.bytes_)
    right = np.ones((num * epochs, num_id), dtype=np.bool_)
    if accuracies:
        luck = np.sqrt(0.8) * rng.normal(size=(1, num_id)) + np.sqrt(0.2) * rng.normal(
            size=(num * epochs, num_id)
        )
        right = norm.cdf(luck) < np.repeat(np.asarray(accuracies)[config], epochs)[:, None]
    return Cells(
        tuple(f"{number:05d}" for number in range(num)),
        config,
        np.repeat(np.arange(num), epochs),
        np.tile(np.arange(1, epochs + 1), num),
        np.ones(num * epochs),
        scores,
        right,
        groups,
        floor,
        penalty=PENALTY,
    )


def _noise(rng: np.random.Generator, num: int, group: np.ndarray) -> np.ndarray:
    """Normal, half of its variance shared by the crops of a source."""
    alone = rng.normal(size=(num, len(group)))
    if group[-1] == len(group) - 1:
        return alone
    of_source = rng.normal(size=(num, int(group[-1]) + 1))[:, group]
    return np.asarray((alone + of_source) / np.sqrt(2))


def true_fpr95(separation: float) -> float:
    """FPR95 on infinitely many images."""
    return float(norm.cdf(norm.ppf(0.95) - separation))


def plain_interval(cells: Cells, cell: int, num: int, seed: int) -> tuple[float, float]:
    """90 % percentile interval of one cell's FPR95, as if it had not been chosen."""
    one = cells.only(np.arange(len(cells.trial)) == cell)
    cost = weighed(one, resamples(one, num, seed)).cost[0]
    low, high = np.quantile(cost, [0.05, 0.95])
    return float(low), float(high)


def trained(search: Search) -> tuple[Search, Cells]:
    """A search whose trials all have every epoch, as its rungs leave it.

    Returns:
        The search with the epochs that its trials came to, and the candidates: those that came
        to their end.
    """
    cells = search.cells
    reach = search.reach(weighed(cells, iter([all_images(cells)])))[:, 0]
    part = cells.only(np.flatnonzero(cells.epoch <= reach[cells.trial]))
    return replace(search, cells=part), _of_trials(part, reach >= search.lengths)


def _of_trials(cells: Cells, which: np.ndarray) -> Cells:
    keep, number = np.flatnonzero(which[cells.trial]), np.cumsum(which) - 1
    return replace(
        cells,
        trial_ids=tuple(name for name, one in zip(cells.trial_ids, which, strict=True) if one),
        config=np.arange(int(which.sum())),
        trial=number[cells.trial[keep]],
        epoch=cells.epoch[keep],
        alpha=cells.alpha[keep],
        scores={name: scores[keep] for name, scores in cells.scores.items()},
        correct=cells.correct[keep],
    )
