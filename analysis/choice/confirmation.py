"""Confirmation: which candidates are trained anew on fresh seeds, and who wins by them.

The best trial of a search is in part its luckiest; a mean over seeds that the search never used
is not, but for the winner's being the best of the confirmed ones in its turn (`corrected_mean`).
The seed of the discovery is left out of it. Where a part of validation is kept for
confirmation, the mean is of that part alone, which the search never saw either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.bases import base_name
from analysis.choice.selection import (
    NoSelection,
    Place,
    Selection,
    place_in,
    rank_candidates,
    scores_at,
)
from analysis.numbers import percent, plain, with_unit
from analysis.statistics.paired import student, t_interval
from analysis.tables import Records, direction_of
from study.records.files import CONFIRM, KEPT, TRIAL_JSON, VAL_ID, WEIGHTS, RunFolder
from study.records.frozen import file_hash
from study.records.ledger import Record
from study.scoring.intervals import Interval
from study.scoring.measuring import threshold_at_recall
from study.scoring.objective import FLOOR_HOLDS, ID_ACCURACY
from study.scoring.ranking import RECALL
from study.seeding import numpy_generator

_DRAWS = 4000


@dataclass(frozen=True)
class Confirmed:
    """A candidate beside its runs on fresh seeds.

    Attributes:
        trial_id: the candidate.
        discovery: its value in the search, of the study's metric.
        runs: one row a fresh seed: trial_id, seed, status, checkpoint_epoch, and the metrics.
        metric: column of ``runs`` that candidates are ranked by.
        mean: of that metric over the finished runs, NaN where there is none.
        interval: t-interval of the mean over the seeds, 95 %; None below two finished runs.
        id_accuracy: mean over the finished runs, on the images that the floor was measured on.
        passes: whether every run finished and the mean accuracy reaches the floor.
        why: why it does not pass; empty where it does.
    """

    trial_id: str
    discovery: float
    runs: pd.DataFrame
    metric: str
    mean: float
    interval: Interval | None
    id_accuracy: float
    passes: bool
    why: str


@dataclass(frozen=True)
class ConfirmedChoice:
    """What a study's own re-runs say.

    Attributes:
        num_searched: trials that the search had when the candidates were chosen.
        num_seeds: fresh seeds of each candidate.
        candidates: best of the search first.
        winner: the candidate that wins; None where none passes.
        exported: of the winner's runs the one of the median value, which stands for it.
        corrected: of the winner's mean, without what it owes to having been the best of them;
            None where nothing was compared, or a candidate has one seed.
        interval: of ``corrected``.
    """

    num_searched: int
    num_seeds: int
    candidates: tuple[Confirmed, ...]
    winner: Confirmed | None
    exported: pd.Series | None
    corrected: float | None = None
    interval: Interval | None = None


def candidates_to_confirm(run: RunFolder, top: int) -> list[int]:
    """Numbers of the best candidates above the floor, at most ``top``, best first.

    None where no trial may be selected: there is nothing to confirm then.
    """
    try:
        ranked = rank_candidates(Records.read(run.path))
    except NoSelection:
        return []
    return [int(name) for name in ranked.loc[ranked["passes_floor"], "trial_id"].head(top)]


def confirmation(study: Records) -> ConfirmedChoice | None:
    """The newest choice whose runs have all ended; None where there is none.

    Rule: the best mean of the metric over the fresh seeds, among candidates whose runs all
    finished and whose mean ID accuracy reaches the floor; ties go to the better discovery. Of
    the winner's runs the median one is exported, of an even number the worse of the middle two.
    """
    for event in reversed(study.events(CONFIRM)):
        if event["candidates"] and _ended(study, event):
            return _judged(study, event)
    return None


def _ended(study: Records, event: Record) -> bool:
    if "confirms" not in study.confirming.columns:
        return False
    rows = study.confirming[study.confirming["status"].isin(("finished", "failed"))]
    counts = rows["confirms"].value_counts()
    return all(counts.get(f"{one:05d}", 0) >= event["seeds"] for one in event["candidates"])


def _judged(study: Records, event: Record) -> ConfirmedChoice:
    candidates = tuple(_confirmed(study, f"{one:05d}") for one in event["candidates"])
    sign = 1.0 if direction_of(study.metric) == "min" else -1.0
    passing = [one for one in candidates if one.passes]
    winner = min(passing, key=lambda one: sign * one.mean, default=None)
    exported = None
    if winner is not None:
        order = (sign * winner.runs[winner.metric]).argsort(kind="stable")
        exported = winner.runs.iloc[order.iloc[len(order) // 2]]
    corrected = interval = None
    if winner is not None and len(passing) > 1 and event["seeds"] > 1:
        values = [one.runs[one.metric].to_numpy(dtype=np.float64) for one in passing]
        corrected, interval = corrected_mean(values, passing.index(winner), sign=sign)
    told = (event["num_searched"], event["seeds"], candidates, winner, exported)
    return ConfirmedChoice(*told, corrected, interval)


def confirmed_metric(study: Records) -> str:
    """What candidates are ranked by: the study's metric, of the kept part where there is one."""
    kept = kept_name(study.metric)
    return kept if kept_images(study) and kept in study.confirming.columns else study.metric


def kept_name(metric: str) -> str:
    """The column of a metric of the images kept apart: ``confirm/fpr95`` of ``val/fpr95``."""
    return metric.replace("val/", f"{KEPT}/", 1)


def kept_images(study: Records) -> dict[str, int]:
    """Images kept for confirmation alone, by set (the ID set is ``val_id``); empty without any."""
    roles = study.manifest.get("data", {}).get("roles", {})
    names = {"confirm_id": VAL_ID} | {
        role: role.partition("/")[2] for role in roles if role.startswith("confirm_ood/")
    }
    return {name: int(roles[r]["num_images"]) for r, name in names.items() if r in roles}


def _confirmed(study: Records, trial_id: str) -> Confirmed:
    runs = study.confirming[study.confirming["confirms"] == trial_id].reset_index(drop=True)
    finished = runs[runs["status"] == "finished"]
    metric = confirmed_metric(study)
    values = finished[metric].to_numpy(dtype=np.float64)
    accuracy = float(finished[ID_ACCURACY].mean())
    failed, why = len(runs) - len(finished), ""
    if failed:
        why = f"{failed} of {len(runs)} runs failed"
    elif study.floor and study.floor.confidence is not None:
        holds = float(finished[FLOOR_HOLDS].mean())
        if holds < study.floor.confidence:
            sure = f"on average {holds:.2f} likely to hold it, not {study.floor.confidence:.4g}"
            why = f"mean ID accuracy {accuracy:.4f}, floor {study.floor.value:.4f}: {sure}"
    elif study.floor and accuracy < study.floor.value:
        why = f"mean ID accuracy {accuracy:.4f} is below the floor, {study.floor.value:.4f}"
    found = study.trials.loc[study.trials["trial_id"] == trial_id, study.metric]
    return Confirmed(
        trial_id=trial_id,
        # its row may have been left out
        discovery=float(found.iloc[0]) if len(found) else float("nan"),
        runs=runs,
        metric=metric,
        mean=float(values.mean()) if len(values) else float("nan"),
        interval=seed_interval(values),
        id_accuracy=accuracy,
        passes=not why,
        why=why,
    )


def seed_interval(values: Sequence[float] | np.ndarray) -> Interval | None:
    """95 % t-interval of the mean of values in [0, 1], one a seed; None below two."""
    if len(values) < 2:
        return None
    low, high = t_interval(np.asarray(values, dtype=np.float64))
    return Interval(max(0.0, low), min(1.0, high))


def corrected_mean(
    values: Sequence[np.ndarray], best: int, *, sign: float
) -> tuple[float, Interval]:
    """The mean of the best of several candidates, without what it owes to having been the best.

    Means over few seeds err by s / sqrt(n), s pooled over the candidates, and the best of them is
    in part the luckiest. Means drawn around those that were seen have errors of sqrt(2) times
    that size, of which half is the draw's; so the winner's optimism is sqrt(2) times what the
    draws' winners gained by their own draw. Of the optimism the interval's near end takes 3/4, as
    that of ``analysis.choice.corrected`` does.

    Args:
        values: of each candidate, one a seed, at least two.
        best: number of the winner.
        sign: 1 where lower is better, else -1.

    Returns:
        The corrected mean, and its 95 % interval by Student's t with the pooled degrees of
        freedom, over seeds; the images are taken as they are.
    """
    means = sign * np.array([one.mean() for one in values])
    freedom = sum(len(one) - 1 for one in values)
    variance = sum(float(((one - one.mean()) ** 2).sum()) for one in values) / freedom
    errors = np.sqrt([variance / len(one) for one in values])
    half = numpy_generator(0, "confirmed", len(values)).normal(size=(len(values), _DRAWS // 2))
    luck = errors[:, None] * np.hstack([half, -half])  # a mean of 0, so that nothing else is told
    won = np.argmin(means[:, None] + luck, axis=0)
    optimism = -(2**0.5) * float(luck[won, np.arange(_DRAWS)].mean())
    reach = student(0.975, freedom) * float(errors[best])
    mean = float(means[best])
    ends = sign * (mean + 0.75 * optimism - reach), sign * (mean + optimism + reach)
    low, high = (float(np.clip(end, 0, 1)) for end in sorted(ends))
    return float(np.clip(sign * (mean + optimism), 0, 1)), Interval(low, high)


def frozen_part(study: Records, selection: Selection) -> dict[str, Any]:
    """What selection.json says of the confirmation, and of who goes to the final test.

    Returns:
        Keys confirmation (null without one) and confirmation_note; winner (trial id), and that
        trial's winner_epoch, winner_alpha (its place on the path from the base), weights_sha256
        and threshold; files (path in the run's folder -> SHA-256): what else the test goes by.

    Raises:
        NoSelection: where candidates were trained anew and none of them passes.
    """
    found = confirmation(study)
    if found is None:
        asked = study.section("select").get("confirm")
        note = "not finished; resume the study" if asked else "not re-run on fresh seeds"
        place, threshold = selection.place, selection.threshold
        confirmed = None
    else:
        if found.winner is None:
            raise NoSelection(study, _nobody(found))
        note = confirmation_rule(study, found)
        exported = found.exported
        assert exported is not None, "a winner has a median"
        place = place_in(exported)
        threshold = _threshold(study, place)
        confirmed = _plain(study, found)
    return {
        "confirmation": confirmed,
        "confirmation_note": note,
        "winner": place[0],
        "winner_epoch": place[1],
        "winner_alpha": place[2],
        "weights_sha256": _weights_hash(study, place[0]),
        "threshold": threshold,
        "files": _files_hashes(study, [place[0], *(confirmed or {}).get("tested", ())]),
    }


def _files_hashes(study: Records, trials: Sequence[str]) -> dict[str, str]:
    """What says how the models that go to the test are made, and the base beside them."""
    folder, base = study.folder, base_name(study, trials[0])
    paths = [folder.trial_checkpoints(name) / TRIAL_JSON for name in (*trials, base)]
    paths.append(folder.trial_checkpoints(base) / WEIGHTS)
    found = {str(path.relative_to(folder.path)): file_hash(path) for path in paths}
    return {name: one for name, one in found.items() if one is not None}


def _weights_hash(study: Records, trial_id: str) -> str | None:
    return file_hash(study.folder.trial_checkpoints(trial_id) / WEIGHTS)


def _threshold(study: Records, place: Place) -> float | None:
    if not study.has_scores(place[0]):
        return None
    scores = scores_at(study, *place)[VAL_ID].scores[study.own_score][0]
    return float(threshold_at_recall(scores, RECALL))


def confirmation_rule(study: Records, found: ConfirmedChoice) -> str:
    """The rule of the winner as a sentence."""
    extreme = "lowest" if direction_of(study.metric) == "min" else "highest"
    floor = " whose mean accuracy reaches the floor" if study.floor else ""
    return (
        f"The {len(found.candidates)} best candidates of {found.num_searched} trials were trained "
        f"anew on {found.num_seeds} fresh seeds each; the winner has the {extreme} mean "
        f"{study.metric} over them{floor}, the seed of the search left out.{kept_rule(study)} "
        "All its seeds go to the final test; the trial of the median value is exported."
    )


def winner_text(found: ConfirmedChoice) -> str:
    """That the winner's mean is the best of several, and what it is without that; or nothing."""
    num = sum(one.passes for one in found.candidates)
    if num < 2:
        return ""
    if found.corrected is None or found.interval is None:
        return (
            f"The winner's mean is the best of {num}, so it is optimistic; with one seed each it "
            "cannot be corrected for that."
        )
    low, high = found.interval
    return (
        f"The winner's mean is the best of {num}; corrected for that, with the spread over seeds "
        f"pooled, it is {with_unit(found.corrected)}, 95 % interval over seeds {percent(low)} "
        f"to {with_unit(high)}. The images are taken as they are."
    )


def kept_rule(study: Records) -> str:
    """The sentence that says which images the confirmed score is of, where some are kept."""
    if confirmed_metric(study) == study.metric:
        return ""
    told = ", ".join(f"{num:,} of {name}" for name, num in kept_images(study).items())
    floor = (
        " The floor is held to the other images, as the base's accuracy is." if study.floor else ""
    )
    return (
        f" That mean is of the images kept for confirmation alone ({told}), cut off by source "
        f"before the search; the search's own value is of the others.{floor}"
    )


def waiting_text(study: Records) -> str:
    """How far a confirmation is that has not ended; empty where none was asked for."""
    asked = study.section("select").get("confirm")
    if not asked:
        return ""
    ended = sum(status in ("finished", "failed") for status in study.confirming.get("status", ()))
    wanted = int(asked["top"]) * int(asked["seeds"])
    return (
        f"The {asked['top']} best candidates are to be trained anew on {asked['seeds']} fresh "
        f"seeds each; {ended} of at most {wanted} runs have ended. Until then the search's own "
        "numbers decide."
    )


def _nobody(found: ConfirmedChoice) -> str:
    told = "; ".join(f"{one.trial_id}: {one.why}" for one in found.candidates)
    return (
        f"none of the {len(found.candidates)} candidates was confirmed on "
        f"{found.num_seeds} fresh seeds ({told}). Extend the study by --extend, start one with a "
        "larger select.confirm.top, or lower the floor on purpose."
    )


def _plain(study: Records, found: ConfirmedChoice) -> dict[str, Any]:
    winner, exported = found.winner, found.exported
    assert winner is not None, "nobody is told before"
    assert exported is not None, "a winner has a median"
    names = [exported["trial_id"], *winner.runs["trial_id"]]
    return {
        "num_searched": found.num_searched,
        "num_seeds": found.num_seeds,
        "metric": winner.metric,
        "kept_images": kept_images(study) or None,
        "candidate": winner.trial_id,
        "mean": winner.mean,
        "interval": _plain_interval(winner),
        "interval_of": "t-interval of the mean over the fresh seeds, 95 %",
        "corrected_mean": found.corrected,
        "corrected_interval": list(found.interval) if found.interval else None,
        "corrected_note": winner_text(found),
        "tested": {name: _weights_hash(study, name) for name in dict.fromkeys(names)},
        "candidates": [_plain_candidate(study, one) for one in found.candidates],
    }


def _plain_interval(one: Confirmed) -> list[float] | None:
    return list(one.interval) if one.interval else None


def _plain_candidate(study: Records, one: Confirmed) -> dict[str, Any]:
    runs = pd.DataFrame(
        {
            "trial_id": one.runs["trial_id"],
            "seed": one.runs["seed"],
            "status": one.runs["status"],
            "value": one.runs[one.metric],
            "other_part": one.runs[study.metric] if one.metric != study.metric else None,
            "id_accuracy": one.runs[ID_ACCURACY],
        }
    )
    told = vars(one) | {"runs": runs, "interval": _plain_interval(one)}
    names = ("trial_id", "discovery", "runs", "mean", "interval", "id_accuracy", "passes", "why")
    found: dict[str, Any] = plain({name: told[name] for name in names})
    return found


def confirmed_table(study: Records) -> pd.DataFrame:
    """Every candidate of a study's confirmation beside its runs on fresh seeds.

    Returns:
        One row a candidate, best of the search first: trial_id; discovery (its value in the
        search); mean, low, high (over the fresh seeds, 95 % t-interval; fractions); id_accuracy;
        values (of each seed); num_finished, num_seeds; passes, why, winner. No rows where no
        confirmation has ended.
    """
    found = confirmation(study)
    columns = ["trial_id", "discovery", "mean", "low", "high", "id_accuracy", "values"]
    columns += ["num_finished", "num_seeds", "passes", "why", "winner"]
    rows: list[dict[str, Any]] = []
    if found is None:
        return pd.DataFrame(columns=columns)
    for one in found.candidates:
        low, high = one.interval or (float("nan"), float("nan"))
        told = {
            "low": low,
            "high": high,
            "values": [float(value) for value in one.runs[one.metric]],
            "num_finished": int((one.runs["status"] == "finished").sum()),
            "num_seeds": found.num_seeds,
            "winner": one is found.winner,
        }
        rows.append(vars(one) | told)
    return pd.DataFrame(rows, columns=columns)
