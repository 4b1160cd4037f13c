"""The selection, its alternatives and its stability as a reader sees them in a terminal."""

from __future__ import annotations

import pandas as pd

from analysis.choice.alternatives import HALF, RULES
from analysis.choice.selection import ID_ACCURACY, Selection
from analysis.labels import metric_label
from analysis.numbers import form_of, percent, points, value_text
from analysis.tables import Records


def candidate_table(study: Records, chosen: Selection) -> pd.DataFrame:
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
    for metric in dict.fromkeys([study.metric, "val/auroc", ID_ACCURACY]):
        shown[metric_label(metric)] = table[metric].map(form_of(metric))
    shown["floor"] = ["holds" if holds else "missed" for holds in table["passes_floor"]]
    return shown


def chosen_line(chosen: Selection) -> str:
    """The choice with its value and interval."""
    form = form_of(chosen.metric)
    value = f"{metric_label(chosen.metric)} {form(chosen.value)}"
    if len(chosen.seed_trials) > 1:
        value = f"mean {value} over {len(chosen.seed_trials)} seeds"
    if chosen.interval:
        value += f", 95 % interval [{form(chosen.interval.low)}, {form(chosen.interval.high)}]"
    return f"Trial {chosen.trial_id}, epoch {chosen.epoch}: {value}"


def alternative_tables(
    study: Records, table: pd.DataFrame, stable: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The rules, their regrets, and the choice of OOD validation sets, as texts."""
    metric = metric_label(study.metric)
    rules = pd.DataFrame({"rule": table["rule"], "trial": table["trial_id"]})
    rules["epoch"] = table["epoch"].map(value_text)
    rules[metric] = table["value"].map(percent)
    rules[metric_label(ID_ACCURACY)] = table["id_accuracy"].map(percent)
    rules["on the half held back"] = table["held_back"].map(percent)
    rules["floor holds there, %"] = table["floor_kept"].map(percent)
    regrets = pd.DataFrame({"regret of": table["rule"]})
    for other in table["rule"]:
        regrets[f"against {other}"] = [
            "" if row["rule"] == other else _signed(row, f"regret/{other}")
            for _, row in table.iterrows()
        ]
    sets = pd.DataFrame({"left out": stable["left_out"], "chosen": stable["trial_id"]})
    sets["epoch"] = stable["epoch"].map(value_text)
    sets["same choice, %"] = stable["same"].map(percent)
    sets["regret on what was left out"] = [_signed(row, "regret") for _, row in stable.iterrows()]
    return {
        f"{study.name}: ways to choose": rules,
        f"Regret in points of {metric}, mean [95 % over random halves]; positive = worse": regrets,
        "Another choice of OOD validation, points [95 %]": sets,
    }


def _signed(row: pd.Series, name: str) -> str:
    low, high = points(row[f"{name}_low"]), points(row[f"{name}_high"])
    return f"{points(row[name])} [{low}, {high}]"


def alternative_lines(stable: pd.DataFrame) -> list[str]:
    """What the rules do, and what halves stand for where there is one set."""
    lines = [f"{rule}: {told}." for rule, told in RULES.items()]
    if HALF in set(stable["left_out"]):
        lines.append(
            "There is one OOD validation set, so none can be left out: its random halves, by "
            "source, stand for other choices of it."
        )
    return lines
