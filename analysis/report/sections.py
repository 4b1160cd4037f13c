"""The report's words and tables, as plain values for the template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.bases import bases, seen_lines
from analysis.choice.frozen import corrected_how, corrected_of, corrected_text, wins_text
from analysis.choice.selection import ID_ACCURACY, Selection, base_scores, scores_at
from analysis.numbers import (
    metric_label,
    number,
    parameter_label,
    percent,
    plain_time,
    points,
    score_label,
    value_text,
    with_interval,
)
from analysis.results.final_test import earlier_openings, load_results, openings
from analysis.statistics.compare import DIFFERENCE, MEAN, WINNER, compare
from analysis.tables import BASE, SUMMARY, Records
from study.errors import BadInput
from study.records.frozen import read_frozen

Row = dict[str, Any]
MODEL_LABELS = {WINNER: "chosen", BASE: "base", DIFFERENCE: "difference"}


def header(study: Records) -> Row:
    """What ran, on which data."""
    data = study.manifest.get("data", {})
    spec = study.spec
    tables = (study.trials, study.tuning, study.confirming)
    time_s = sum(one["time_s"].sum() for one in tables if "time_s" in one.columns)
    more = [f"{len(study.tuning)} tuning trials"] if len(study.tuning) else []
    more += [f"{len(study.confirming)} confirming runs"] if len(study.confirming) else []
    return {
        "name": study.name,
        "recipe": spec.get("recipe", "unknown recipe"),
        "backbone": spec.get("model", {}).get("backbone", "unknown network"),
        "created": plain_time(study.manifest.get("created")),
        "command": study.manifest.get("command", ""),
        "demo": study.is_demo,
        "notes": data.get("notes", []),
        "counts": study.status_counts(),
        "num_trials": len(study.trials),
        "beside": "".join(f" and {one}" for one in more),
        "hours": f"{time_s / 3600:.1f} h" if time_s >= 3600 else f"{time_s / 60:.1f} min",
        "searcher": _how(spec),
        "scheduler": "" if spec.get("ablate") else spec.get("tune", {}).get("scheduler", ""),
        "seed": _seeds(spec),
    }


def _seeds(spec: Mapping[str, Any]) -> str:
    if spec.get("ablate"):
        return f"seeds {', '.join(str(one) for one in spec['ablate'].get('seeds') or ())}"
    seed = (spec.get("tune") or {}).get("seed")
    return "" if seed is None else f"seed {seed}"


def _how(spec: Mapping[str, Any]) -> str:
    design = (spec.get("ablate") or {}).get("design")
    return (
        f"{design} ablation".replace("_", "-")
        if design
        else str(spec.get("tune", {}).get("searcher", ""))
    )


def choice(study: Records, selection: Selection | None, compared: pd.DataFrame | None) -> Row:
    """The chosen trial, its numbers beside the base's, and its parameters."""
    if selection is None:
        return {"choice": None, "comparison": None, "per_set": None}
    row = study.trials.loc[study.trials["trial_id"] == selection.trial_id].iloc[0]
    interval = list(selection.interval) if selection.interval else None
    part = corrected_of(study, selection)
    first = selection.candidates.iloc[0]
    return {
        "choice": {
            "trial_id": selection.trial_id,
            "arm": first["arm"] if isinstance(first["arm"], str) else "",
            "num_seeds": len(selection.seed_trials),
            "candidate": "arm" if study.spec.get("ablate") else "finished trial",
            "epoch": selection.epoch,
            "metric": metric_label(selection.metric, ""),
            "value": _value(selection.metric, selection.value),
            "interval": [_value(selection.metric, end) for end in interval] if interval else None,
            "accuracy": percent(first[ID_ACCURACY]),
            "rule": selection.rule,
            "score": score_label(selection.score),
            "threshold": number(selection.threshold),
            "parameters": _parameters(study, row),
            "seal": _seal(study),
            "has_floor": study.floor is not None,
            "num_candidates": len(selection.candidates),
            "corrected": corrected_text(part, selection.metric),
            "corrected_how": corrected_how(part),
            "wins": wins_text(part),
            "num_eligible": int(selection.candidates["passes_floor"].sum()),
            "num_resamples": selection.num_resamples,
        },
        "comparison": _summary_rows(_with_own_score(study, selection, compared), selection.score),
        "per_set": _set_rows(compared),
    }


def _parameters(study: Records, row: pd.Series) -> list[tuple[str, str]]:
    """What was searched, then the margins that measured ones came to."""
    searched = [(parameter_label(c), value_text(row[c])) for c in study.searched]
    resolved = [
        (f"{parameter_label(c)} (nats)", value_text(row[c]))
        for c in study.trials.columns
        if c.endswith(".value") and c not in study.searched and pd.notna(row[c])
    ]
    return searched + resolved


def _value(metric: str, value: float) -> str:
    return number(value) if metric.endswith("objective") else f"{percent(value)} %"


def _seal(study: Records) -> str:
    try:
        return str(read_frozen(study.folder.path)["sha256"])
    except BadInput:
        return ""


def comparison(study: Records, selection: Selection) -> pd.DataFrame | None:
    """Chosen and base on the validation sets, as ``compare`` gives; None without scores."""
    if not study.has_scores(selection.trial_id):
        return None
    chosen = scores_at(study, selection.trial_id, selection.epoch)
    models = {WINNER: chosen}
    base = base_scores(study, selection.trial_id)
    if base and all(name in base for name in chosen):
        models[BASE] = {name: base[name] for name in chosen}
    try:
        return compare(models, seed=selection.seed)
    except BadInput:
        return compare({WINNER: chosen}, seed=selection.seed)  # the base saw other images


def _with_own_score(
    study: Records, selection: Selection, compared: pd.DataFrame | None
) -> pd.DataFrame | None:
    """The comparison; of a recipe whose own score the base lacks, the chosen trial alone."""
    if compared is None or selection.score in set(compared["score"]):
        return compared
    chosen = scores_at(study, selection.trial_id, selection.epoch)
    return compare({WINNER: chosen}, seed=selection.seed)


def _summary_rows(table: pd.DataFrame | None, score: str) -> list[Row] | None:
    """One row a metric: chosen, base, difference."""
    if table is None or score not in set(table["score"]):
        return None
    means = {model: row for (model, *key), row in _by_key(table).items() if key == [MEAN, score]}
    return [
        {
            "label": metric_label(metric, ""),
            **{
                MODEL_LABELS[model]: with_interval(
                    means[model], metric, points if model == DIFFERENCE else percent
                )
                if model in means
                else None
                for model in MODEL_LABELS
            },
        }
        for metric in SUMMARY
    ]


def _by_key(table: pd.DataFrame) -> dict[tuple[str, str, str], Row]:
    """(model, dataset, score) -> the row."""
    rows = table.to_dict("records")
    return {
        (row["model"], row["dataset"], row["score"]): {
            str(key): value for key, value in row.items()
        }
        for row in rows
    }


def _set_rows(table: pd.DataFrame | None) -> Row | None:
    """FPR95 and AUROC of every score on every set, base and chosen side by side."""
    if table is None:
        return None
    return side_by_side(table)


def side_by_side(table: pd.DataFrame, scores: tuple[str, ...] | None = None) -> Row:
    """A table of models by score: one row a set and model, columns FPR95 and AUROC per score.

    Args:
        table: from ``analysis.statistics.compare.compare``.
        scores: which, where they are there; all where None.
    """
    names = [s for s in table["score"].unique() if scores is None or s in scores]
    names = names or list(table["score"].unique())
    models = [m for m in (BASE, WINNER, DIFFERENCE) if m in set(table["model"])]
    index = _by_key(table)
    rows = []
    for dataset in table["dataset"].unique():
        for model in models:
            form = points if model == DIFFERENCE else percent
            cells = [
                with_interval(index[model, dataset, score], metric, form)
                for score in names
                for metric in ("fpr95", "auroc")
            ]
            first = index[model, dataset, names[0]]
            rows.append(
                {
                    "dataset": "mean over sets" if dataset == MEAN else dataset,
                    "images": f"{first['n_ood']:,.0f}",
                    "sources": f"{first['num_ood_groups']:,.0f}",
                    "first": model == models[0],
                    "span": len(models),
                    "model": MODEL_LABELS[model],
                    "cells": cells,
                    "is_mean": dataset == MEAN,
                }
            )
    return {"scores": [score_label(name) for name in names], "rows": rows}


def final(study: Records) -> Row | None:
    """The final test, None where it was not done."""
    table = load_results(study.folder)
    if table is None or table.empty:
        return None
    first = {row["model"]: row for row in reversed(_by_key(table).values())}
    accuracy = [
        (MODEL_LABELS[m], with_interval(first[m], "id_accuracy", form))
        for m, form in ((BASE, percent), (WINNER, percent), (DIFFERENCE, points))
        if m in first
    ]
    opened = openings(study)
    return {
        **side_by_side(table, ("msp", "energy")),
        "accuracy": accuracy,
        "n_id": f"{table['n_id'].iloc[0]:,}",
        "times": len(opened),
        "stale": bool(opened) and opened[-1].get("selection") != _seal(study),
        "earlier": [
            {
                "time": plain_time(one.get("time")),
                "run": Path(str(one.get("run", ""))).name,
                "reason": one.get("reason", ""),
            }
            for one in earlier_openings(study.folder)
        ],
    }


def trials(study: Records, selection: Selection | None) -> Row:
    """All trials, the ranked ones first."""
    ranks: Mapping[str, Any] = {}
    if selection is not None:
        ranks = dict(
            zip(selection.candidates["trial_id"], selection.candidates["rank"], strict=True)
        )
    metrics = [m for m in dict.fromkeys([study.metric, "val/auroc", ID_ACCURACY])]
    metrics = [metric for metric in metrics if metric in study.trials.columns]
    order = study.trials["trial_id"].map(lambda t: _or_last(ranks.get(t)))
    rows = study.trials.loc[order.sort_values(kind="stable").index]  # trial id among equals
    arms = [name for name in ("arm", "seed") if study.spec.get("ablate") and name in rows.columns]
    return {
        "columns": [name.capitalize() for name in arms]
        + [f"{metric_label(m, '').replace(', ID positive', '')}, %" for m in metrics]
        + [parameter_label(column) for column in study.searched],
        "rows": [
            {
                "trial_id": row["trial_id"],
                "rank": "" if pd.isna(ranks.get(row["trial_id"])) else ranks[row["trial_id"]],
                "status": row["status"],
                "epochs": value_text(row.get("epochs")),
                "cells": [value_text(row[name]) for name in arms]
                + [_value(m, row[m]).removesuffix(" %") for m in metrics]
                + [value_text(row[column]) for column in study.searched],
                "chosen": selection is not None and row["trial_id"] == selection.trial_id,
            }
            for _, row in rows.iterrows()
        ],
    }


def _or_last(rank: Any) -> int:
    return 10**9 if rank is None or pd.isna(rank) else int(rank)


def provenance(study: Records) -> Row:
    """Data roles, leak check, versions, machine, base, events."""
    manifest = study.manifest
    data = manifest.get("data", {})
    leaks = data.get("leak_check") or {}
    git = manifest.get("git") or {}
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
            for event in study.ledger
            if _is_told(event["event"])
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
        for key, value in base.items():
            if not isinstance(value, Mapping | list):
                label = key.replace("_", " ")
                yield f"{name}: {label}" if arms else f"base, {label}", value_text(value)


def _seen_facts(study: Records) -> Iterator[tuple[str, str]]:
    """What the initialisations were trained on, and which sets' numbers that touches."""
    told = (study.manifest.get("pretrained_on") or {}).get("declared") or []
    if told:
        yield "initialisations were trained on", ", ".join(told)
    for line in seen_lines(study):
        role, _, what = line.partition(": ")
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
        }
        for one in leaks.get("collisions", [])
    ]


def _is_told(event: str) -> bool:
    """The ledger's inner steps (ask, result ...) are for resuming, not for readers."""
    told = ("start", "resum", "extend", "select", "test", "finish", "interrupt", "stop", "end")
    return event.startswith(told)


def _details(event: Mapping[str, Any]) -> str:
    skipped = ("event", "time", "crc32")
    pairs = [(key, value) for key, value in event.items() if key not in skipped]
    texts = [(k, ", ".join(v) if isinstance(v, Mapping) else value_text(v)) for k, v in pairs]
    return "; ".join(f"{key.replace('_', ' ')}: {text}" for key, text in texts if text)


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as (name, text) rows."""
    for key, value in content.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list) and len(value) > 8:
            yield name, f"{len(value)} entries, see manifest.json"
        else:
            yield name, value_text(value)
