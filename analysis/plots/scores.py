"""Pictures of per-image scores: histograms of ID against OOD, ROC curves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.choice.selection import base_scores, place_of, scores_at
from analysis.numbers import percent, score_label
from analysis.plots import style
from analysis.tables import Records
from study.records.files import VAL_ID
from study.scoring.measuring import fpr_at_recall, ood_metric, threshold_at_recall
from study.scoring.ranking import RECALL

Floats = NDArray[np.float64]
_STYLES = ("-", "--", "-.", ":")


def _scores(
    study: Records, trial_id: str | None, epoch: int | None
) -> tuple[Floats, dict[str, Floats]]:
    """The study's own score of a trial on validation ID and on each OOD validation set."""
    sets = scores_at(study, *place_of(study, trial_id, epoch))
    found = {name: one.scores[study.own_score][0] for name, one in sets.items()}
    return found.pop(VAL_ID), found


def histograms(
    study: Records, trial_id: str | None = None, epoch: int | None = None
) -> dict[str, Figure]:
    """Scores of validation ID against each OOD validation set: set name -> figure.

    Args:
        study: its records.
        trial_id: whose; the chosen trial's where None.
        epoch: of it; its checkpoint's where None.

    Raises:
        BadInput: if the trial's per-image scores are missing or broken.
    """
    inside, outside = _scores(study, trial_id, epoch)
    return {name: histogram(inside, one, name, study.own_score) for name, one in outside.items()}


def histogram(id_scores: Floats, ood_scores: Floats, name: str, score: str) -> Figure:
    """ID against one OOD set, with the threshold that keeps 95 % of ID."""
    threshold = threshold_at_recall(id_scores, RECALL)
    fpr = fpr_at_recall(id_scores, ood_scores)
    # The outermost scores would squeeze all others into a few bars.
    low, high = np.quantile(np.concatenate([id_scores, ood_scores]), [0.002, 0.998])
    edges = np.linspace(low, high, 41)
    with style.drawing(2.4) as (figure, axes):
        for values, colour, label in (
            (id_scores, style.BLUE, "ID"), (ood_scores, style.ORANGE, name),
        ):  # fmt: skip
            style.histogram(axes, values, edges, colour, f"{label}, n = {len(values):,}")
        axes.set_ylim(0, 1.25 * axes.dataLim.ymax)  # room for the words above the bars
        axes.axvline(threshold, color=style.BLACK, lw=1, ls=style.DASHED)
        right = threshold < (low + high) / 2
        axes.annotate(
            f"95 % of ID below\n{percent(fpr)} % of OOD too", (threshold, 1.0),
            xycoords=("data", "axes fraction"), xytext=(4 if right else -4, -2),
            textcoords="offset points", ha="left" if right else "right", va="top",
            fontsize=style.SMALL,
            bbox={"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )  # fmt: skip
        axes.set_xlabel(f"{score_label(score)} score (higher = more OOD)")
        axes.set_ylabel("Share of images (%)")
        style.percent_axis(axes.yaxis)
        style.legend(figure, axes, ncols=2)
    return figure


def roc(study: Records, trial_id: str | None = None, epoch: int | None = None) -> Figure:
    """ROC curves of a trial on every OOD validation set, ID positive; a dot marks FPR95 on each.

    Args:
        study: its records.
        trial_id: whose; the chosen trial's where None.
        epoch: of it; its checkpoint's where None.

    Raises:
        BadInput: if the trial's per-image scores are missing or broken.
    """
    inside, outside = _scores(study, trial_id, epoch)
    base = base_scores(study, place_of(study, trial_id, epoch)[0]) or {}
    before = {
        n: one.scores[study.own_score][0]
        for n, one in base.items()
        if study.own_score in one.scores
    }
    with style.drawing(3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=style.GREY, lw=0.8, ls=":", zorder=1)
        axes.axhline(RECALL, color=style.GREY, lw=0.8, ls=style.DASHED, zorder=1)
        for i, (name, ood) in enumerate(outside.items()):
            colour = style.SERIES[i % len(style.SERIES)]
            axes.plot(
                *roc_points(inside, ood), color=colour, ls=_STYLES[i % len(_STYLES)], lw=1.5,
                label=f"{name}, AUROC {percent(ood_metric('auroc', inside, ood))}", zorder=2,
            )  # fmt: skip
            axes.scatter(fpr_at_recall(inside, ood), RECALL, s=18, color=colour, zorder=3)
            if name in before and VAL_ID in before:
                look: style.Look = {"color": style.GREY, "ls": _STYLES[i % len(_STYLES)]}
                area = percent(ood_metric("auroc", before[VAL_ID], before[name]))
                points = roc_points(before[VAL_ID], before[name])
                axes.plot(*points, label=f"{name}, base, AUROC {area}", lw=1.0, zorder=1, **look)
        axes.set_aspect("equal")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_xlabel("OOD images accepted (%)")
        axes.set_ylabel("ID images accepted (%)")
        style.percent_axis(axes.xaxis, axes.yaxis)
        style.legend(figure, axes, handlelength=1.8)
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
