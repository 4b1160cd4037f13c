"""The final test's numbers: the winner and its base on test sets that were never touched.

Opening the test sets is not this room's right: another process does it (`study.final_test`),
leaves per-image scores and a line in the ledger, and this module turns the scores into a table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choice.whole import refuse_changed, refuse_early
from analysis.numbers import metric_label, score_label, with_interval
from analysis.results.other_process import run_study_module
from analysis.statistics.compare import (
    MEAN,
    MODEL_LABELS,
    SELECTIVE,
    WINNER,
    Sets,
    compare,
    form_for,
)
from analysis.tables import BASE, Records
from study.errors import BadInput, Fault
from study.records.files import TEST_ID, TEST_OPENED, RunFolder, replacing
from study.records.frozen import frozen_models, read_frozen
from study.records.ledger import Ledger, Record
from study.records.scores import ValidationScores
from study.records.sealed import changed_files, note_test
from study.terminal import visible


def run_final_test(study: Records, again: str | None = None) -> pd.DataFrame:
    """Open the test sets once, on the frozen choice, and tell what it is worth.

    Args:
        study: its records, with a frozen selection.
        again: the reason for another opening; the ledger keeps it.

    Returns:
        See ``compare``, with trial_id and seed (missing for the base, and for
        the mean over a confirmation's seeds, which then is the winner). Also written to
        final_test/results.parquet, which has a row for each of these seeds too, ``per_seed``.

    Raises:
        BadInput: if there is no intact frozen choice, the search goes on, files are not what the
            ledger holds the hashes of, or the test was done and ``again`` is
            not given, or the scores cannot be read.
        StudyFailed: if the other process failed; it has said why on stderr.
        Interrupted: if it was interrupted.
    """
    frozen = read_frozen(study.folder.path)
    path = study.folder.test_results
    refuse_changed(study, but=path if again is None else study.folder.final_test)
    refuse_early(study, str(frozen.get("now") or ""))
    edited = any(Path(one.place) == path for one in changed_files(study.folder, study.reached))
    if edited and again is None:
        told = f"{path}: is not what was written; it is made anew from the scores\n"
        sys.stderr.write(visible(told))
    elif again is None and path.exists():
        rule = "the final test was done; once is what makes its numbers honest"
        way = 'Read them in the report; or give --again "why", which the ledger keeps.'
        raise BadInput(Fault(str(path), "", rule, way))
    # Scores without a table: the test was opened, then cut short. Nothing is opened again.
    if again is not None or not _is_scored(study, frozen):
        reason = () if again is None else ("--again", again)
        run_study_module("study.final_test", study.folder.path, *reason, what="the final test")
    with Ledger(study.folder.ledger) as ledger:  # first: no table that the ledger has no hash of
        table = _table(study, list(frozen_models(frozen)))
        with replacing(path) as file:
            table.to_parquet(file, index=False)
        note_test(ledger, study.folder)
    return _summary(table)


def _table(study: Records, tested: list[str]) -> pd.DataFrame:
    """Winner, base and difference; of a confirmed winner also a row for each of its seeds."""
    table = _compared(study.folder, tested, study.seed)
    trials = pd.concat([study.trials, study.confirming])
    seeds = trials.drop_duplicates("trial_id").set_index("trial_id")["seed"]
    seed = table["trial_id"].map(seeds).astype("Int64")
    return table.assign(seed=seed, per_seed=table.pop("per_seed"))


def _compared(folder: RunFolder, tested: list[str], seed: int) -> pd.DataFrame:
    """The rows of ``compare`` with trial_id and per_seed; those of a seed are the winner's."""
    several = tested if len(tested) > 1 else []
    models = _load_models(folder, tested)
    table = compare(models, id_name=TEST_ID, seed=seed, seeds=several, selective=True)
    per_seed = table["model"].isin(several)
    trial_ids = table["model"].where(per_seed)
    if not several:
        trial_ids = trial_ids.mask(table["model"] == WINNER, tested[0])
    model = table["model"].mask(per_seed, WINNER)
    return table.assign(model=model, trial_id=trial_ids, per_seed=per_seed)


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    if "per_seed" not in table.columns:
        return table
    return table[~table["per_seed"].astype(bool)].reset_index(drop=True)


def _is_scored(study: Records, frozen: Mapping[str, Any]) -> bool:
    """Whether the scores of this very choice, and of its base, are already there."""
    opened = openings(study)
    paths = list(_paths(study.folder, list(frozen_models(frozen))).values())
    if study.base:
        paths.append(study.folder.final_test / f"{BASE}.npz")
    there = all(path.exists() for path in paths)
    return there and bool(opened) and opened[-1].get("selection") == frozen["sha256"]


def _paths(folder: RunFolder, tested: list[str]) -> dict[str, Path]:
    """Scores of the winner under that name; of several seeds, the exported first, each its own."""
    exported, *others = tested
    paths = {exported if others else WINNER: folder.final_test / f"{WINNER}.npz"}
    return paths | {name: folder.final_test / f"{WINNER}_{name}.npz" for name in others}


def openings(study: Records) -> list[Record]:
    """The ledger's lines that tell that the test sets were opened, in order."""
    return study.events(TEST_OPENED)


def earlier_openings(folder: RunFolder) -> list[Record]:
    """Earlier openings of the same test sets on the machine, by any study: time, run, reason.

    Empty where there were none, or no final test.
    """
    path = folder.final_test / "access.json"
    if not path.exists():
        return []
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["earlier_on_this_machine"]
        return [dict(one) for one in earlier]
    except (OSError, ValueError, KeyError, TypeError) as error:
        rule = f"not a readable list of test accesses ({error!r})"
        raise BadInput(Fault(str(path), "", rule, "Restore the file.")) from error


def _load_models(folder: RunFolder, tested: list[str]) -> dict[str, Sets]:
    models: dict[str, Sets] = {}
    paths = _paths(folder, tested) | {BASE: folder.final_test / f"{BASE}.npz"}
    for model, path in paths.items():
        if model == BASE and not path.exists():
            continue  # a recipe that starts from nothing has no base
        try:
            scores = ValidationScores.load(path)
        except Exception as error:
            # zipfile, numpy and zlib each have their own word for a torn file
            rule = f"not a readable scores file ({error})"
            way = 'Restore it, or open the test again with --again "why".'
            raise BadInput(Fault(str(path), "", rule, way)) from error
        models[model] = {name: one.cut(slice(-1, None)) for name, one in scores.sets.items()}
    return models


def load_results(folder: RunFolder) -> pd.DataFrame | None:
    """The table of the final test without the rows of single seeds; None where it was not done."""
    table = _read(folder)
    return None if table is None else _summary(table)


def _read(folder: RunFolder) -> pd.DataFrame | None:
    """The table as it was written; of an older run with what its scores tell by now."""
    path = folder.test_results
    if not path.exists():
        return None
    return _whole(folder, path.stat().st_mtime_ns).copy()


@lru_cache(maxsize=4)
def _whole(folder: RunFolder, when: int) -> pd.DataFrame:
    """The table at one state of its file."""
    del when
    table = pd.read_parquet(BytesIO(folder.test_results.read_bytes()))
    if "oscr" in table.columns or not (folder.final_test / f"{WINNER}.npz").exists():
        return table
    keys = ["model", "dataset", "score", "trial_id"]
    names = table["trial_id"].dropna().unique() if "trial_id" in table.columns else [WINNER]
    others = [n for n in names if (folder.final_test / f"{WINNER}_{n}.npz").exists()]
    tested = [*(str(name) for name in names if name not in others), *map(str, others)]
    fresh = _compared(folder, tested, 0)
    if "trial_id" not in table.columns:
        fresh, keys = fresh[~fresh["per_seed"]], keys[:3]
    added = [f"{name}{end}" for name in SELECTIVE for end in ("", "_low", "_high")]
    return table.merge(fresh[[*keys, *added]], "left", keys)


def load_seeds(folder: RunFolder) -> pd.DataFrame | None:
    """The final test of each seed of a confirmed winner; None without test or confirmation."""
    table = _read(folder)
    if table is None or "per_seed" not in table.columns or not table["per_seed"].any():
        return None
    return table[table["per_seed"]].reset_index(drop=True)


def main_scores(table: pd.DataFrame) -> list[str]:
    """Scores of a table that readers are shown: MSP and energy, all where neither is there."""
    names = list(table["score"].unique())
    return [name for name in names if name in ("msp", "energy")] or names


def selective_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """Error detection, AURC, AUGRC, OSCR and ECE of each model and shown score, as texts.

    Args:
        table: from ``load_results``; empty rows where it has none of them.

    Returns:
        One row a score and model: the values with their intervals, by the metric's label; OSCR is
        the mean over the OOD sets, all else of the ID images alone.
    """
    if "oscr" not in table.columns:
        return []
    rows = table[(table["dataset"] == MEAN) & table["score"].isin(main_scores(table))]
    return [
        {"score": score_label(row["score"]), "model": MODEL_LABELS[row["model"]]}
        | {
            metric_label(name, "", short=True): "–"
            if pd.isna(row[name])
            else " ".join(with_interval(row, name, form_for(row["model"])).values())
            for name in SELECTIVE
        }
        for _, row in rows.iterrows()
    ]
