"""``python -m analysis select``."""

from __future__ import annotations

from argparse import Namespace

import pandas as pd

from analysis.bases import marks
from analysis.choice.alternatives import HALF, RULES, alternatives_of, stability_of
from analysis.choice.frozen import (
    corrected_of,
    corrected_text,
    freeze_choice,
    left_out_text,
    wins_text,
)
from analysis.choice.held import HELD, held_text, with_held
from analysis.choice.kept import kept_apart
from analysis.choice.selection import (
    NOTHING_BEAT_THE_BASE,
    NoSelection,
    Selection,
    select,
    summary_row,
)
from analysis.choice.whole import refuse_changed, unchecked_note, unfinished_note
from analysis.commands import Result
from analysis.numbers import hundredths, metric_label, percent, points, state_text, value_text
from analysis.report.advice import advice_of, prices_table
from analysis.tables import Records
from study.counted import counted
from study.records.ledger import Ledger, is_held
from study.scoring.objective import ID_ACCURACY


def run(study: Records, options: Namespace) -> Result:
    """The choice with its candidates; frozen, unless the study is still running."""
    refuse_changed(study, but=study.folder.selection)
    advice = advice_of(study)
    try:
        chosen = select(study)
    except NoSelection as error:
        raise NoSelection(study, "\n".join([error.why, *advice.lines])) from error
    frozen = _freeze_once(study, chosen, options.now or "")
    part = corrected_of(study, chosen)
    candidates = with_held(study, chosen.candidates)
    held = {name: candidates[name].iloc[0] for name in HELD}
    lines = [_chosen(chosen), NOTHING_BEAT_THE_BASE if chosen.is_base else ""]
    apart = kept_apart(study, chosen)
    lines += [
        unfinished_note(study),
        unchecked_note(study),
        chosen.few,
        *marks(study, chosen.seed_trials),
        held_text(**held),
        apart.text if apart else "",
        corrected_text(part),
        left_out_text(part),
        wins_text(part),
        chosen.rule,
        frozen,
    ]
    lines += advice.lines
    tables = {f"{study.name}: candidates": _candidates(study, candidates)}
    content = {
        **summary_row(chosen),
        **part,
        **held,
        "few_candidates": chosen.few,
        "marks": marks(study, chosen.seed_trials),
        "candidates": candidates,
    }
    content |= {"kept_apart": apart and apart.plain(), "advice": advice.plain()}
    if advice.prices is not None:
        tables["Other floors, on halves that did not choose"] = prices_table(advice.prices)
    if options.alternatives:
        table, stable = alternatives_of(study), stability_of(study)
        tables |= _alternatives(study, table, stable)
        lines += _alternative_lines(stable)
        content |= {"alternatives": table, "stability": stable}
    return Result(content, tables, [line for line in lines if line])


def _freeze_once(study: Records, chosen: Selection, now: str) -> str:
    if is_held(study.folder.ledger):
        return "Not frozen: the study is still running."
    with Ledger(study.folder.ledger) as ledger:
        if len(ledger.records) != len(study.ledger):
            return "Not frozen: the study has moved on since it was read. Give the command again."
        return freeze_choice(study, chosen, ledger, now=now)


def _chosen(chosen: Selection) -> str:
    """The choice with its value and interval."""
    value = f"{metric_label(chosen.metric)} {percent(chosen.value)}"
    if len(chosen.seed_trials) > 1:
        value = f"mean {value} over {counted(len(chosen.seed_trials), 'seed')}"
    if chosen.interval:
        low, high = map(percent, chosen.interval)
        value += f", 95 % interval [{low}, {high}]"
    return f"Trial {chosen.trial_id}, {state_text(chosen.epoch, chosen.alpha)}: {value}"


def _candidates(study: Records, table: pd.DataFrame) -> pd.DataFrame:
    """The candidates, best first; of an ablation one row an arm."""
    shown = pd.DataFrame({"rank": table["rank"].map(value_text)})
    if (table["num_seeds"] > 1).any():
        if table["arm"].notna().any():
            shown["arm"] = table["arm"]
        shown["seeds"] = table["num_seeds"].map(value_text)
        shown["trial of the median seed"] = table["trial_id"]
    else:
        shown["trial"] = table["trial_id"]
    shown["epoch"] = table["epoch"].map(value_text)
    if study.has_path:
        shown["alpha"] = table["alpha"].map(value_text)
    for metric in study.told_metrics:
        shown[metric_label(metric, short=True)] = table[metric].map(percent)
    shown["floor"] = ["reached" if passes else "missed" for passes in table["passes_floor"]]
    if table["floor_holds"].notna().any():
        shown["holds, %"] = table["floor_holds"].map(percent)
        shown["shortfall"] = table["floor_shortfall"].map(hundredths)
    return shown


def _alternatives(
    study: Records, table: pd.DataFrame, stable: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """The rules, their regrets, and the choice of OOD validation sets, as texts."""
    metric = metric_label(study.metric)
    rules = {
        "rule": table["rule"],
        "trial": table["trial_id"],
        "state": [state_text(*one) for one in zip(table["epoch"], table["alpha"], strict=True)],
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
    tables = (pd.DataFrame(one) for one in (rules, regrets, sets))
    return dict(zip(titles, tables, strict=True))


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
