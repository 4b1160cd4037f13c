"""How well scores tell a classifier's errors, and what it is worth with some inputs left out.

A misclassified ID image is the positive: a score should be higher for it, as for OOD. Everything
follows from scores, from which predictions are right, and from how often each image counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from study.scoring.measuring import weighted_metrics
from study.scoring.ranking import Floats, Weights

Right = npt.NDArray[np.bool_]
ECE_BINS = 15


def selective_metrics(scores: Floats, right: Right, weights: Weights) -> dict[str, Floats]:
    """Error detection and selective classification on ID images, under B weightings.

    Args:
        scores: of the ID images, (N,), higher = more OOD.
        right: whether each prediction is right, (N,).
        weights: weightings of the images.

    Returns:
        Values (B,), not numbers where a weighting has no wrong image, or no right one, by name:
        error_auroc: P(a wrong image scores above a right one), ties counted half.
        aurc: area under the risk-coverage curve (Geifman and El-Yaniv 2017, arXiv:1705.08500):
        mean over images of the share of errors among those that score no higher; ties are
        accepted together. Lower is better.
        augrc: area under the generalised risk-coverage curve, the errors accepted as a share of
        all images (Traub et al. 2024, arXiv:2407.01032): (1 - error_auroc) a (1 - a) + (1 - a)^2
        / 2 with the accuracy a. Lower is better.
    """
    order = np.argsort(scores, kind="stable")
    ranked, own = scores[order], weights.rows[order].astype(np.float64)
    wrong = own * ~right[order][:, None]
    last = np.searchsorted(ranked, ranked, "right") - 1
    accepted, errors = np.cumsum(own, axis=0)[last], np.cumsum(wrong, axis=0)[last]
    risk = np.divide(errors, accepted, out=np.zeros_like(errors), where=accepted > 0)
    accuracy = 1 - wrong.sum(axis=0) / weights.totals
    auroc = _error_auroc(scores, right, weights)
    return {
        "error_auroc": auroc,
        "aurc": np.asarray((own * risk).sum(axis=0) / weights.totals),
        "augrc": (1 - auroc) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2,
    }


def _error_auroc(scores: Floats, right: Right, weights: Weights) -> Floats:
    sides = [Weights(weights.rows[of], weights.rows[of].sum(axis=0)) for of in (right, ~right)]
    found = np.full(weights.num, np.nan)
    there = np.flatnonzero((sides[0].totals > 0) & (sides[1].totals > 0))
    if there.size:
        some = [one.at(there) for one in sides]
        found[there] = weighted_metrics(
            scores[right], scores[~right], some[0], some[1], ["auroc"]
        )["auroc"]
    return found


def oscr(
    id_scores: Floats, right: Right, ood_scores: Floats, ids: Weights, oods: Weights
) -> Floats:
    """Open-set classification rate, under B weightings (Dhamija et al. 2018, arXiv:1811.04110).

    Area under the share of all ID images that are accepted and rightly predicted, against the
    share of OOD accepted: P(an ID image is rightly predicted and scores below an OOD image), ties
    counted half. Higher is better.

    Args:
        id_scores: of the ID images, (N,), higher = more OOD.
        right: whether each prediction is right, (N,).
        ood_scores: of the OOD images, (M,).
        ids: weightings of the ID images.
        oods: as many of the OOD images.

    Returns:
        (B,) values.
    """
    some = Weights(ids.rows[right], ids.rows[right].sum(axis=0, dtype=np.float64))
    found, there = np.zeros(ids.num), np.flatnonzero(some.totals > 0)
    if there.size:
        auroc = weighted_metrics(
            id_scores[right], ood_scores, some.at(there), oods.at(there), ["auroc"]
        )["auroc"]
        found[there] = auroc * some.totals[there] / ids.totals[there]
    return found


def expected_calibration_error(
    msp_scores: Floats, right: Right, weights: Weights, bins: int = ECE_BINS
) -> Floats:
    """ECE of the maximum softmax probability, under B weightings (Guo et al. 2017).

    The mean over bins of equal width of how far accuracy and confidence lie apart, by the bins'
    shares of the images (arXiv:1706.04599). It is never 0 on finitely many images.

    Args:
        msp_scores: log(1 - p) of each ID image, as `study.scoring.scores.msp` gives, (N,).
        right: whether each prediction is right, (N,).
        weights: weightings of the images.
        bins: their number.

    Returns:
        (B,) values.
    """
    confidence = -np.expm1(np.minimum(msp_scores, 0.0))
    bin_of = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gap = (right - confidence)[:, None] * weights.rows
    sums = np.stack([gap[bin_of == one].sum(axis=0) for one in range(bins)])
    return np.asarray(np.abs(sums).sum(axis=0) / weights.totals, dtype=np.float64)
