"""One recorded trial again, from its record alone; every number is compared to the last bit.

Without Ray: the trial runs in this process, on the device and with the threads of the session
that it was recorded in, from the run's own copy of the base, into a folder that is thrown away.
Nothing in the run's folder is changed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from study import run_folder
from study.bases.saved_models import read_trial_json
from study.counted import counted
from study.errors import BadInput, Fault
from study.options import ReplayOptions
from study.records.failures import BUG, DIVERGED
from study.records.files import TRIAL_JSON, RunFolder, trial_id
from study.records.ledger import Record, RecordedLedger
from study.records.manifest import changed_machine, manifest_entry, read_manifest
from study.records.scores import ValidationScores, has_scores, read_scores
from study.space.loading import load_resolved
from study.training.trial import TrialSetting, run_trial
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord
from study.tune.searching import search_plan
from study.tune.setup import CheckedStudy, Setup, prepare, prepare_data
from study.watch.progress import Progress

_WALL_CLOCK = ("time_s", "images_per_s")  # of the moment, not of the trial
_SHOWN = 5


@dataclass
class Agreement:
    """What a replay found.

    Attributes:
        trial: its name.
        differences: of the numbers, the first first; none means the same to the last bit.
        circumstances: what else is not as it was: versions, machine, threads, data.
        compared: what was compared, in words.
    """

    trial: str
    compared: str = ""
    differences: list[str] = field(default_factory=list)
    circumstances: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether every number is the same to the last bit."""
        return not self.differences

    def text(self) -> str:
        """The result, for stdout."""
        if self.same:
            head = f"Trial {self.trial} repeats bit for bit: {self.compared}."
        else:
            head = f"Trial {self.trial} does not repeat; the first difference comes first:"
        more = len(self.differences) - _SHOWN
        lines = [head, *(f"  {one}" for one in self.differences[:_SHOWN])]
        lines += [f"  ... and {more} more"] if more > 0 else []
        if self.circumstances:
            lines.append("Not as they were when it was recorded:")
            lines += [f"  {one}" for one in self.circumstances]
        elif not self.same:
            lines.append("Versions, machine, threads and data are as they were.")
        return "\n".join(lines)


def replay(options: ReplayOptions, progress: Progress) -> Agreement:
    """Repeat a trial and compare.

    Raises:
        BadInput: where the folder holds no study, the trial is not on its ledger, or a file of
            the record is damaged.
    """
    run = RunFolder(options.directory)
    run_folder.refuse_missing(run)
    ledger = RecordedLedger(run.ledger)
    plan = run_folder.recorded_plan(run)
    study = prepare_data(load_resolved(run.spec), plan, progress)
    parts = run_folder.changed_parts(run, study, ledger)
    run_folder.refuse_changed(run, [part for part in parts if part != run_folder.DATA])
    session, *others = _sessions_of(ledger, options.trial)
    device = "cuda" if session["device"] == "cuda" and torch.cuda.is_available() else "cpu"
    recorded = run_folder.recorded_start(run)
    if recorded is None:
        rule = "the manifest does not tell what trials start from"
        raise BadInput(Fault(str(run.manifest), "initial", rule, "Resume the study first."))
    setup = prepare(study, progress=progress, device=device, recorded=recorded)
    record = Decisions(search_plan(setup), ledger).trials[options.trial]
    agreement = Agreement(trial_id(record.number))
    if not record.epochs and not record.reason:
        rule = f"no epoch of trial {agreement.trial} is on record"
        raise BadInput(Fault(str(run.ledger), "", rule, "Resume the study first."))
    agreement.circumstances += _circumstances(run, study, device, [session, *others])
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        copy = RunFolder(Path(folder))
        copy.manifest.touch()  # by which a trial knows its run's folder
        threads = int(session["threads"])
        setting = setup.trial_setting(copy.path, threads=threads, device=device)
        with progress.stage(f"Replay of trial {agreement.trial}", len(record.epochs)) as stage:
            for number in _compare_epochs(record, setup, setting, agreement):
                stage.advance(1, f"epoch {number}")
        _compare_scores(run, copy, record, agreement)
        agreement.circumstances += _precision(run, copy, agreement.trial)
    return agreement


def _precision(run: RunFolder, copy: RunFolder, trial: str) -> list[str]:
    """What ``precision: auto`` was on the recording device, where it is another here."""
    path = run.trial_checkpoints(trial) / TRIAL_JSON
    told = path.exists() and read_trial_json(path).get("precision")
    now = read_trial_json(copy.trial_checkpoints(trial) / TRIAL_JSON)["precision"]
    return [f"precision: {told} -> {now}"] if told and told != now else []


def _circumstances(
    run: RunFolder, study: CheckedStudy, device: str, sessions: Sequence[Record]
) -> list[str]:
    """What is not as it was, as "name: then -> now", and what differed between the sessions."""
    first, *others = sessions
    then, now = manifest_entry(run, "data", "roles"), study.data.fingerprints()
    told = [f"data: {name}" for name in then | now if then.get(name) != now.get(name)]
    told += changed_machine(read_manifest(run))
    if first["device"] != device:
        told.append(f"device: {first['device']} -> {device}")
    return told + [
        f"{key}: {first[key]} at first, {other[key]} when it went on"
        for other in others
        for key in ("threads", "device")
        if other[key] != first[key]
    ]


def _sessions_of(ledger: RecordedLedger, number: int) -> list[Record]:
    """The sessions that recorded the trial, in order: they say its threads and its device."""
    sessions: list[Record] = []
    found: list[Record] = []
    for record in ledger.records:
        if record["event"] == "session":
            sessions.append(record)
        told = record["event"] in ("result", "failed") and record["number"] == number
        if told and sessions and sessions[-1] not in found:
            found.append(sessions[-1])
    if found:
        return found
    known = [record["number"] for record in ledger.events("ask")]
    rule = "nothing is on record of this trial"
    if known:
        rule += f"; the trials are {trial_id(min(known))} to {trial_id(max(known))}"
    way_out = "Take one that has recorded an epoch: `python -m analysis trials DIR` lists them."
    raise BadInput(Fault("--replay", "", rule, way_out, trial_id(number)))


def _compare_epochs(
    record: TrialRecord, setup: Setup, setting: TrialSetting, agreement: Agreement
) -> Iterator[int]:
    """Train the recorded epochs again and note what differs; yields each epoch's number."""
    metrics = {name for epoch in record.epochs for name in epoch} - set(_WALL_CLOCK)
    epochs = counted(len(record.epochs), "epoch")
    agreement.compared = f"{epochs}, {len(metrics)} metrics each"
    messages = run_trial(setup.assign(record), setting)
    try:
        for number, recorded in enumerate(record.epochs, start=1):
            told: dict[str, Any] = json.loads(next(messages))
            if "failed" in told:
                agreement.differences.append(f"epoch {number}: failed now: {told['failed']}")
                return
            now = told["metrics"]
            agreement.differences += [
                f"epoch {number}, {name}: {recorded.get(name)!r} on record, {now.get(name)!r} now"
                for name in dict.fromkeys([*recorded, *now])
                if name not in _WALL_CLOCK and recorded.get(name) != now.get(name)
            ]
            yield number
        if record.status == "failed" and record.cause in (DIVERGED, BUG):
            _compare_failure(record, json.loads(next(messages, "{}")), agreement)
    finally:
        messages.close()  # type: ignore[attr-defined]


def _compare_failure(record: TrialRecord, told: dict[str, Any], agreement: Agreement) -> None:
    agreement.compared += ", and the failure"
    if "failed" in told:
        now, same = told["failed"], told["failed"] == record.reason
    else:  # a value that is not finite is found by whoever takes the message
        now = f"epoch {told.get('epoch')} was trained"
        same = not all(np.isfinite(value) for value in told.get("metrics", {}).values())
    if not same:
        agreement.differences.append(f"failure: {record.reason!r} on record, {now!r} now")


def _compare_scores(
    run: RunFolder, copy: RunFolder, record: TrialRecord, agreement: Agreement
) -> None:
    """The per-image scores and predictions of every recorded epoch, the kept part's too."""
    name, done = trial_id(record.number), len(record.epochs)
    for kept in (False, True):
        if not done or not has_scores(copy, name, kept=kept):
            continue
        path = run.epoch_scores(name, kept=kept)
        try:
            one = _arrays(read_scores(run, name, kept=kept).upto(done))
        except Exception as error:
            rule = f"cannot be read as a trial's scores ({type(error).__name__}: {error})"
            raise BadInput(Fault(str(path), "", rule, "Restore it from a copy.")) from error
        two = _arrays(read_scores(copy, name, kept=kept))
        stored = sum(values.size for values in one.values())
        agreement.compared += f", and {stored:,} stored values"
        agreement.differences += [
            f"{path.name}, {key.replace('/score/', '/')}: not the values on record"
            for key in one | two
            if key not in one or key not in two or _bits(one[key]) != _bits(two[key])
        ]


def _bits(values: NDArray[Any]) -> tuple[object, ...]:
    return values.dtype, values.shape, values.tobytes()


def _arrays(scores: ValidationScores) -> dict[str, NDArray[Any]]:
    return scores.of_states() | scores.of_images()
