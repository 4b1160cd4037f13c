"""What is said of an ablation's arms: their effects as texts, and what belongs beside them.

Percent for fractions, n and failures beside everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from analysis.bases import seen_lines
from analysis.numbers import (
    MISSING,
    is_fraction,
    listed,
    metric_label,
    number,
    percent,
    points,
    signed,
    value_text,
)
from analysis.results.effects import ARM, BASELINE, MAIN, STEP, arm_means, effects
from analysis.statistics.paired import BOOTSTRAP_FROM
from analysis.tables import Records
from study.counted import counted
from study.errors import BadInput
from study.records.files import LOOK, TUNED, trial_id

HEADINGS = {ARM: "against the baseline", MAIN: "main effects", STEP: "steps of the path"}
_SIGNIFICANT = 0.05


def effect_tables(
    study: Records | Sequence[Records], table: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """What ``effects`` gave as texts: title -> table, one a metric and kind of effect.

    In a factorial design the arms are left to the plain table: its main effects are what the
    design is for.
    """
    studies = [study] if isinstance(study, Records) else study
    return {
        _title(studies, metric, kind, rows): _texts(metric, rows)
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


def _title(studies: Sequence[Records], metric: str, kind: str, rows: pd.DataFrame) -> str:
    fraction = is_fraction(metric)
    means = pd.concat([arm_means(one, metric).set_index("arm")["mean"] for one in studies])
    baseline = (percent if fraction else number)(means.groupby(level=0).mean().get(BASELINE))
    better = {"min": "lower is better", "max": "higher is better"}.get(rows["direction"].iloc[0])
    told = (
        f"{metric_label(metric, ' (%)' if fraction else '')}, {HEADINGS[kind]}",
        f"baseline {baseline}",
        "differences in points" if fraction else "differences",
        better,
    )
    return "; ".join(filter(None, told))


def _texts(metric: str, rows: pd.DataFrame) -> pd.DataFrame:
    form, difference = (percent, points) if is_fraction(metric) else (number, signed)
    columns = {
        "effect": rows["effect"],
        "value": (rows["reference_mean"].astype(float) + rows["mean"]).map(form),
        "difference": rows["mean"].map(difference),
        "95 % interval": _interval(rows, "low", "high", difference),
        "over hold-outs": _interval(rows, "among_low", "among_high", difference),
        "sd": rows["sd"].map(form),
        "d": rows["standardised"].map(number),
        "p": rows["p"].map(p_text),
        "p (Holm)": rows["p_holm"].map(p_text),
        "pairs": rows["n"].map(str) + " of " + rows["num_seeds"].map(str),
        "failed": rows["num_failed"].map(str),
    }
    return pd.DataFrame({name: one for name, one in columns.items() if one is not None})


def _interval(
    rows: pd.DataFrame, low: str, high: str, form: Callable[[Any], str]
) -> pd.Series | None:
    """Both ends in brackets; None where the table has no such interval."""
    if low not in rows.columns:
        return None
    told = "[" + rows[low].map(form) + ", " + rows[high].map(form) + "]"
    return told.where(rows[low].notna(), MISSING)


def p_text(p: float) -> str:
    """A p value with three significant digits, never a bare 0."""
    return MISSING if pd.isna(p) else ("< 0.0001" if p < 1e-4 else f"{p:.3g}")


def effect_notes(study: Records, table: pd.DataFrame) -> list[str]:
    """Sentences that belong beside the numbers: methods, the floor of p, failures, gaps."""
    notes = [*method_notes(table), *retuned_notes(study), *seen_lines(study)]
    if study.design == "fractional_factorial" and study.spec["ablate"].get("resolution") != 4:
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
        notes.append(
            f"{what}: {counted(row['num_missing'], 'trial')} pruned, unfinished or not begun."
        )
    return notes


def stopped_notes(study: Records) -> list[str]:
    """A sentence for each arm that the rule stopped, with what its numbers are worth then."""
    rule = study.section("ablate").get("stop")
    if not rule:
        return []
    seeds = study.spec["ablate"]["seeds"]
    looks = study.events(LOOK)
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


def method_notes(table: pd.DataFrame) -> list[str]:
    """How the numbers of ``effects`` were made, and what so few pairs cannot show."""
    return [_method(table), *_floors(table)] if len(table) else []


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


def retuned_text(study: Records) -> str:
    """With how many trials over which parameters at which seed; empty where arms were not."""
    retune = study.section("ablate").get("retune")
    if not retune:
        return ""
    return (
        "Every arm, the baseline too, was re-tuned with "
        f"{counted(retune['num_trials'], 'trial')} over {listed(list(retune['search']))} "
        f"at seed {retune['seed']}, the same random points in "
        "each arm, and measured at its own best point by validation objective; tuning trials "
        "count in no effect."
    )


def retuned_notes(study: Records) -> list[str]:
    """The sentence, where the best points lie, and each arm whose tuning trials failed."""
    text = retuned_text(study)
    if not text:
        return []
    notes, trials = [text, *_best_points(study)], study.tuning
    failed = trials[trials["status"] == "failed"] if len(trials) else trials
    for arm, rows in failed.groupby("arm", sort=False) if len(failed) else ():
        of = int((trials["arm"] == arm).sum())
        notes.append(f"{arm}: {len(rows)} of {of} tuning trials failed; failed ones lose.")
    return notes + [
        f"{one['arm']}: no tuning trial finished, so it was measured at its default values."
        for one in study.events(TUNED)
        if one["trial"] is None
    ]


def _best_points(study: Records) -> list[str]:
    """At what each arm was measured, and by which trial; one sentence, none before a choice."""
    told = [
        f"{one['arm']} {value_text(one['settings'])} (trial {trial_id(one['trial'])})"
        for one in study.events(TUNED)
        if one["trial"] is not None
    ]
    return [f"Best points: {'; '.join(told)}."] if told else []


def arms(study: Records) -> dict[str, Any] | None:
    """The effects of an ablation's arms as tables of texts, None for other studies."""
    if not study.section("ablate"):
        return None
    try:
        table = effects(study)
    except BadInput as error:
        return {"tables": [], "notes": [fault.rule for fault in error.faults], "effects": None}
    told = effect_tables(study, table)
    tables = [
        {"title": title, "columns": list(one.columns), "rows": one.to_numpy().tolist()}
        for title, one in told.items()
    ]
    return {"tables": tables, "notes": effect_notes(study, table), "effects": table}
