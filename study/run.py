"""A study from its options to its report: the one way in which data flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from study import run_folder
from study.bases.files import check_files
from study.counted import counted
from study.data.plan import make_plan, size_of_id
from study.errors import BadInput, Fault, Interrupted, StudyFailed, TrialFailed
from study.forecast import forecast
from study.invoked import run_command
from study.options import Override, ResumeOptions, RunOptions, of_session
from study.plugins import changed_since
from study.records.cache import limit
from study.records.disk import DiskFull
from study.records.files import RunFolder
from study.records.hold_outs import hold_out_folder, hold_out_folders, write_hold_outs
from study.records.ledger import Ledger
from study.records.manifest import note_session, read_manifest
from study.records.sealed import note_files, reached
from study.space.loading import load_resolved, load_space
from study.space.study_spec import StudySpec
from study.tune.confirming import Choose
from study.tune.decisions import RULES
from study.tune.ray_tuner import cluster_nodes
from study.tune.resources import Machine, machine_of, plan_resources, this_machine
from study.tune.searching import search
from study.tune.session import INTERRUPT, Session
from study.tune.setup import CheckedStudy, Setup, prepare, prepare_data
from study.tune.tracking import check_trackers
from study.warm_start import WarmStart, read_warm_start
from study.watch.progress import Progress
from study.watch.progress_view import aligned

Conclude = Callable[[RunFolder, Ledger], str]
"""Selects, freezes and reports; gives the result for stdout. The analysis package has it."""
Resume = Callable[[ResumeOptions], str]
"""`resume_study` as this command goes on with it."""


def run_study(
    options: RunOptions, progress: Progress, conclude: Conclude, choose: Choose | None = None
) -> str:
    """A new study, from its space to its report; ``choose`` names candidates to confirm.

    Returns:
        The result, for stdout.

    Raises:
        BadInput: for anything that is wrong with space, data, machine or folder.
        StudyFailed: where no trial could be selected, or too many failed.
        Interrupted: where the user stopped it; ``--resume`` goes on.
    """
    limit()
    check_trackers(options.trackers)
    spec, size_told = spec_of(options)
    machine = machine_of(spec, options.address)
    _check_machine(machine)
    if not options.dry_run:
        run_folder.refuse_existing(options.out)
    if spec.hold_outs:
        resume = partial(resume_study, progress=progress, conclude=conclude, choose=choose)
        return _run_under_each(options, spec, size_told, progress, resume)
    study, warm = _looked_at(options, spec, size_told, progress)
    if options.dry_run:
        return forecast(spec, study.data, progress)
    run = RunFolder(options.out)
    with Ledger(run.ledger) as ledger:
        run_folder.refuse_begun(run, ledger)  # another process may have, since the look above
        try:
            _begin(run, ledger, study, options.command, warm)
            setup = _prepared(run, study, progress)
        except BadInput:
            run_folder.discard(run)  # nothing was trained for this study; its name is free again
            raise
        note_files(ledger, run)
        session = search(run, setup, ledger, progress, machine, choose, options.trackers)
        return _conclude(run, session, ledger, progress, conclude, of_session(options))


def _looked_at(
    options: RunOptions, spec: StudySpec, size_told: str, progress: Progress
) -> tuple[CheckedStudy, WarmStart | None]:
    """The study's data, read and checked, and what another study tells its searcher."""
    warm = read_warm_start(options.warm_start, spec) if options.warm_start else None
    plan = make_plan(spec.data, options.data, options.data_root)
    for line in (*aligned([list(row.values()) for row in plan.table()]), size_told):
        progress.note(line)
    check_files(spec, progress)
    study = prepare_data(spec, plan, progress)
    if warm is not None:
        warm.check_data(study.data)
        for line in warm.lines():
            progress.note(line)
    return study, warm


def _begin(
    run: RunFolder, ledger: Ledger, study: CheckedStudy, command: str, warm: WarmStart | None
) -> None:
    """Spec, manifest and the ledger's first line."""
    run_folder.begin(run, study, command)
    hashes = run_folder.hashes(study.spec, study.data)
    if warm is not None:
        warm.tell_manifest(run)
    history = {} if warm is None else {"warm_start": warm.event()}
    # One line: a study that is on the ledger has its history there, whenever it is killed.
    ledger.append("started", command=command, **{"rules": RULES, **hashes, **history})


def _run_under_each(
    options: RunOptions, spec: StudySpec, size_told: str, progress: Progress, resume: Resume
) -> str:
    """A whole study for each hold-out: all of them begin before the first one trains.

    Whatever is wrong with the classes or the images of any is told before any time is spent.
    """
    places = [hold_out_folder(options.out, number) for number in range(1, len(spec.hold_outs) + 1)]
    forecasts, faults = list[str](), list[Fault]()
    for place, hold_out in zip(places, spec.hold_outs, strict=True):
        title = f"{place.name} of {len(places)}: {hold_out}"
        progress.note(title)
        own = replace(options, out=place)
        try:
            study, _ = _looked_at(own, spec.under(hold_out), size_told, progress)
            if options.dry_run:
                forecasts.append(f"# {title}\n{forecast(study.spec, study.data, progress)}")
                continue
            run = RunFolder(place)
            run_folder.discard(run)  # what a start left that was cut off
            with Ledger(run.ledger) as ledger:
                _begin(run, ledger, study, options.command, None)
        except BadInput as error:
            faults += [fault for fault in error.faults if fault not in faults]
    if options.dry_run and not faults:
        return "\n\n".join(forecasts)
    if faults:
        for place in (*places, options.out):
            run_folder.discard(RunFolder(place))
        raise BadInput(faults)
    write_hold_outs(options.out, [one.plain() for one in spec.hold_outs])
    names = ("address", "quiet", "command", "trackers")
    return resume(ResumeOptions(options.out, **{name: getattr(options, name) for name in names}))


def _resume_each(
    options: ResumeOptions, folders: Sequence[Path], progress: Progress, resume: Resume
) -> str:
    """One study after the other; where nothing may be selected in one, the others go on."""
    told, failed = [], []
    for folder in folders:
        progress.note(f"{folder.name} of {len(folders)}")
        try:
            told.append(f"{folder.name}\n{resume(replace(options, directory=folder))}")
        except StudyFailed as error:
            failed.append(f"{folder.name}: {error}")
    if failed:
        raise StudyFailed("\n\n".join([*failed, *told]))
    return "\n\n".join(told)


def resume_study(
    options: ResumeOptions, progress: Progress, conclude: Conclude, choose: Choose | None = None
) -> str:
    """Go on with a study, or extend it, from its ledger; ``choose`` names candidates to confirm.

    Returns:
        The result, for stdout.

    Raises:
        BadInput: where the folder holds no study, its data or spec changed, or its files are
            damaged.
        StudyFailed: as ``run_study``.
        Interrupted: as ``run_study``.
    """
    limit()
    check_trackers(options.trackers)
    if folders := hold_out_folders(options.directory):
        resume = partial(resume_study, progress=progress, conclude=conclude, choose=choose)
        return _resume_each(options, folders, progress, resume)
    run = RunFolder(options.directory)
    run_folder.refuse_missing(run)
    with Ledger(run.ledger) as ledger:
        if ledger.torn_bytes:
            progress.warning(f"{run.ledger}: dropped a torn last line ({ledger.torn_bytes} bytes)")
        run_folder.refuse_unknown_rules(run, ledger)
        run_folder.refuse_edited(run, ledger, progress)
        spec = run_folder.as_extended(run, load_resolved(run.spec), ledger)
        run_folder.refuse_more_trials(spec, options.more_trials)
        if options.more_trials or reached(ledger.records).missing:
            run_folder.refuse_former_losses(run, spec, ledger)
        machine = machine_of(
            spec,
            options.address,
            max_concurrent=options.max_concurrent,
            time_budget_s=options.time_budget_s,
        )
        _check_machine(machine)
        study = prepare_data(spec, run_folder.recorded_plan(run), progress)
        run_folder.refuse_changed(run, run_folder.changed_parts(run, study, ledger))
        spec = run_folder.with_more_trials(run, spec, ledger, options)
        for line in changed_since(read_manifest(run).get("plugins", [])):
            progress.warning(line)
        if changed := note_session(run, options.command):
            told = "; ".join(changed)
            progress.warning(f"numbers may differ, this is not where the study began: {told}")
        how = "extended" if options.more_trials else "resumed"
        run_folder.tell_of_tests(ledger, progress, how)
        setup = _prepared(run, replace(study, spec=spec), progress)
        note_files(ledger, run)
        session = search(run, setup, ledger, progress, machine, choose, options.trackers)
        return _conclude(run, session, ledger, progress, conclude, of_session(options))


def spec_of(options: RunOptions, more: Sequence[Override] = ()) -> tuple[StudySpec, str]:
    """The spec that is asked for, the images' size from the ID set where the space says none.

    Args:
        options: of the command line.
        more: keys to set besides.

    Returns:
        The spec, and a sentence about the size.

    Raises:
        BadInput: for faults of the space, and where there is no ID set.
    """
    overrides = [*options.overrides, *more]

    def load(more: Sequence[Override] = ()) -> StudySpec:
        return load_space(options.space, [*overrides, *more], options.smoke, options.data_root)

    spec = load()
    if spec.data.image_size is not None:
        size, whence = spec.data.image_size, "as the space says"
    else:
        size, whence = size_of_id(spec.data, options.data, options.data_root)
        spec = load([Override("data.image_size", size, "the ID set")])
    return spec, f"images of {size}x{size} pixels: {whence}"


def _check_machine(machine: Machine) -> None:
    """Refuse what cannot be scheduled before data is read and a base is trained.

    Raises:
        BadInput: where no cluster answers, or no trial fits a machine.
    """
    nodes = cluster_nodes(machine.address) if machine.address else this_machine()
    plan_resources(nodes, machine)


def _prepared(run: RunFolder, study: CheckedStudy, progress: Progress) -> Setup:
    no_gpu = study.spec.tune.gpus_per_trial == 0
    device = "cuda" if torch.cuda.is_available() and not no_gpu else "cpu"
    recorded = run_folder.recorded_start(run)
    try:
        setup = prepare(study, progress=progress, device=device, recorded=recorded)
    except TrialFailed as error:
        raise StudyFailed(f"the base model could not be trained: {error}.") from error
    if device == "cuda":
        torch.cuda.empty_cache()  # the trials' workers need what training the base has kept
    if recorded is None:
        run_folder.add_start(run, setup)
    if setup.base is not None and setup.base.saw_validation:
        progress.warning(
            "the base comes from a file and may have seen the validation images: its numbers, "
            "and those of trials that start from it, may flatter"
        )
        accuracy, chance = setup.base.metrics["val/id_accuracy"], 1 / study.data.num_classes
        if accuracy < 2 * chance:
            progress.warning(
                f"the file's classifier is right on {accuracy:.1%} of validation ID, near chance: "
                "its classes may be others, or in another order, or model.normalisation another"
            )
    return setup


def _conclude(
    run: RunFolder,
    session: Session,
    ledger: Ledger,
    progress: Progress,
    conclude: Conclude,
    same: Sequence[str],
) -> str:
    """Select, report, and say what came out; or why nothing did.

    ``same``: options that the next session is to be given again.
    """
    unfinished = len(session.decisions.unfinished)
    paused = f"{counted(unfinished, 'trial')} paused"
    if session.disk_full:
        with suppress(OSError):  # it is full; the ledger is whole without this line
            ledger.append("stopped", reason=session.stopping, paused=unfinished)
        raise DiskFull(f"{session.disk_full}; {paused}.")
    if session.stopping:
        ledger.append("stopped", reason=session.stopping, paused=unfinished)
    if session.stopping == INTERRUPT:
        raise Interrupted(f"{paused}.")
    if session.stopping:
        go_on = run_command("--resume", run.path, *same)
        progress.warning(f"the time budget is spent; {paused}; go on: {go_on}")
    with progress.stage("Selection and report"):
        try:
            text = conclude(run, ledger)
        except (StudyFailed, BadInput):  # nothing to conclude from
            if session.error is None:
                raise
            text = ""
    error = session.error
    if isinstance(error, StudyFailed) and text:  # with what was selected in spite of it
        raise StudyFailed(f"{error}\nWhat had finished by then:\n{text}") from error
    if error is not None:
        raise error
    return text
