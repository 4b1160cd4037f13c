"""``python -m analysis select``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.choice.alternatives import HALF, RULES, alternatives_of, stability_of
from analysis.choice.frozen import corrected_of, corrected_text, freeze_choice, wins_text
from analysis.choice.selection import Selection, select, summary_row
from analysis.commands import Result
from analysis.numbers import metric_label, percent, points, value_text
from analysis.tables import Records
from study.records.ledger import Ledger
from study.scoring.objective import ID_ACCURACY


def run(study: Records, options: Namespace) -> Result:
    """The choice with its candidates; frozen, unless the study is still running."""
    chosen = select(study)
    frozen = _freeze_once(study, chosen)
    part = corrected_of(study, chosen)
    lines = [_chosen(chosen), corrected_text(part), wins_text(part), chosen.rule, frozen]
    tables = {f"{study.name}: candidates": _candidates(study, chosen)}
    content = {**summary_row(chosen), **part, "candidates": chosen.candidates}
    if options.alternatives:
        table, stable = alternatives_of(study), stability_of(study)
        tables |= _alternatives(study, table, stable)
        lines += _alternative_lines(stable)
        content |= {"alternatives": table, "stability": stable}
    return Result(content, tables, [line for line in lines if line])


def _freeze_once(study: Records, chosen: Selection) -> str:
    if study.status_counts().get("running"):
        return "Not frozen: the study is still running."
    with Ledger(study.folder.ledger) as ledger:
        return freeze_choice(study, chosen, ledger)


def _chosen(chosen: Selection) -> str:
    """The choice with its value and interval."""
    value = f"{metric_label(chosen.metric)} {percent(chosen.value)}"
    if len(chosen.seed_trials) > 1:
        value = f"mean {value} over {len(chosen.seed_trials)} seeds"
    if chosen.interval:
        low, high = map(percent, chosen.interval)
        value += f", 95 % interval [{low}, {high}]"
    return f"Trial {chosen.trial_id}, epoch {chosen.epoch}: {value}"


def _candidates(study: Records, chosen: Selection) -> pd.DataFrame:
    """The candidates, best first; of an ablation one row an arm."""
    table = chosen.candidates
    shown = pd.DataFrame({"rank": table["rank"].map(value_text)})
    if (table["num_seeds"] > 1).any():
        if table["arm"].notna().any():
            shown["arm"] = table["arm"]
        shown["seeds"] = table["num_seeds"].map(value_text)
        shown["trial of the median seed"] = table["trial_id"]
    else:
        shown["trial"] = table["trial_id"]
    shown["epoch"] = table["epoch"].map(value_text)
    for metric in study.told_metrics:
        shown[metric_label(metric)] = table[metric].map(percent)
    shown["floor"] = ["holds" if holds else "missed" for holds in table["passes_floor"]]
    return shown


def _alternatives(
    study: Records, table: pd.DataFrame, stable: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The rules, their regrets, and the choice of OOD validation sets, as texts."""
    metric = metric_label(study.metric)
    rules = {
        "rule": table["rule"],
        "trial": table["trial_id"],
        "epoch": table["epoch"].map(value_text),
        metric: table["value"].map(percent),
        metric_label(ID_ACCURACY): table["id_accuracy"].map(percent),
        "on the half held back": table["held_back"].map(percent),
        "floor holds there, %": table["floor_kept"].map(percent),
    }
    regrets = {"regret of": table["rule"]} | {
        f"against {other}": _regrets(table, f"regret/{other}").mask(table["rule"] == other, "")
        for other in table["rule"]
    }
    sets = {
        "left out": stable["left_out"],
        "chosen": stable["trial_id"],
        "epoch": stable["epoch"].map(value_text),
        "same choice, %": stable["same"].map(percent),
        "regret on what was left out": _regrets(stable, "regret"),
    }
    titles = (
        f"{study.name}: ways to choose",
        f"Regret in points of {metric}, mean [95 % over random halves]; positive = worse",
        "Another choice of OOD validation, points [95 %]",
    )
    return dict(zip(titles, map(pd.DataFrame, (rules, regrets, sets)), strict=True))


def _regrets(table: pd.DataFrame, name: str) -> pd.Series:
    value, low, high = (table[f"{name}{end}"].map(points) for end in ("", "_low", "_high"))
    return value + " [" + low + ", " + high + "]"


def _alternative_lines(stable: pd.DataFrame) -> list[str]:
    """What the rules do, and what halves stand for where there is one set."""
    lines = [f"{rule}: {told}." for rule, told in RULES.items()]
    if HALF in set(stable["left_out"]):
        lines.append(
            "There is one OOD validation set, so none can be left out: its random halves, by "
            "source, stand for other choices of it."
        )
    return lines
