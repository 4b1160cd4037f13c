"""A run's folder from outside the trials: begun once, never begun over, continued as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from study.bases.base_models import BaseModel, RecordedBase
from study.bases.initial import keep_initial, kept_initial
from study.bases.provenance import declared, sources_declared
from study.counted import counted
from study.data.leaks.report import FOLDER as PICTURES
from study.data.plan import DataPlan
from study.data.roles import StudyData
from study.errors import BadInput, Fault
from study.options import ResumeOptions
from study.plugins import FOLDER as PLUGINS
from study.plugins import keep
from study.records.disk import take_away
from study.records.files import (
    BASE,
    TEST_OPENED,
    TRIAL_JSON,
    WEIGHTS,
    RunFolder,
    write_bytes,
    write_json,
)
from study.records.frozen import file_hash
from study.records.hold_outs import hold_out_folders, is_hold_out_folder
from study.records.ledger import Ledger, Lines, read_ledger
from study.records.manifest import CODE_DIFF, code_diff, made_now, manifest_entry, read_manifest
from study.records.sealed import changed_files, is_table, reached
from study.records.words import first_words
from study.space.points import grid
from study.space.study_spec import StudySpec
from study.terminal import pasted
from study.training.chosen import ChosenWeights, save_chosen
from study.tune.decisions import RULES
from study.tune.setup import CheckedStudy, Recorded, Setup
from study.watch.progress import Progress

SPEC, DATA, TESTS = "spec.yaml", "the data", "a test set"

# What a session may choose anew without changing the study's decisions or numbers.
_FREE = (
    "num_trials", "time_budget_s", "max_concurrent", "cpus_per_trial", "gpus_per_trial",
    "checkpoint_budget",
)  # fmt: skip


def refuse_existing(path: Path) -> None:
    """Refuse a folder that holds a study already, holds anything else, or cannot be written to.

    What a study left that was cut off before its first line on the ledger is no study.

    Raises:
        BadInput: with the ways out.
    """
    run = RunFolder(path)
    if run.hold_outs.exists() or _begun(read_ledger(run.ledger)[0]):
        raise BadInput(_holds_a_study(run))
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    rule = ""
    if not there.is_dir():
        rule = f"{there} is a file, not a folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        rule = f"nothing can be written in {there}"
    elif path.exists() and any(not _is_left_over(run, entry) for entry in path.iterdir()):
        rule = "this folder is not empty and holds no study"
    if rule:
        raise BadInput(Fault("--out", "", rule, "Choose another --out.", str(path)))


def discard(run: RunFolder) -> None:
    """Take away what a study wrote that ended before its first trial; other files stay."""
    if not run.path.is_dir():
        return
    for folder in (run.checkpoints, run.scores, run.path / PICTURES, run.path / PLUGINS):
        shutil.rmtree(folder, ignore_errors=True)
    for entry in [*run.path.iterdir()]:
        if _is_of_start(run, entry):
            entry.unlink()
    with suppress(OSError):  # a link, or not empty: somebody else's
        run.path.rmdir()


def _is_of_start(run: RunFolder, entry: Path) -> bool:
    """Whether a file is of those that a study writes first, whole or half-written."""
    names = (run.ledger.name, run.spec.name, run.manifest.name, CODE_DIFF)
    half = entry.suffix == ".tmp" and entry.name.startswith(tuple(f".{name}." for name in names))
    return entry.name in (*names, PICTURES, PLUGINS) or half


def _is_left_over(run: RunFolder, entry: Path) -> bool:
    """The same, or the study of a hold-out that was cut off before all of them had begun."""
    if is_hold_out_folder(entry):
        return all(_is_of_start(RunFolder(entry), one) for one in entry.iterdir())
    return _is_of_start(run, entry)


def refuse_begun(run: RunFolder, ledger: Ledger) -> None:
    """The same once the folder is ours: another process may have begun a study in it.

    Raises:
        BadInput: with the ways out.
    """
    if _begun(ledger.records):
        raise BadInput(_holds_a_study(run))


def _begun(records: Lines) -> bool:
    return bool(records.of("started"))


def _holds_a_study(run: RunFolder) -> Fault:
    path = pasted([str(run.path)])
    way_out = (
        f"Go on with it: --resume {path}. Add trials: --extend {path} --num-trials +N. "
        "Or choose another --out."
    )
    return Fault("--out", "", "this folder holds a study", way_out, str(run.path))


def refuse_missing(run: RunFolder) -> None:
    """Refuse to go on where no study was begun.

    Raises:
        BadInput: naming what is missing.
    """
    missing = [p for p in (run.ledger, run.spec, run.manifest) if not p.exists()]
    if folders := hold_out_folders(run.path):
        rule = f"this is a study under {len(folders)} hold-outs, each in a folder of its own"
        raise BadInput(Fault(str(run.path), "", rule, f"Name one of them, such as {folders[0]}."))
    if missing:
        rule = "this folder holds no study that can be resumed; files are missing"
        way_out = "Name the folder of a run, such as runs/energy."
        names = ", ".join(path.name for path in missing)
        raise BadInput(Fault(str(run.path), "", rule, way_out, names))


def hashes(spec: StudySpec, data: StudyData) -> dict[str, str]:
    """What must be the same when the study goes on.

    The spec is hashed in the first words of its keys, so that one that got another word since the
    study began is no change.
    """
    plain = first_words(spec.resolved())
    plain["tune"] = {k: v for k, v in plain["tune"].items() if k not in _FREE}
    text = json.dumps(plain, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"spec_sha256": digest, "data_sha256": data.fingerprint}


def begin(run: RunFolder, study: CheckedStudy, command: str) -> None:
    """Write spec.yaml, code.diff and manifest.json."""
    spec, data, leaks = study.spec, study.data, study.leaks
    write_bytes(run.spec, spec.dump().encode())
    diff = code_diff()
    write_bytes(run.path / CODE_DIFF, diff.encode())
    leaks.copy_pictures(run.path)
    base_seed = None if spec.base is None else spec.base.seed
    write_json(
        run.manifest,
        {
            **made_now(command, diff),
            **hashes(spec, data),
            "seeds": {"study": spec.tune.seed, "split": spec.data.split_seed, "base": base_seed},
            "plugins": keep(run.path),
            "recipe": spec.recipe,
            "own_score": spec.own_score,
            "data": {
                "demo": data.demo,
                "notes": list(data.notes),
                "plan": study.plan.to_json(),
                "roles": data.fingerprints(),
                "test_fingerprints": dict(leaks.test_fingerprints),
                "leak_check": leaks.to_json(),
            },
            "base": None,
            "initial": None,
            "floor": None,
        },
    )


def add_start(run: RunFolder, setup: Setup) -> None:
    """Copy what trials start from into the run; tell the manifest of it, and of the floor."""
    manifest = read_manifest(run)
    manifest["initial"] = keep_initial(run, setup.initial)
    manifest["pretrained_on"] = declared(sources_declared(setup.spec), setup.plan, setup.data)
    for name, base in setup.models.items():
        _copy_base(run, setup, name, base)
    told = {name: _describe_base(run, setup, name, base) for name, base in setup.models.items()}
    manifest["base"] = told.pop(BASE, None)
    manifest["other_bases"] = told
    if setup.spec.tune.first:
        manifest["first"] = setup.first_points()[0]
    floor = setup.spec.select.floor
    if setup.floor is not None and floor is not None:
        relative = floor.kind == "below_base"
        how = f"{floor.value:g} below the base's" if relative else "absolute"
        reference = "base" if relative else "absolute"
        manifest["floor"] = {
            "value": setup.floor.accuracy,
            "reference": reference,
            "how": how,
            "confidence": setup.floor.confidence,
            "confidence_of_choice": floor.confidence,
        }
    write_json(run.manifest, manifest)


def _copy_base(run: RunFolder, setup: Setup, name: str, base: BaseModel) -> None:
    """Weights, what they are the weights of, and scores, as of a trial of this name."""
    folder = run.trial_checkpoints(name)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: torch.tensor(values) for name, values in base.weights.items()}
    save_chosen(folder / WEIGHTS, ChosenWeights(tensors, base.fitted, {}, {"base": base.key}))
    wanted = setup.wanted[name].spec
    recipe, train = setup.base_recipe(name)
    told = {
        "recipe": recipe,
        "number": -1,
        "seed": wanted.seed,
        "model": {"backbone": wanted.backbone, "dropout": wanted.dropout} | asdict(wanted.network),
        "train": train,
    }
    write_json(folder / TRIAL_JSON, told)
    base.scores.save(run.trial_scores(name))


def _describe_base(run: RunFolder, setup: Setup, name: str, base: BaseModel) -> dict[str, Any]:
    stats = base.energy_stats(1.0)
    energies = {"id_energy_mean": "id_mean", "id_energy_sd": "id_sd"}
    energies |= {"outlier_energy_mean": "outlier_mean", "outlier_energy_sd": "outlier_sd"}
    return {
        "key": base.key,
        "spec": asdict(setup.wanted[name].spec),
        "arms": list(setup.wanted[name].arms),
        "fingerprint": file_hash(run.trial_checkpoints(name) / WEIGHTS),
        "trained_by_this_study": base.trained_now,
        "saw_validation": base.saw_validation,
        "from_file": dict(base.origin) if base.origin else None,
        "val_id_accuracy": base.metrics["val/id_accuracy"],
        **{key: stats and getattr(stats, name) for key, name in energies.items()},
        "metrics": base.metrics,
    }


def recorded_plan(run: RunFolder) -> DataPlan:
    """The sources that the study was begun with, whatever `auto` would choose by now.

    Raises:
        BadInput: where the manifest cannot be read or is not one.
    """
    plan = manifest_entry(run, "data", "plan")
    try:
        return DataPlan.from_json(plan)
    except BadInput as error:  # it does not know the file
        rule, way_out = error.faults[0].rule, "Restore it from a copy."
        raise BadInput(Fault(str(run.manifest), "data.plan", rule, way_out)) from error


def changed_parts(run: RunFolder, study: CheckedStudy, ledger: Ledger) -> list[str]:
    """What is not as it was when the study began: `SPEC`, `DATA`, `TESTS`.

    Raises:
        BadInput: where the ledger does not tell.
    """
    started = ledger.events("started")
    if not started:
        rule = "the ledger does not say how the study started"
        raise BadInput(Fault(str(run.ledger), "", rule, "Start it anew: --space."))
    what = {"spec_sha256": SPEC, "data_sha256": DATA}
    now = hashes(study.spec, study.data)
    changed = [name for key, name in what.items() if started[0].get(key) != now[key]]
    if manifest_entry(run, "data", "test_fingerprints") != dict(study.leaks.test_fingerprints):
        changed.append(TESTS)
    return changed


def refuse_changed(run: RunFolder, changed: Sequence[str]) -> None:
    """Refuse to go on with another spec or other data than those of the start.

    Raises:
        BadInput: naming what differs.
    """
    if changed:
        way_out = "Bring back what it was, or start anew with another --out."
        rule = "is not what the study was started with"
        raise BadInput([Fault(str(run.path), name, rule, way_out) for name in changed])


FORMER_LOSSES = (
    "balanced_energy", "distributional", "energy_logistic", "gradient_regularisation",
)  # fmt: skip
"""Losses whose scales once were not their authors'."""


def refuse_former_losses(run: RunFolder, spec: StudySpec, ledger: Ledger) -> None:
    """Refuse to train more of a study whose losses have other scales by now.

    Its trials would be compared with such that another loss trained. What is finished stays
    readable, and is concluded again.

    Raises:
        BadInput: naming the losses.
    """
    started = ledger.events("started")
    if not started or "losses" in started[0].get("rules", {}):
        return
    told = json.dumps(spec.resolved())
    used = [name for name in FORMER_LOSSES if f'"{name}"' in told]
    if used:
        rule = (
            f"was begun with {', '.join(used)} at scales that were not the authors'; since then "
            "they are, and trials of both would be compared"
        )
        raise BadInput(Fault(str(run.path), "loss", rule, "Start it anew with another --out."))


def refuse_unknown_rules(run: RunFolder, ledger: Ledger) -> None:
    """Refuse to go on with a study of a later version, whose decisions follow other rules.

    What rules a study lacks says that it is older, and it goes on without them.

    Raises:
        BadInput: naming the rules.
    """
    told = {
        key: rule for one in ledger.events("started") for key, rule in one.get("rules", {}).items()
    }
    unknown = [f"{key}: {rule}" for key, rule in told.items() if RULES.get(key) != rule]
    if unknown:
        rule = f"the study goes by rules that this version does not know ({', '.join(unknown)})"
        way_out = "Go on with the version that began it; manifest.json has its commit."
        raise BadInput(Fault(str(run.ledger), "rules", rule, way_out))


def recorded_start(run: RunFolder) -> Recorded | None:
    """What trials start from, as the run's folder holds it; None before it was brought.

    Raises:
        BadInput: where weights are not those that the manifest tells of.
    """
    kept = manifest_entry(run, "initial")
    if kept is None:
        return None
    bases = {}
    if manifest_entry(run, "base") is not None:
        bases[BASE] = _recorded_base(run, BASE, "base")
        for name in read_manifest(run).get("other_bases", {}):
            bases[name] = _recorded_base(run, name, "other_bases", name)
    floor = read_manifest(run).get("floor") or {}
    return Recorded(bases, tuple(kept_initial(run, kept)), floor.get("confidence"))


def _recorded_base(run: RunFolder, name: str, *entry: str) -> RecordedBase:
    """A base that the run keeps, as its ``entry`` in the manifest tells of it."""
    path = run.trial_checkpoints(name) / WEIGHTS
    if file_hash(path) != manifest_entry(run, *entry, "fingerprint"):
        rule = "does not match its fingerprint in manifest.json"
        raise BadInput(Fault(str(path), "", rule, "Restore it from a copy."))
    key, saw = (manifest_entry(run, *entry, one) for one in ("key", "saw_validation"))
    return RecordedBase(path, key, bool(saw))


def refuse_more_trials(spec: StudySpec, more: int) -> None:
    """Refuse trials that a study has no place for; 0 more are always taken.

    Raises:
        BadInput: for an ablation, or a grid with too few points.
    """
    if not more:
        return
    if spec.ablate is not None:
        rule = "an ablation ends with its arms and seeds"
        way_out = "Start another study with more of them, in another --out."
        raise BadInput(Fault("--num-trials", "", rule, way_out))
    total = spec.tune.num_trials + more
    if spec.tune.declared.points and total > len(grid(spec)):
        points = counted(len(grid(spec)), "point")
        rule = f"the grid has {points}, the study would have {total} trials"
        raise BadInput(Fault("--num-trials", "", rule, "Start a study of a larger grid."))


def with_more_trials(
    run: RunFolder, spec: StudySpec, ledger: Ledger, options: ResumeOptions
) -> StudySpec:
    """Note the session; where it extends the study, raise the number of trials on record."""
    total = spec.tune.num_trials + options.more_trials
    if options.more_trials:
        ledger.append("extended", command=options.command, num_trials=total)
    else:
        ledger.append("resumed", command=options.command)
    return as_extended(run, spec, ledger)


def as_extended(run: RunFolder, spec: StudySpec, ledger: Ledger) -> StudySpec:
    """The spec with the number of trials that the ledger's last extension gave it.

    The line comes first; a kill may have come before the spec was written.
    """
    for event in ledger.events("extended")[-1:]:
        if event["num_trials"] != spec.tune.num_trials:
            update = {"num_trials": event["num_trials"]}
            spec = replace(spec, tune=spec.tune.model_copy(update=update))
            write_bytes(run.spec, spec.dump().encode())
    return spec


def refuse_edited(run: RunFolder, ledger: Ledger, progress: Progress) -> None:
    """Refuse to go on from files that are not what the ledger says; tables are made anew, told.

    Raises:
        BadInput: naming each file.
    """
    found = reached(ledger.records)
    changed = changed_files(run, found)
    for fault in changed:
        if is_table(run, fault):
            progress.warning(f"{fault.place}: {fault.rule}; it is written anew from the ledger")
            if Path(fault.place).is_dir():  # no file takes a folder's place
                take_away(Path(fault.place))
    if kept := [fault for fault in changed if not is_table(run, fault)]:
        raise BadInput(kept)


def tell_of_tests(ledger: Ledger, progress: Progress, how: str) -> None:
    """Say so where a study goes on whose test sets were opened."""
    for opening in ledger.events(TEST_OPENED)[:1]:
        progress.warning(
            f"the study is {how} after its test sets were opened ({opening['time']}): "
            "what is chosen from now on is marked as chosen after the test"
        )
