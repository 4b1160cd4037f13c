"""Which base a trial started from, and what the initialisations had seen before.

A study has one base; an ablation whose arms change how a base is made has several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd

from analysis.tables import BASE, Records
from study.counted import counted

_COLUMN = "param/model.pretrained_on"
_SECTION = "pretrained_on"


def bases(study: Records) -> dict[str, Mapping[str, Any]]:
    """What was measured of every base, by its name; empty where there is none."""
    others: Mapping[str, Mapping[str, Any]] = study.manifest.get("other_bases") or {}
    return {BASE: study.base, **others} if study.base else {}


def base_name(study: Records, trial_id: str) -> str:
    """Name of the base that a trial started from, ``base`` where there is one for all."""
    found = bases(study)
    rows = study.trials.loc[study.trials["trial_id"] == trial_id]
    if len(found) < 2 or rows.empty:
        return BASE
    arm = str(rows["arm"].iloc[0])
    return next((name for name, one in found.items() if arm in one.get("arms", ())), BASE)


def base_of_trial(study: Records, trial_id: str) -> Mapping[str, Any]:
    """What was measured of the base that a trial started from; empty where there is none."""
    return bases(study).get(base_name(study, trial_id), {})


def file_of(study: Records, base: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a base that was not trained for this study came from: ``file``, ``sha256`` and more.

    Empty for one that was. Older studies tell no more than that it may have seen the validation
    images, which is so of files alone.
    """
    if told := base.get("from_file"):
        return dict(told)
    init = study.section("model").get("init")
    return {"file": str(init)} if base.get("saw_validation") and init != "base" else {}


def seen(study: Records) -> dict[str, dict[str, list[str]]]:
    """Trials whose initialisation had seen images of a set of this study.

    Returns:
        Trial id -> role -> the sources that it is from, as declared in ``model.pretrained_on``;
        trials with none are left out.
    """
    overlaps, rows = _overlaps(study), study.trials
    if not overlaps or not len(rows):
        return {}
    told = rows[_COLUMN] if _COLUMN in rows.columns else pd.Series("", index=rows.index)
    found = {}
    for trial_id, text in zip(rows["trial_id"], told.fillna("").astype(str), strict=True):
        sources = {one.strip() for one in text.split(",")}
        shared = {
            role: [one for one in known if one in sources] for role, known in overlaps.items()
        }
        if any(shared.values()):
            found[str(trial_id)] = {role: ours for role, ours in shared.items() if ours}
    return found


def seen_text(roles: Mapping[str, list[str]]) -> str:
    """Of one trial, for a table."""
    return "; ".join(f"{role} ({', '.join(sources)})" for role, sources in roles.items())


def seen_by_role(study: Records) -> dict[str, str]:
    """Role -> which sources it shares with initialisations, and how many trials that touches."""
    marked = seen(study)
    trials = counted(len(study.trials), "trial")
    return {
        role: f"initialisations were trained on {', '.join(sources)}, which it is from; "
        f"{sum(role in roles for roles in marked.values())} of {trials}."
        for role, sources in _overlaps(study).items()
    }


def seen_lines(study: Records) -> list[str]:
    """``seen_by_role`` as sentences."""
    return [f"{role}: {what}" for role, what in seen_by_role(study).items()]


def marks(study: Records, trial_ids: Sequence[str] | None = None) -> list[str]:
    """What must stand beside numbers of trials whose start had seen the images, as sentences.

    Args:
        study: its records.
        trial_ids: whose numbers are shown; of all trials, and of the bases, where None.

    Returns:
        Nothing where no start saw anything; else that a base may have seen validation images, and
        which sets an initialisation was trained on the source of.
    """
    names = list(study.trials["trial_id"]) if trial_ids is None else list(trial_ids)
    told = saw_validation(study, trial_ids)
    found, roles = seen(study), dict[str, set[str]]()
    for one in names:
        for role, sources in found.get(str(one), {}).items():
            roles.setdefault(role, set()).update(sources)
    told += [
        f"The initialisation was trained on {', '.join(sorted(sources))}, which {role} is from: "
        "its numbers there may flatter."
        for role, sources in sorted(roles.items())
    ]
    return told


def saw_validation(study: Records, trial_ids: Sequence[str] | None = None) -> list[str]:
    """That bases of trials may have seen validation images; arguments as ``marks``'s."""
    own = None if trial_ids is None else {base_name(study, one) for one in trial_ids}
    told = []
    for name, base in bases(study).items():
        if base.get("saw_validation") and (own is None or name in own):
            file = PurePath(str(file_of(study, base).get("file") or "a file")).name
            told.append(
                f"The base comes from {file} and may have seen the validation images: validation "
                "numbers of it, and of trials that start from it, may flatter."
            )
    return list(dict.fromkeys(told))


def _overlaps(study: Records) -> Mapping[str, list[str]]:
    return (study.manifest.get(_SECTION) or {}).get("overlaps") or {}
