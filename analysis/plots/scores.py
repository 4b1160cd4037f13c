"""Pictures of per-image scores: histograms of ID against OOD, ROC curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.choice.selection import scores_at
from analysis.numbers import score_label
from analysis.plots.style import (
    BLACK,
    BLUE,
    COLUMN_IN,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    percent_axis,
    styled,
)
from analysis.tables import Records
from study.records.files import VAL_ID, SetScores
from study.scoring.measuring import fpr_at_recall, ood_metric, threshold_at_recall
from study.scoring.ranking import RECALL

Floats = NDArray[np.float64]
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
_STYLES = ("-", "--", "-.", ":")


def histograms(study: Records, trial_id: str, epoch: int) -> dict[str, Figure]:
    """Scores of validation ID against each OOD validation set: set name -> figure.

    Raises:
        BadInput: if the trial's per-image scores are missing or broken.
    """
    return set_histograms(scores_at(study, trial_id, epoch), study.own_score)


def set_histograms(
    sets: Mapping[str, SetScores], score: str, id_name: str = VAL_ID
) -> dict[str, Figure]:
    """The same for sets in hand, each with one epoch."""
    id_scores = sets[id_name].scores[score][0]
    return {
        name: histogram(id_scores, one.scores[score][0], name, score)
        for name, one in sets.items()
        if name != id_name
    }


def histogram(id_scores: Floats, ood_scores: Floats, name: str, score: str) -> Figure:
    """ID against one OOD set, with the threshold that keeps 95 % of ID."""
    threshold = threshold_at_recall(id_scores, RECALL)
    fpr = fpr_at_recall(id_scores, ood_scores)
    # The outermost scores would squeeze all others into a few bars.
    low, high = np.quantile(np.concatenate([id_scores, ood_scores]), [0.002, 0.998])
    edges = np.linspace(low, high, 41)
    with styled():
        figure, axes = new_figure(COLUMN_IN, 2.4)
        for values, colour, label in ((id_scores, BLUE, "ID"), (ood_scores, ORANGE, name)):
            share = np.histogram(np.clip(values, low, high), edges)[0] / len(values)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.3)
            axes.stairs(share, edges, color=colour, lw=1.2, label=f"{label}, n = {len(values):,}")
        axes.set_ylim(0, 1.25 * axes.dataLim.ymax)  # room for the words above the bars
        axes.axvline(threshold, color=BLACK, lw=1, ls=(0, (4, 3)))
        axes.annotate(
            f"95 % of ID below\n{100 * fpr:.1f} % of OOD too",
            (threshold, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2) if threshold < (low + high) / 2 else (-4, -2),
            textcoords="offset points",
            ha="left" if threshold < (low + high) / 2 else "right",
            va="top",
            fontsize=7.5,
            bbox={"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )
        axes.set_xlabel(f"{score_label(score)} score (higher = more OOD)")
        axes.set_ylabel("Share of images (%)")
        percent_axis(axes, y=True)
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def roc(study: Records, trial_id: str, epoch: int) -> Figure:
    """ROC curves of a trial on every OOD validation set, ID positive.

    Raises:
        BadInput: if the trial's per-image scores are missing or broken.
    """
    return set_roc(scores_at(study, trial_id, epoch), study.own_score)


def set_roc(sets: Mapping[str, SetScores], score: str, id_name: str = VAL_ID) -> Figure:
    """The same for sets in hand, each with one epoch; a dot marks FPR95 on each curve."""
    id_scores = sets[id_name].scores[score][0]
    with styled():
        figure, axes = new_figure(COLUMN_IN, 3.4)
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":", zorder=1)
        axes.axhline(RECALL, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=1)
        for i, name in enumerate(name for name in sets if name != id_name):
            ood = sets[name].scores[score][0]
            accepted, kept = roc_points(id_scores, ood)
            colour = _COLOURS[i % len(_COLOURS)]
            style = _STYLES[i % len(_STYLES)]
            label = f"{name}, AUROC {100 * ood_metric('auroc', id_scores, ood):.1f}"
            axes.plot(accepted, kept, color=colour, ls=style, lw=1.5, label=label, zorder=2)
            axes.scatter(fpr_at_recall(id_scores, ood), RECALL, s=18, color=colour, zorder=3)
        axes.set_aspect("equal")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_xlabel("OOD images accepted (%)")
        axes.set_ylabel("ID images accepted (%)")
        percent_axis(axes, x=True, y=True)
        figure.legend(loc="outside upper left", handlelength=1.8)
    return figure


def roc_points(id_scores: Floats, ood_scores: Floats) -> tuple[Floats, Floats]:
    """Shares accepted at each threshold, from none to all.

    Args:
        id_scores: (N,), higher = more OOD.
        ood_scores: (M,).

    Returns:
        Share of OOD and share of ID images at or below each distinct score, (T + 1,) each.
    """
    cuts = np.unique(np.concatenate([id_scores, ood_scores]))
    shares = [
        np.searchsorted(np.sort(values), cuts, side="right") / len(values)
        for values in (ood_scores, id_scores)
    ]
    accepted, kept = (np.concatenate([[0.0], share]) for share in shares)
    return accepted, kept
