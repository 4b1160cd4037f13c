"""The report's words and tables, as plain values for the template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.bases import bases, file_of, marks, seen_by_role
from analysis.choice.frozen import (
    corrected_how,
    corrected_of,
    corrected_text,
    frozen_or_nothing,
    notes_of,
    wins_text,
)
from analysis.choice.kept import kept_apart
from analysis.choice.selection import Selection, base_scores, scores_at
from analysis.numbers import (
    hundredths,
    metric_label,
    parameter_label,
    percent,
    plain_time,
    state_text,
    value_text,
)
from analysis.results.final_test import (
    earlier_openings,
    load_results,
    main_scores,
    openings,
    selective_rows,
)
from analysis.statistics.compare import MEAN, MODEL_LABELS, WINNER, compare
from analysis.tables import BASE, Records, under_floor
from study.counted import counted
from study.errors import BadInput
from study.records.files import TEST_OPENED
from study.records.frozen import SELECTED
from study.scoring.objective import ALPHA

Row = dict[Any, Any]
# Those of the ledger's events that are for readers; the others are for resuming.
_TOLD_EVENTS = ("started", "resumed", "extended", "stopped", SELECTED, TEST_OPENED)


def header(study: Records) -> Row:
    """What ran, on which data."""
    data, ablate, tune = study.manifest.get("data", {}), *map(study.section, ("ablate", "tune"))
    tables = (study.trials, study.tuning, study.confirming)
    time_s = sum(one["time_s"].sum() for one in tables if "time_s" in one.columns)
    beside = {"tuning trial": len(study.tuning), "confirming run": len(study.confirming)}
    seed = "" if tune.get("seed") is None else f"seed {tune['seed']}"
    return {
        "name": study.name,
        "recipe": study.spec.get("recipe", "unknown recipe"),
        "backbone": study.section("model").get("backbone", "unknown network"),
        "created": plain_time(study.manifest.get("created")),
        "command": study.manifest.get("command", ""),
        "demo": study.is_demo,
        "notes": data.get("notes", []),
        "counts": study.status_counts(),
        "num_trials": counted(len(study.trials), "trial"),
        "beside": "".join(f" and {counted(n, what)}" for what, n in beside.items() if n),
        "hours": f"{time_s / 3600:.1f} h" if time_s >= 3600 else f"{time_s / 60:.1f} min",
        "searcher": f"{study.design} ablation".replace("_", "-")
        if study.design
        else tune.get("searcher", ""),
        "scheduler": "" if ablate else tune.get("scheduler", ""),
        "seed": f"seeds {', '.join(map(str, ablate.get('seeds') or ()))}" if ablate else seed,
    }


def choice(
    study: Records, selection: Selection | None, compared: pd.DataFrame | None, held: pd.DataFrame
) -> Row:
    """The chosen trial, its numbers beside the base's, and its parameters.

    Args:
        study: its records.
        selection: the choice, None where there is none.
        compared: from ``comparison``.
        held: from ``analysis.choice.held.held_trials``.
    """
    if selection is None:
        return {"choice": None, "comparison": None, "per_set": None}
    row = study.trials.loc[study.trials["trial_id"] == selection.trial_id].iloc[0]
    part = corrected_of(study, selection)
    arm = selection.candidates["arm"].iloc[0]
    return {
        "choice": vars(selection)
        | {
            "arm": arm if isinstance(arm, str) else "",
            "candidate": "arm" if study.section("ablate") else "finished trial",
            "parameters": _parameters(study, row),
            "seal": frozen_or_nothing(study).get("sha256", ""),
            "notes": notes_of(study, selection),
            "state": state_text(selection.epoch, selection.alpha),
            "is_base": selection.is_base,
            "few": selection.few,
            "marks": marks(study, selection.seed_trials),
            "held": _held(selection, held),
            "kept": apart.text if (apart := kept_apart(study, selection)) else "",
            "corrected": corrected_text(part),
            "corrected_how": corrected_how(part),
            "wins": wins_text(part),
        },
        "comparison": _own_means(study, selection, compared),
        "per_set": None if compared is None else side_by_side(compared),
    }


def _held(selection: Selection, table: pd.DataFrame) -> Row | None:
    """How surely the choice holds the floor, mean over its seeds; None where it is not known."""
    own = table[table["trial_id"].isin(selection.seed_trials) & table["holds"].notna()]
    if own.empty:
        return None
    holds, shortfall = (float(own[name].mean()) for name in ("holds", "shortfall"))
    return {"holds": holds, "shortfall": hundredths(shortfall)}


def _parameters(study: Records, row: pd.Series) -> list[tuple[str, str]]:
    """What was searched, then the margins that measured ones came to."""
    searched = [(parameter_label(c), value_text(row[c])) for c in study.searched]
    resolved = [
        (f"{parameter_label(c)} (nats)", value_text(row[c]))
        for c in study.trials.columns
        if c.endswith(".value") and c not in study.searched and pd.notna(row[c])
    ]
    return searched + resolved


def comparison(study: Records, selection: Selection) -> pd.DataFrame | None:
    """Chosen and base on the validation sets, as ``compare`` gives; None without scores."""
    if not study.has_scores(selection.trial_id):
        return None
    chosen = scores_at(study, *selection.place)
    models = {WINNER: chosen}
    base = base_scores(study, selection.trial_id)
    if base and all(name in base for name in chosen):
        models[BASE] = {name: base[name] for name in chosen}
    try:
        return compare(models, seed=selection.seed)
    except BadInput:
        return compare({WINNER: chosen}, seed=selection.seed)  # the base saw other images


def _own_means(
    study: Records, selection: Selection, table: pd.DataFrame | None
) -> dict[str, Row | None] | None:
    """Chosen, base and difference by the study's own score, means over the sets; by their label.

    Of a recipe whose own score the base lacks, the chosen trial alone.
    """
    if table is None:
        return None
    if selection.score not in set(table["score"]):
        chosen = scores_at(study, *selection.place)
        table = compare({WINNER: chosen}, seed=selection.seed)
    rows = table[(table["score"] == selection.score) & (table["dataset"] == MEAN)]
    means = {row["model"]: row for row in rows.to_dict("records")}
    return {label: means.get(model) for model, label in MODEL_LABELS.items()} if means else None


def side_by_side(table: pd.DataFrame, scores: Sequence[str] = ()) -> Row:
    """A table of models by score, for the template.

    Args:
        table: from ``analysis.statistics.compare.compare``.
        scores: of it, that are shown; all where none is named.

    Returns:
        scores, and sets: (dataset, [(label of a model, its rows, one a score)]).
    """
    scores = scores or list(table["score"].unique())
    models = [m for m in MODEL_LABELS if m in set(table["model"])]
    index = {(row["model"], row["dataset"], row["score"]): row for row in table.to_dict("records")}
    sets = [
        (name, [(MODEL_LABELS[m], [index[m, name, score] for score in scores]) for m in models])
        for name in table["dataset"].unique()
    ]
    return {"scores": scores, "sets": sets}


def final(study: Records) -> Row | None:
    """The final test, None where it was not done."""
    table = load_results(study.folder)
    if table is None or table.empty:
        return None
    first = {row["model"]: row for row in table.drop_duplicates("model").to_dict("records")}
    opened, sealed = openings(study), frozen_or_nothing(study).get("sha256", "")
    return {
        **side_by_side(table, main_scores(table)),
        "first": [(label, first[m]) for m, label in MODEL_LABELS.items() if m in first],
        "selective": selective_rows(table),
        "marks": marks(study),
        "n_id": table["n_id"].iloc[0],
        "times": len(opened),
        "stale": bool(opened) and opened[-1].get("selection") != sealed,
        "earlier": [
            {
                "time": one.get("time"),
                "run": Path(str(one.get("run", ""))).name,
                "reason": one.get("reason", ""),
            }
            for one in earlier_openings(study.folder)
        ],
    }


def trials(study: Records, selection: Selection | None, held: pd.DataFrame) -> Row:
    """All trials, the ranked ones first, each with how surely it holds the floor."""
    sure = held.set_index("trial_id")["holds"] if held["holds"].notna().any() else None
    ranks: Mapping[str, Any] = {}
    if selection is not None:
        ranked = selection.candidates.dropna(subset="rank")
        ranks = dict(zip(ranked["trial_id"], ranked["rank"], strict=True))
    metrics, arms = study.told_metrics, study.arm_columns
    order = study.trials["trial_id"].map(lambda name: ranks.get(name, 10**9))
    rows = study.trials.loc[order.sort_values(kind="stable").index]  # trial id among equals
    return {
        "has_arm": "arm" in arms,
        "marks": marks(study),
        "columns": [name.capitalize() for name in arms]
        + ["Alpha"] * study.has_path
        + [f"{metric_label(metric, '', short=True)}, %" for metric in metrics]
        + ([] if sure is None else ["Floor holds, %"])
        + [parameter_label(column) for column in study.searched],
        "rows": [
            {
                "trial_id": row["trial_id"],
                "rank": ranks.get(row["trial_id"], ""),
                "status": f"{row['status']}{', under the floor' if under else ''}",
                "epochs": value_text(row.get("epochs")),
                "cells": [value_text(row[name]) for name in arms]
                + [value_text(row.get(ALPHA))] * study.has_path
                + [percent(row[metric]) for metric in metrics]
                + ([] if sure is None else [percent(sure.get(row["trial_id"]))])
                + [value_text(row[column]) for column in study.searched],
                "chosen": selection is not None and row["trial_id"] == selection.trial_id,
            }
            for (_, row), under in zip(rows.iterrows(), under_floor(study, rows), strict=True)
        ],
    }


def provenance(study: Records) -> Row:
    """Data roles, leak check, versions, machine, base, events."""
    manifest = study.manifest
    data, git = manifest.get("data", {}), manifest.get("git") or {}
    leaks = data.get("leak_check") or {}
    changed = ", with local changes" if git.get("dirty") else ""
    facts = {
        "command": manifest.get("command"),
        "commit": f"{git.get('commit') or 'unknown'}{changed}",
        "code.diff, SHA-256": git.get("diff_sha256") if git.get("dirty") else None,
        "spec, SHA-256": manifest.get("spec_sha256"),
        "data, SHA-256": manifest.get("data_sha256"),
        **{f"seed, {key}": value for key, value in (manifest.get("seeds") or {}).items()},
        "threads": manifest.get("threads"),
        **{f"hardware, {key}": value for key, value in (manifest.get("hardware") or {}).items()},
        **{f"version, {key}": value for key, value in (manifest.get("versions") or {}).items()},
    }
    return {
        "roles": [{"name": name, **role} for name, role in (data.get("roles") or {}).items()],
        "leaks": list(_flat({k: v for k, v in leaks.items() if k != "collisions"})),
        "collisions": _collisions(leaks),
        "facts": [
            (key.replace("_", " "), value_text(v)) for key, v in facts.items() if v or v == 0
        ],
        "base_facts": [*_base_facts(study), *_seen_facts(study)],
        "events": [
            {
                "time": plain_time(event.get("time")),
                "event": event["event"].replace("_", " "),
                "details": _details(event),
            }
            for event in study.events(*_TOLD_EVENTS)
        ],
    }


def _base_facts(study: Records) -> Iterator[tuple[str, str]]:
    """What was measured of the base, or of each of several."""
    for name, base in bases(study).items():
        arms = base.get("arms") or []
        if arms:
            yield f"{name}: arms", "; ".join(arms)
            spec = base.get("spec") or {}
            yield f"{name}: starts from", str(spec.get("init", ""))
            probe = (spec.get("train") or {}).get("fine_tune") == "linear"
            yield f"{name}: training", "linear probe" if probe else "full"
        origin = {f"from {key}": value for key, value in file_of(study, base).items() if value}
        for key, value in {**base, **origin}.items():
            if not isinstance(value, Mapping | list):
                label = key.replace("_", " ")
                yield f"{name}: {label}" if arms else f"base, {label}", value_text(value)


def _seen_facts(study: Records) -> Iterator[tuple[str, str]]:
    """What the initialisations were trained on, and which sets' numbers that touches."""
    told = (study.manifest.get("pretrained_on") or {}).get("declared") or []
    if told:
        yield "initialisations were trained on", ", ".join(told)
    for role, what in seen_by_role(study).items():
        yield f"seen before, {role}", what


def _collisions(leaks: Mapping[str, Any]) -> list[Row]:
    """What two sets share, one row each."""
    kinds = {"near": "near-duplicates", "group": "same sources", "exact": "exact copies"}
    actions = {"stop": "stopped the study", "drop": "dropped", "tell": "kept, told here"}
    return [
        {
            "sets": f"{one.get('weaker', '')} and {one.get('stronger', '')}",
            "kind": kinds.get(str(one.get("kind")), ""),
            "counts": f"{one.get('num_weaker', 0):,} and {one.get('num_stronger', 0):,}",
            "action": actions.get(str(one.get("action")), ""),
            "remark": str(one.get("remark") or ""),
            "examples": [" = ".join(map(str, pair)) for pair in one.get("examples") or ()],
        }
        for one in leaks.get("collisions", [])
    ]


def _details(event: Mapping[str, Any]) -> str:
    skipped = ("event", "time", "crc32")
    pairs = [(key, value) for key, value in event.items() if key not in skipped]
    texts = [(k, ", ".join(v) if isinstance(v, Mapping) else value_text(v)) for k, v in pairs]
    return "; ".join(f"{key.replace('_', ' ')}: {text}" for key, text in texts if text)


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as (name, text) rows."""
    for key, value in content.items():
        # Further in, keys are names of the user's sets.
        name = f"{prefix}{key}" if prefix else str(key).replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list) and len(value) > 8:
            yield name, f"{len(value)} entries, see manifest.json"
        else:
            yield name, value_text(value)
