"""``python -m analysis compare``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pandas as pd

import analysis
from analysis.commands import Result
from analysis.joined import Joined
from analysis.numbers import (
    MISSING,
    metric_label,
    percent,
    points,
    score_label,
    value_text,
    with_interval,
)
from analysis.statistics.compare import set_label
from analysis.tables import direction_of
from study.errors import BadInput, Fault
from study.scoring.objective import ID_ACCURACY

_SHOWN = ("fpr95", "auroc", "id_accuracy")


def run(options: Namespace) -> Result:
    """What each run chose, and the differences on the images that two share.

    Raises:
        BadInput: for fewer than two runs, and for a run that cannot be read.
    """
    paths: list[Path] = options.directory
    if len(paths) < 2:
        rule = "one run alone compares with nothing"
        raise BadInput(Fault("RUN", "", rule, "Name two or more.", value=str(paths[0])))
    joined = analysis.load(paths[0], paths[1], *paths[2:])
    choices, pairs = joined.choices(), joined.pairs()
    apart = joined.differences() if pairs["compares"].any() else pd.DataFrame()
    tables = {"What each chose, on its own validation images": _choices(choices)}
    tables |= {
        f"{score_label(score)} score: differences in points [95 %], paired; the first less the "
        "second": _apart(rows)
        for score, rows in _of_own_scores(joined, apart)
    }
    lines = [
        f"{one['study']}: {one['problem']}" for one in choices.to_dict("records") if one["problem"]
    ]
    lines += [_pair(row) for row in pairs.to_dict("records")]
    lines += [f"{name}: {fault}" for name, one in joined.studies.items() for fault in one.faults]
    if options.out is not None:
        from analysis.comparison import write_comparison

        lines.append(str(write_comparison(options.out, joined, tables, lines)))
    content: dict[str, Any] = {"choices": choices, "pairs": pairs, "differences": apart}
    return Result(content, tables, lines)


def _choices(table: pd.DataFrame) -> pd.DataFrame:
    """The choices for readers: accuracy and floor beside every value."""
    shown = pd.DataFrame({"run": table["study"], "trial": table["trial_id"].fillna(MISSING)})
    metrics = table["metric"].unique()
    title = metric_label(metrics[0], short=True) if len(metrics) == 1 else "value (%)"
    if len(metrics) > 1:
        shown["metric"] = [metric_label(one, "", short=True) for one in table["metric"]]
    low, high = (table[end].map(percent) for end in ("low", "high"))
    shown[title] = table["value"].map(percent) + " [" + low + ", " + high + "]"
    shown[metric_label(ID_ACCURACY)] = table["id_accuracy"].map(percent)
    shown["floor (%)"] = table["floor"].map(percent)
    shown["candidates"] = table["num_candidates"].map(value_text)
    shown["recipe"] = table["recipe"]
    return shown


def _of_own_scores(joined: Joined, apart: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Differences by the scores that a study selects by; by all where they share none of them."""
    if apart.empty:
        return []
    own = {one.own_score for one in joined.studies.values()}
    rows = apart[apart["score"].isin(own)]
    rows = apart if rows.empty else rows
    return [(str(score), some) for score, some in rows.groupby("score", sort=False)]


def _apart(rows: pd.DataFrame) -> pd.DataFrame:
    texts = []
    for row in rows.to_dict("records"):
        told = {"runs": row["pair"], "OOD set": set_label(row["dataset"])}
        for metric in _SHOWN:
            cell = with_interval(row, metric, points)
            told[_titled(metric)] = " ".join(cell.values())
        texts.append(told)
    return pd.DataFrame(texts)


def _titled(metric: str) -> str:
    better = "lower" if direction_of(f"val/{metric}") == "min" else "higher"
    return f"{metric_label(metric, '', short=True)} ({better} is better)"


def _pair(row: dict[Any, Any]) -> str:
    """What of a pair compares, as a sentence."""
    if not row["compares"]:
        return f"{row['pair']}: cannot be compared: {row['why']}"
    why = f"; {row['why']}" if row["why"] else ""
    return f"{row['pair']}: compared on {', '.join(row['sets'])}{why}"
