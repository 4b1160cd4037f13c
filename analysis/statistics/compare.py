"""Two models side by side on the same images: points, intervals, paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.numbers import percent, points
from analysis.statistics.bootstrap import (
    NUM_RESAMPLES,
    Floats,
    Resampler,
    interval_of,
    metrics_of_models,
    resampled_accuracy,
)
from analysis.tables import BASE
from study.errors import BadInput, Fault
from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.measuring import OOD_METRICS, ood_metrics
from study.scoring.ranking import Weights
from study.scoring.selective import expected_calibration_error, oscr, selective_metrics
from study.seeding import numpy_generator

WINNER = "winner"
DIFFERENCE = "winner - base"
MEAN = "mean"
SELECTIVE = ("error_auroc", "aurc", "augrc", "oscr", "ece")
"""Error detection, selective and open-set classification, calibration."""
MODEL_LABELS = {BASE: "base", WINNER: "chosen", DIFFERENCE: "difference"}

Sets = Mapping[str, SetScores]
Drawn = dict[str, dict[str, Floats]]  # set -> metric -> values of the resamples


def compare(
    models: Mapping[str, Sets],
    *,
    id_name: str = VAL_ID,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    seeds: Sequence[str] = (),
    selective: bool = False,
) -> pd.DataFrame:
    """Every model on every OOD set with every score that all have, with 95 % intervals.

    Intervals are bootstraps over images by source group, ID and OOD apart, see
    ``analysis.statistics.bootstrap.interval_of``; models
    share the resamples, so their differences are paired.

    Args:
        models: model ("winner", "base") -> set name -> its scores, one epoch; same images.
        id_name: which of the sets is ID.
        num_resamples: of the bootstrap.
        seed: of its draws.
        seeds: models that are one configuration trained on several seeds; "winner" is then
            their mean, and its intervals are over images and seeds.
        selective: whether error detection and what comes of it is told too (``SELECTIVE``).

    Returns:
        One row a model ("winner", "base", "winner - base"), score and dataset (each OOD
        set, then "mean" over them); columns model, dataset, score, n_id, n_ood (images),
        num_id_groups, num_ood_groups (source groups); then id_accuracy, fpr95,
        fpr95_ood_positive, auroc, aupr_in, aupr_out as fractions, each with _low and _high; and
        those of ``SELECTIVE`` where they are asked for, see ``study.scoring.selective``: all but
        oscr are of the ID images alone, the same in each row of a model and score; ece is missing
        without the score msp.
    """
    _check_same_images(models)
    resampler = Resampler.of(next(iter(models.values())), num_resamples, seed)
    correct = {m: one[id_name].prediction[0] == one[id_name].label for m, one in models.items()}
    accuracy = resampled_accuracy(correct, resampler, id_name)
    rows: list[dict[str, Any]] = []
    for score in _shared_scores(models, id_name):
        values = {
            m: {name: one.scores[score][0] for name, one in sets.items()}
            for m, sets in models.items()
        }
        point = {m: _points(v, id_name) for m, v in values.items()}
        drawn = _drawn(values, resampler, id_name)
        for model, right in correct.items():
            for dataset in point[model]:
                point[model][dataset]["id_accuracy"] = float(right.mean())
                drawn[model][dataset]["id_accuracy"] = accuracy[model]
        if selective:
            for model, sets in models.items():
                all_once = _selective(sets, score, correct[model], id_name, [_all_once(sets)])
                blocks = resampler.weights(list(sets))
                each = _selective(sets, score, correct[model], id_name, blocks)
                for dataset, found in all_once.items():
                    point[model][dataset] |= {name: float(one[0]) for name, one in found.items()}
                    drawn[model][dataset] |= each[dataset]
        added: Drawn | None = None
        if seeds:
            added = _pooled(drawn, seeds, lambda values: seed_deviations(values, seed))
            point = {WINNER: _pooled(point, seeds, lambda v: float(np.mean(v))), **point}
            drawn = {WINNER: _pooled(drawn, seeds, lambda v: over_seeds(v, seed)), **drawn}
        if WINNER in point and BASE in point:
            point[DIFFERENCE] = _difference(point[WINNER], point[BASE])
            drawn[DIFFERENCE] = _difference(drawn[WINNER], drawn[BASE])
        for model, by_set in point.items():
            # The base is one model: what the seeds add to the winner they add to the difference.
            pooled = added if model in (WINNER, DIFFERENCE) else None
            for dataset, one in by_set.items():
                row: dict[str, Any] = {"model": model, "dataset": dataset, "score": score}
                row |= _sizes(models, resampler, id_name, dataset)
                sources = resampler.num_sources(id_name, _ood(models, id_name, dataset))
                of_seeds = {} if pooled is None else pooled[dataset]
                for metric, value in one.items():
                    low, high = interval_of(
                        metric,
                        value,
                        drawn[model][dataset][metric],
                        sources,
                        difference=model == DIFFERENCE,
                        num_seeds=len(seeds),
                        deviations=of_seeds.get(metric),
                    )
                    row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
                rows.append(row)
    return pd.DataFrame(rows)


def _all_once(sets: Sets) -> dict[str, Weights]:
    return {name: Weights.once(len(one.label)) for name, one in sets.items()}


def _selective(
    sets: Sets,
    score: str,
    right: NDArray[np.bool_],
    id_name: str,
    blocks: Iterable[Mapping[str, Weights]],
) -> Drawn:
    """The metrics of ``SELECTIVE`` of one model and score under weightings, in blocks."""
    ids, msp = sets[id_name].scores[score][0], sets[id_name].scores.get("msp")
    parts: dict[str, dict[str, list[Floats]]] = {}
    for weights in blocks:
        own = weights[id_name]
        shared = selective_metrics(ids, right, own)
        missing = np.full(own.num, np.nan)
        ece = missing if msp is None else expected_calibration_error(msp[0], right, own)
        each = {
            name: oscr(ids, right, one.scores[score][0], own, weights[name])
            for name, one in sets.items()
            if name != id_name
        }
        each[MEAN] = np.mean(list(each.values()), axis=0)
        for dataset, open_set in each.items():
            for name, values in (shared | {"oscr": open_set, "ece": ece}).items():
                parts.setdefault(dataset, {}).setdefault(name, []).append(values)
    return {
        dataset: {name: np.concatenate(values) for name, values in of_set.items()}
        for dataset, of_set in parts.items()
    }


def _ood(models: Mapping[str, Sets], id_name: str, dataset: str) -> list[str]:
    """The OOD sets behind a row: one, or all for the mean over them."""
    sets = next(iter(models.values()))
    return [name for name in sets if name != id_name] if dataset == MEAN else [dataset]


def set_label(dataset: str) -> str:
    """What readers call an OOD set, and the mean over them."""
    return "mean over sets" if dataset == MEAN else dataset


def form_for(model: str) -> Callable[[Any], str]:
    """How a model's fractions are written: percent, differences in points."""
    return points if model == DIFFERENCE else percent


def _check_same_images(models: Mapping[str, Sets]) -> None:
    first, *rest = models.values()
    for other in rest:
        wrong = [
            name
            for name in first.keys() | other.keys()
            if name not in other
            or name not in first
            or not np.array_equal(first[name].image, other[name].image)
        ]
        if wrong:
            rule = f"the models were scored on different images of {', '.join(sorted(wrong))}"
            raise BadInput(Fault("scores", "", rule, "Compare models of one study only."))


def _shared_scores(models: Mapping[str, Sets], id_name: str) -> list[str]:
    first, *rest = models.values()
    names = first[id_name].scores
    return [name for name in names if all(name in other[id_name].scores for other in rest)]


def _points(values: Mapping[str, Floats], id_name: str) -> dict[str, dict[str, float]]:
    by_set = {s: ood_metrics(values[id_name], v) for s, v in values.items() if s != id_name}
    by_set[MEAN] = {x: float(np.mean([one[x] for one in by_set.values()])) for x in OOD_METRICS}
    return by_set


def _drawn(
    values: Mapping[str, Mapping[str, Floats]], resampler: Resampler, id_name: str
) -> dict[str, Drawn]:
    drawn = metrics_of_models(values, resampler, id_name=id_name)
    for by_set in drawn.values():
        sets = list(by_set.values())
        by_set[MEAN] = {x: np.mean([one[x] for one in sets], axis=0) for x in OOD_METRICS}
    return drawn


def _difference(ours: Any, theirs: Any) -> Any:
    """Metric by metric, for points and for arrays of resamples alike."""
    return {s: {x: one[x] - theirs[s][x] for x in one} for s, one in ours.items()}


def _pooled(models: Any, names: Sequence[str], combine: Callable[[Any], Any]) -> Any:
    """Metric by metric, the models ``names`` as one."""
    return {
        dataset: {x: combine([models[name][dataset][x] for name in names]) for x in by_metric}
        for dataset, by_metric in models[names[0]].items()
    }


def over_seeds(drawn: Sequence[Floats], seed: int) -> Floats:
    """Resamples of a mean over seeds: images and seeds are drawn apart, crossed.

    Args:
        drawn: of each seed's model the values (B,) on the same resamples of the images.
        seed: of the draws.

    Returns:
        (B,) values.
    """
    return np.asarray(np.mean(drawn, axis=0) + seed_deviations(drawn, seed))


def seed_deviations(drawn: Sequence[Floats], seed: int) -> Floats:
    """What the draw of the seeds adds to each resample of the images, (B,).

    Each resample of the images has its own resample of the seeds. A bootstrap of S values has
    (S - 1) / S of their variance, much too little for few seeds, so the deviations are widened
    by the root of S / (S - 1).

    Args:
        drawn: as for ``over_seeds``.
        seed: of the draws.
    """
    values = np.stack(drawn)
    num, resamples = values.shape
    if num == 1:
        return np.zeros(resamples)
    rng = numpy_generator(seed, "bootstrap", "seeds")
    weights = rng.multinomial(num, np.full(num, 1 / num), size=resamples).T / num
    added = (weights * values).sum(axis=0) - values.mean(axis=0)
    return np.asarray(np.sqrt(num / (num - 1)) * added)


def _sizes(
    models: Mapping[str, Sets], resampler: Resampler, id_name: str, dataset: str
) -> dict[str, int]:
    sets = next(iter(models.values()))
    names = _ood(models, id_name, dataset)
    return {
        "n_id": len(sets[id_name].label),
        "n_ood": sum(len(sets[name].label) for name in names),
        "num_id_groups": resampler.num_groups(id_name),
        "num_ood_groups": sum(resampler.num_groups(name) for name in names),
    }
