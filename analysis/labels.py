"""What readers see of the names of metrics, scores and parameters."""

from __future__ import annotations

from study.scoring.metrics import METRICS

LABELS = {
    "fpr95": "FPR95, ID positive",
    "fpr95_ood_positive": "FPR95, OOD positive",
    "auroc": "AUROC",
    "aupr_in": "AUPR, ID positive",
    "aupr_out": "AUPR, OOD positive",
    "id_accuracy": "ID accuracy",
    "objective": "Objective",
}
SCORE_LABELS = {
    **{"msp": "MSP", "max_logit": "Max logit", "energy": "Energy", "knn": "kNN"},
    "detector": "Post-hoc detector",
    **{"vim": "ViM", "react": "ReAct", "rmd": "RMD", "gen": "GEN", "odin": "ODIN", "ash": "ASH"},
    **{"scale": "SCALE", "dice": "DICE", "she": "SHE", "mahalanobis": "Mahalanobis"},
}


def metric_label(metric: str, unit: str = " (%)") -> str:
    """What an axis or a heading calls a metric."""
    parts = metric.removeprefix("val/").split("/")
    label = LABELS.get(parts[-1], parts[-1])
    where = f", {parts[0]}, {score_label(parts[1])}" if len(parts) == 3 else ""
    return f"{label}{where}{'' if parts[-1] == 'objective' else unit}"


def score_label(score: str) -> str:
    """What a heading calls a score."""
    return SCORE_LABELS.get(score, score.replace("_", " "))


def parameter_label(column: str) -> str:
    """What an axis calls a parameter: ``param/train.m_in.sd`` is ``m_in (sd)``."""
    name = column.removeprefix("param/").removeprefix("train.")
    for suffix, unit in ((".sd", " (sd)"), (".value", ""), (".absolute", "")):
        if name.endswith(suffix):
            return name.removesuffix(suffix) + unit
    return name


def is_fraction(metric: str) -> bool:
    """Whether a metric is told in percent, and its differences in points."""
    return metric.rsplit("/", 1)[-1] in METRICS
