"""How numbers and names are written for readers.

Percent with one decimal, intervals in brackets; metrics, scores and parameters by their labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from study.scoring.metrics import METRICS

MISSING = "–"


def percent(fraction: Any) -> str:
    """A fraction as percent without the sign: .2642 is ``26.4``."""
    return MISSING if pd.isna(fraction) else f"{100 * fraction:.1f}"


def with_unit(fraction: Any) -> str:
    """A fraction as a text that says its unit: .2642 is ``26.4 %``."""
    return percent(fraction) if pd.isna(fraction) else f"{percent(fraction)} %"


def points(fraction: Any) -> str:
    """A difference of fractions in percentage points, with its sign: ``−33.6``."""
    if pd.isna(fraction):
        return MISSING
    return f"{100 * fraction:+.1f}".replace("-", "−")


def hundredths(fraction: Any) -> str:
    """A small fraction in hundredths of a percentage point: .00042 is ``0.04``."""
    return MISSING if pd.isna(fraction) else f"{100 * fraction:.2f}"


def state_text(epoch: int, alpha: float) -> str:
    """A state of a trial: its epoch, and the place on the path where it is not as trained."""
    return f"epoch {epoch}" if alpha == 1 else f"epoch {epoch}, alpha {alpha:g}"


def number(value: Any) -> str:
    """A number with four significant digits."""
    return MISSING if value is None or pd.isna(value) else f"{value:.4g}".replace("-", "−")


def with_interval(
    row: Mapping[Any, Any] | pd.Series, metric: str, form: Callable[[Any], str] = percent
) -> dict[str, str]:
    """A metric of a table with ``_low`` and ``_high`` columns: value and interval."""
    low, high = form(row[f"{metric}_low"]), form(row[f"{metric}_high"])
    return {"value": form(row[metric]), "interval": f"[{low}, {high}]"}


def value_text(value: Any) -> str:
    """Any recorded value, short."""
    if isinstance(value, list | tuple):
        return ", ".join(value_text(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(one)}" for key, one in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or pd.isna(value):
        return MISSING
    if isinstance(value, float) or hasattr(value, "dtype"):
        as_float = float(value)
        if as_float == math.floor(as_float) and abs(as_float) < 1e6:
            return f"{as_float:.0f}".replace("-", "−")
        return number(as_float)
    if isinstance(value, int) and abs(value) >= 100_000:
        return f"{value:,}"
    return str(value)


def plain_time(text: Any) -> str:
    """An ISO time as ``01 January 2025, 12:00 UTC``; other texts as they are."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text or "")
    return f"{moment:%d %B %Y, %H:%M} {moment.tzname() or ''}".strip()


def signed(value: Any) -> str:
    """A difference with its sign, three significant digits."""
    return MISSING if pd.isna(value) else f"{value:+.3g}".replace("-", "−")


SCORE_LABELS = {
    **{"msp": "MSP", "max_logit": "Max logit", "energy": "Energy", "knn": "kNN"},
    "detector": "Post-hoc detector",
    **{"vim": "ViM", "react": "ReAct", "rmd": "RMD", "gen": "GEN", "odin": "ODIN", "ash": "ASH"},
    **{"scale": "SCALE", "dice": "DICE", "she": "SHE", "mahalanobis": "Mahalanobis"},
}


def metric_label(metric: str, unit: str = " (%)", *, short: bool = False) -> str:
    """What an axis or a heading calls a metric.

    Args:
        metric: such as ``val/fpr95``; of one set and score with these.
        unit: after it; the objective has none.
        short: without the class that counts as positive, where that is ID.
    """
    parts = metric.removeprefix("val/").split("/")
    known = METRICS.get(parts[-1])
    label = parts[-1] if known is None else known.short_label if short else known.label
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
    known = METRICS.get(metric.rsplit("/", 1)[-1])
    return known is not None and known.fraction


def shortened(name: str, longest: int) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def plain(value: Any) -> Any:
    """JSON's own types: a DataFrame is a list of rows, what is missing is null."""
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, str | bool):
        return value
    if pd.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
