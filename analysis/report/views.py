"""Selection, confirmation and effects for readers of a terminal and of the report.

Percent for fractions, n and failures beside everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from analysis.bases import seen_lines
from analysis.choice.alternatives import HALF, RULES
from analysis.choice.confirmation import (
    confirmation,
    confirmation_rule,
    confirmed_table,
    kept_images,
)
from analysis.choice.selection import ID_ACCURACY, Selection
from analysis.numbers import (
    MISSING,
    form_of,
    is_fraction,
    metric_label,
    number,
    percent,
    points,
    signed,
    value_text,
    with_interval,
)
from analysis.report.retuned import retuned_notes
from analysis.results.effects import ARM, BASELINE, MAIN, STEP, arm_means, design_of
from analysis.results.final_test import load_seeds
from analysis.statistics.compare import MEAN
from analysis.statistics.paired import BOOTSTRAP_FROM
from analysis.tables import Records
from study.records.files import LOOK

HEADINGS = {ARM: "against the baseline", MAIN: "main effects", STEP: "steps of the path"}
_SIGNIFICANT = 0.05


def effect_tables(study: Records, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What ``effects`` gave as texts: title -> table, one a metric and kind of effect.

    In a factorial design the arms are left to the plain table: its main effects are what the
    design is for.
    """
    return {
        _title(study, metric, kind, rows): _texts(metric, rows)
        for metric, kind, rows in shown_effects(table)
    }


def shown_effects(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Metric, kind of effect and its rows, in the order of a reader's tables."""
    kinds = [MAIN] if (table["kind"] == MAIN).any() else [ARM, STEP]
    for metric in map(str, table["metric"].unique()):
        for kind in kinds:
            rows = table[(table["metric"] == metric) & (table["kind"] == kind)]
            if len(rows):
                yield metric, kind, rows


def _title(study: Records, metric: str, kind: str, rows: pd.DataFrame) -> str:
    fraction = is_fraction(metric)
    better = {"min": "lower is better", "max": "higher is better"}.get(rows["direction"].iloc[0])
    means = arm_means(study, metric).set_index("arm")
    form = percent if fraction else number
    baseline = form(means["mean"].get(BASELINE, float("nan")))
    told = [f"{metric_label(metric, ' (%)' if fraction else '')}, {HEADINGS[kind]}"]
    told.append(f"baseline {baseline}")
    told.append("differences in points" if fraction else "differences")
    return "; ".join([*told, *([better] if better else [])])


def _texts(metric: str, rows: pd.DataFrame) -> pd.DataFrame:
    fraction = is_fraction(metric)
    form, difference = (percent, points) if fraction else (number, signed)
    spread = percent if fraction else number
    reference = rows["reference_mean"].astype(float)
    return pd.DataFrame(
        {
            "effect": rows["effect"],
            "value": (reference + rows["mean"]).map(form),
            "difference": rows["mean"].map(difference),
            "95 % interval": [
                _interval(low, high, difference)
                for low, high in zip(rows["low"], rows["high"], strict=True)
            ],
            "sd": rows["sd"].map(spread),
            "d": rows["standardised"].map(number),
            "p": rows["p"].map(p_text),
            "p (Holm)": rows["p_holm"].map(p_text),
            "pairs": [f"{n} of {of}" for n, of in zip(rows["n"], rows["num_seeds"], strict=True)],
            "failed": [str(n) for n in rows["num_failed"]],
        }
    )


def _interval(low: float, high: float, form: Callable[[Any], str]) -> str:
    return MISSING if pd.isna(low) else f"[{form(low)}, {form(high)}]"


def p_text(p: float) -> str:
    """A p value with three significant digits, never a bare 0."""
    return MISSING if pd.isna(p) else ("< 0.0001" if p < 1e-4 else f"{p:.3g}")


def effect_notes(study: Records, table: pd.DataFrame) -> list[str]:
    """Sentences that belong beside the numbers: methods, the floor of p, failures, gaps."""
    notes = [_method(table), *_floors(table), *retuned_notes(study), *seen_lines(study)]
    design = design_of(study)
    if design == "fractional_factorial" and study.spec["ablate"].get("resolution") != 4:
        notes.append(
            "Resolution 3: each main effect is mixed up with interactions of two other factors."
        )
    failed = study.trials[study.trials["status"] == "failed"]
    for _, row in failed.iterrows():
        told = f"arm {row['arm']} failed at seed {row['seed']}"
        notes.append(f"{row['trial_id']}: {told}: {row['reason']}")
    notes += stopped_notes(study)
    first = table.drop_duplicates(["kind", "effect"])
    for _, row in first[first["num_missing"] > 0].iterrows():
        what = f"{row['effect']} against {row['reference']}"
        notes.append(f"{what}: {row['num_missing']} trials pruned, unfinished or not begun.")
    return notes


def stopped_notes(study: Records) -> list[str]:
    """A sentence for each arm that the rule stopped, with what its numbers are worth then."""
    rule = study.spec.get("ablate", {}).get("stop")
    if not rule:
        return []
    seeds = study.spec["ablate"]["seeds"]
    looks = [one for one in study.ledger if one["event"] == LOOK]
    notes = [
        f"Arms may stop early (ablate.stop): after each of {rule['min_seeds']} to "
        f"{len(seeds) - 1} seeds an arm ends where its one-sided t-bound, alpha "
        f"{rule['alpha']:g} over {len(seeds) - rule['min_seeds']} looks, is worse than the "
        f"baseline by more than {rule['margin']:g}; {len(looks)} looks were taken."
    ]
    return notes + [
        f"{one['arm']}: stopped after {look['seeds']} of {len(seeds)} seeds by the rule, at look "
        f"{place}, with {one['n']} pairs. Its difference is biased away from zero, and interval "
        "and p value know nothing of the looks: it ended because it looked bad. Its trials that "
        "were not run are no failures."
        for place, look in enumerate(looks, start=1)
        for one in look["arms"]
        if one["stopped"]
    ]


def _method(table: pd.DataFrame) -> str:
    methods = set(table["method"].dropna())
    told = {"t": f"t (below {BOOTSTRAP_FROM} pairs)", "bootstrap": "bootstrap over pairs"}
    which = " and ".join(told[one] for one in sorted(methods)) or "none: they need two pairs"
    return (
        f"Paired differences over shared seeds; intervals: {which}; p: exact sign-flip, two-sided;"
        " Holm over the effects of one table; d: mean over sd of the differences."
    )


def _floors(table: pd.DataFrame) -> list[str]:
    """With few seeds no p value can be small, whatever the effect."""
    notes = []
    least = table.drop_duplicates("n").sort_values("n")
    for n, floor in zip(least["n"], least["p_floor"], strict=True):
        if n and floor > _SIGNIFICANT:
            way_out = "go by the interval, or give more seeds" if n > 1 else "give more seeds"
            notes.append(
                f"With {n} pair{'s' * (n > 1)} no p value can be below {floor:.3g} (2/2^{n}), "
                f"however large the effect: {way_out}."
            )
    for (_, kind), rows in table.groupby(["metric", "kind"], sort=False):
        tested = rows[rows["n"] > 0]
        floor = tested["p_floor"].min() * len(tested)
        if len(tested) and tested["p_floor"].max() <= _SIGNIFICANT < floor:
            notes.append(
                f"Corrected over {len(tested)} effects ({kind}) no p value can be below "
                f"{min(floor, 1.0):.3g} with these seeds."
            )
    return list(dict.fromkeys(notes))


Row = dict[str, Any]


def confirmation_rows(study: Records) -> Row | None:
    """What the report says of the confirmation; None where none was asked for.

    Keys: waiting (a sentence where it has not ended, else empty), rule, metric, rows (a candidate
    each, texts), exported (trial id of the median seed), nobody (whether none passes), seeds (of
    the winner on the test sets, texts; empty before the final test).
    """
    found = confirmation(study)
    if found is None:
        waiting = waiting_text(study)
        return {"waiting": waiting, "rows": [], "seeds": []} if waiting else None
    exported = "" if found.exported is None else str(found.exported["trial_id"])
    form = form_of(study.metric)
    rows = []
    for row in confirmed_table(study).to_dict("records"):
        interval = "" if pd.isna(row["low"]) else f"[{form(row['low'])}, {form(row['high'])}]"
        rows.append(
            {
                "trial_id": row["trial_id"],
                "discovery": form(row["discovery"]),
                "mean": {"value": form(row["mean"]), "interval": interval},
                "each": ", ".join(form(value) for value in row["values"]),
                "accuracy": percent(row["id_accuracy"]),
                "verdict": "wins" if row["winner"] else row["why"] or "passes",
                "winner": row["winner"],
            }
        )
    return {
        "waiting": "",
        "rule": confirmation_rule(study, found),
        "metric": metric_label(study.metric).replace(", ID positive", ""),
        "images": "validation, the kept part" if kept_images(study) else "validation",
        "rows": rows,
        "exported": exported,
        "nobody": found.winner is None,
        "seeds": _tested(study, exported),
    }


def waiting_text(study: Records) -> str:
    """How far a confirmation is that has not ended; empty where none was asked for."""
    asked = (study.spec.get("select") or {}).get("confirm")
    if not asked:
        return ""
    status = (
        study.confirming["status"].astype(str) if len(study.confirming) else pd.Series(dtype=str)
    )
    ended = int(status.isin(("finished", "failed")).sum())
    wanted = int(asked["top"]) * int(asked["seeds"])
    return (
        f"The {asked['top']} best candidates are to be trained anew on {asked['seeds']} fresh "
        f"seeds each; {ended} of at most {wanted} runs have ended. Until then the search's own "
        "numbers decide."
    )


def _tested(study: Records, exported: str) -> list[Row]:
    """The final test of each seed of the winner, mean over the OOD sets, by the own score."""
    table = load_seeds(study.folder)
    if table is None:
        return []
    table = table[(table["dataset"] == MEAN) & (table["score"] == study.own_score)]
    return [
        {
            "trial_id": row["trial_id"],
            "seed": MISSING if pd.isna(row["seed"]) else str(row["seed"]),
            "exported": row["trial_id"] == exported,
            "cells": [with_interval(row, metric) for metric in ("fpr95", "auroc", "id_accuracy")],
        }
        for _, row in table.iterrows()
    ]


def confirming_table(study: Records) -> pd.DataFrame:
    """The runs on fresh seeds as texts, for a terminal."""
    rows = study.confirming
    form = form_of(study.metric)
    texts = {
        "trial": rows["trial_id"],
        "confirms": rows["confirms"],
        "seed": rows["seed"].astype(str),
        "status": rows["status"].astype(str),
        "epochs": rows["epochs"].map(lambda value: MISSING if pd.isna(value) else str(value)),
        metric_label(study.metric): rows[study.metric].map(form),
    }
    return pd.DataFrame(texts | {metric_label(ID_ACCURACY): rows[ID_ACCURACY].map(percent)})


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
