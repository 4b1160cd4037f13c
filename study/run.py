"""A study from its options to its report: the one way in which data flows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import torch

from study import run_folder
from study.assignment import trial_id
from study.conclusion import conclude
from study.data.leak_report import LeakReport
from study.data.plan import DataPlan, make_plan
from study.data.roles import StudyData
from study.errors import BadInput, Interrupted, StudyFailed, TrialFailed
from study.forecast import forecast
from study.ledger import Ledger
from study.observers import ProgressObserver, RecordsObserver, chosen_metrics
from study.options import ResumeOptions, RunOptions
from study.overrides import Override
from study.progress import Progress
from study.records import RunFolder
from study.setup import Setup, prepare, prepare_data
from study.space import flat, grid, to_optuna
from study.spec import StudySpec, load_resolved, load_space
from study.tensorboard import TensorBoardLog
from study.training import Goal
from study.trial import TrialSetting
from study.tune.decisions import Decisions, SearchPlan
from study.tune.ray_tuner import Resources, plan_resources, ray_running, run_session
from study.tune.session import INTERRUPT, Limits, Session


@dataclass(frozen=True)
class RunResult:
    """What a command has to say on stdout."""

    text: str

    def lines(self) -> list[str]:
        """The result, line by line."""
        return self.text.splitlines()


@dataclass(frozen=True)
class Machine:
    """Where and how a session runs; none of it changes a trial's numbers but ``threads``."""

    address: str | None
    max_concurrent: int | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    time_budget_s: float | None


def run_study(options: RunOptions, progress: Progress) -> RunResult:
    """A new study, from its space to its report.

    Raises:
        BadInput: for anything that is wrong with space, data or folder, all faults at once.
        StudyFailed: where no trial could be selected, or too many failed.
        Interrupted: where the user stopped it; ``--resume`` goes on.
    """
    overrides: list[str | Override] = [*options.overrides, *_from_options(options)]
    spec = load_space(options.space, overrides, options.smoke, options.data_root)
    if not options.dry_run:
        run_folder.refuse_existing(options.out)
    plan = make_plan(spec.data, options.data, options.data_root)
    _show_plan(plan, progress)
    data, leaks = prepare_data(spec, plan, progress)
    if options.dry_run:
        return RunResult(forecast(spec, data, progress))
    run = RunFolder(options.out)
    with Ledger(run.ledger) as ledger:
        try:
            run_folder.begin(run, spec, plan, data, leaks, options.command)
            ledger.append("started", command=options.command, **run_folder.hashes(spec, data))
            setup = _prepared(spec, plan, data, leaks, progress)
            run_folder.add_base(run, setup)
        except BadInput:
            shutil.rmtree(run.path)  # nothing was trained for this study; its name is free again
            raise
        return _search(run, setup, ledger, progress, _machine(spec, options.address))


def resume_study(options: ResumeOptions, progress: Progress) -> RunResult:
    """Go on with a study, or extend it, from its ledger.

    Raises:
        BadInput: where the folder holds no study, its data or spec changed, or its files are
            damaged.
        StudyFailed: as ``run_study``.
        Interrupted: as ``run_study``.
    """
    run = RunFolder(options.directory)
    run_folder.refuse_missing(run)
    with Ledger(run.ledger) as ledger:
        if ledger.torn_bytes:
            progress.warning(f"{run.ledger}: dropped a torn last line ({ledger.torn_bytes} bytes)")
        spec = load_resolved(run.spec)
        plan = run_folder.recorded_plan(run)
        data, leaks = prepare_data(spec, plan, progress)
        run_folder.refuse_changed(run, spec, data, ledger)
        spec = run_folder.with_more_trials(run, spec, ledger, options)
        setup = _prepared(spec, plan, data, leaks, progress)
        run_folder.add_base(run, setup)
        machine = _machine(
            spec,
            options.address,
            max_concurrent=options.max_concurrent,
            time_budget_s=options.time_budget_s,
        )
        return _search(run, setup, ledger, progress, machine)


def _from_options(options: RunOptions) -> list[Override]:
    """Options that stand for a key of ``tune:``, as overrides under their own names."""
    given = {
        "tune.num_trials": ("--num-trials", options.num_trials),
        "tune.time_budget_s": ("--time-budget", options.time_budget_s),
        "tune.seed": ("--seed", options.seed),
        "tune.max_concurrent": ("--max-concurrent", options.max_concurrent),
        "tune.cpus_per_trial": ("--cpus-per-trial", options.cpus_per_trial),
        "tune.gpus_per_trial": ("--gpus-per-trial", options.gpus_per_trial),
    }
    return [
        Override(key, value, option) for key, (option, value) in given.items() if value is not None
    ]


def _show_plan(plan: DataPlan, progress: Progress) -> None:
    rows = plan.table()
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    for row in rows:
        progress.note("  ".join(value.ljust(widths[key]) for key, value in row.items()).rstrip())


def _machine(
    spec: StudySpec,
    address: str | None,
    *,
    max_concurrent: int | None = None,
    time_budget_s: float | None = None,
) -> Machine:
    tune = spec.tune
    gpus = None if tune.gpus_per_trial == "auto" else float(tune.gpus_per_trial)
    return Machine(
        address=address,
        max_concurrent=max_concurrent or tune.max_concurrent,
        cpus_per_trial=tune.cpus_per_trial,
        gpus_per_trial=gpus,
        time_budget_s=time_budget_s or tune.time_budget_s,
    )


def _prepared(
    spec: StudySpec, plan: DataPlan, data: StudyData, leaks: LeakReport, progress: Progress
) -> Setup:
    no_gpu = spec.tune.gpus_per_trial == 0
    device = "cuda" if torch.cuda.is_available() and not no_gpu else "cpu"
    try:
        return prepare(spec, plan, data, leaks, progress=progress, device=device)
    except TrialFailed as error:
        raise StudyFailed(f"the base model could not be trained: {error}.") from error


def search_plan(setup: Setup) -> SearchPlan:
    """The part of a study that fixes its decisions."""
    tune = setup.spec.tune
    domains = flat(setup.spec)
    return SearchPlan(
        seed=tune.seed,
        searcher=tune.searcher,
        scheduler=tune.scheduler,
        grace_epochs=tune.grace_epochs,
        reduction_factor=tune.reduction_factor,
        checkpoint_rule=setup.spec.select.checkpoint,
        distributions={name: to_optuna(domain) for name, domain in domains.items()},
        num_epochs=setup.num_epochs,
        grid=grid(setup.spec) if tune.searcher == "grid" else (),
    )


def _search(
    run: RunFolder, setup: Setup, ledger: Ledger, progress: Progress, machine: Machine
) -> RunResult:
    """Run trials until the study is done or stopped, then select and report."""
    decisions = Decisions(search_plan(setup), ledger)
    tune = setup.spec.tune
    records = RecordsObserver(run, setup, decisions)
    board = TensorBoardLog(run.tensorboard, setup.params)
    rule = setup.spec.select.checkpoint
    limits = Limits(
        num_trials=tune.num_trials,
        time_budget_s=machine.time_budget_s,
        max_failures=tune.max_failures,
    )
    session = Session(
        decisions, setup.assign, limits, [ProgressObserver(progress, setup), board, records]
    )
    ended = [r for r in decisions.trials if r.status != "running"]
    progress.study_started(
        tune.num_trials,
        setup.spec.select.metric,
        time_budget_s=machine.time_budget_s,
        recorded=[(trial_id(r.number), r.status, chosen_metrics(r, rule)) for r in ended],
    )
    try:
        if not session.exhausted:
            _run_on_ray(run, setup, session, machine)
    finally:
        board.close()
        failures = records.close()
        progress.close()
        progress.failure_table(failures)
    return _conclude(run, session, ledger, progress)


def _run_on_ray(run: RunFolder, setup: Setup, session: Session, machine: Machine) -> None:
    from study.trainable import trainable  # Ray comes with it, and not every command needs Ray

    with ray_running(machine.address) as available:
        resources = plan_resources(
            available,
            cpus=machine.cpus_per_trial,
            gpus=machine.gpus_per_trial if setup.device == "cuda" else 0.0,
            max_concurrent=machine.max_concurrent,
        )
        session.max_concurrent = resources.max_concurrent
        setting = _setting(run, setup, resources)
        scratch = run.path.resolve() / ".ray"
        run_session(session, trainable, {"setting": setting}, resources, scratch)


def _setting(run: RunFolder, setup: Setup, resources: Resources) -> TrialSetting:
    select = setup.spec.select
    return TrialSetting(
        recipe=setup.spec.recipe,
        data=setup.data,
        base_weights=setup.base.weights if setup.base else None,
        run=run.path.resolve(),
        goal=Goal(select.metric, setup.floor),
        checkpoint_rule=select.checkpoint,
        threads=resources.threads,
        device=setup.device,
    )


def _conclude(run: RunFolder, session: Session, ledger: Ledger, progress: Progress) -> RunResult:
    """Select, report, and say what came out; or why nothing did."""
    if session.stopping:
        paused = len(session.decisions.unfinished)
        ledger.append("stopped", reason=session.stopping, paused=paused)
    if session.stopping == INTERRUPT:
        raise Interrupted(f"{len(session.decisions.unfinished)} trials are paused.")
    if session.stopping:
        progress.warning(f"the time budget is spent; to go on: --resume {run.path}")
    with progress.stage("Selection and report"):
        text, problem = conclude(run, ledger)
    if problem:
        raise StudyFailed(problem)
    return RunResult(text)
