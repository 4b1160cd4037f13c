"""What is said of failed trials: by cause, those that tuned an arm or confirmed among them."""

from __future__ import annotations

from typing import Any

from analysis.tables import Records
from study.records.failures import FailedTrial, group_failures


def failures(study: Records) -> dict[str, Any]:
    """Failed trials by cause, and each distinct traceback once.

    Returns:
        causes (each with its reason and the ids of its trials, which say what the trial was for
        where it was no trial of the search or of an arm) and text (of failures.txt).
    """
    kinds = {"": study.trials, " (tuning)": study.tuning, " (confirming)": study.confirming}
    failed = [
        FailedTrial(f"{row['trial_id']}{kind}", str(row.get("reason") or "no reason is on record"))
        for kind, rows in kinds.items()
        if len(rows)
        for _, row in rows[rows["status"] == "failed"].iterrows()
    ]
    causes = group_failures(sorted(failed, key=lambda one: one.trial_id))
    file = study.folder.failures
    return {
        "causes": [{"reason": one.reason, "trials": one.trials} for one in causes],
        "text": file.read_text(encoding="utf-8", errors="replace").strip()
        if file.exists()
        else "",
    }
