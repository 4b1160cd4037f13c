"""What is said of arms that were re-tuned with equal budgets before they were measured."""

from __future__ import annotations

from analysis.numbers import value_text
from analysis.report.methods_search import joined
from analysis.tables import Records
from study.records.files import TUNED, trial_id


def retuned_text(study: Records) -> str:
    """With how many trials over which parameters at which seed; empty where arms were not."""
    retune = (study.spec.get("ablate") or {}).get("retune")
    if not retune:
        return ""
    return (
        f"Every arm, the baseline too, was re-tuned with {retune['num_trials']} trials over "
        f"{joined(list(retune['search']))} at seed {retune['seed']}, the same random points in "
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
        for one in study.ledger
        if one["event"] == TUNED and one["trial"] is None
    ]


def _best_points(study: Records) -> list[str]:
    """At what each arm was measured, and by which trial; one sentence, none before a choice."""
    told = [
        f"{one['arm']} {value_text(one['settings'])} (trial {trial_id(one['trial'])})"
        for one in study.ledger
        if one["event"] == TUNED and one["trial"] is not None
    ]
    return [f"Best points: {'; '.join(told)}."] if told else []
