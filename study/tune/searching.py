"""One session of a study's search: decisions, observers and Ray brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

import torch

from study.counted import counted
from study.device import gpu_memory_bytes
from study.ending import led_away
from study.records.files import RunFolder, trial_id
from study.records.ledger import Ledger, Record
from study.records.sealed import note_end
from study.scoring.objective import rejudged
from study.space.ablation.section import ARM, SEED
from study.space.points import (
    absent,
    conditions,
    grid,
    is_under,
    point_with,
    substitute,
    suggested,
)
from study.training.assignment import Assignment
from study.tune.confirming import Choose, Confirming
from study.tune.decisions import Decisions
from study.tune.gpu_share import probe, trials_per_gpu
from study.tune.observers import ProgressObserver, RecordsObserver, about, standing
from study.tune.plan import SearchPlan
from study.tune.ray_tuner import ray_running, run_session
from study.tune.record import TrialRecord
from study.tune.resources import Machine, plan_resources
from study.tune.retuning import Retuning
from study.tune.session import Ask, Limits, Session
from study.tune.setup import Setup
from study.tune.shown import Shown
from study.tune.stopping import Stopping
from study.tune.telling import standing_text
from study.tune.tensorboard import TensorBoardLog
from study.tune.trackers import TrackedStudy
from study.tune.tracking import follow
from study.watch.progress import Progress

GPU_SHARE: Final = "gpu_share"
"""Event of the ledger: how many trials share a GPU, and what was measured."""


def search_plan(setup: Setup) -> SearchPlan:
    """The part of a study that fixes its decisions."""
    tune, select = setup.spec.tune, setup.spec.select
    floor = setup.floor.accuracy if setup.floor else None
    return SearchPlan(
        seed=tune.seed,
        searcher=tune.searcher,
        scheduler=tune.scheduler,
        grace_epochs=tune.grace_epochs,
        reduction_factor=tune.reduction_factor,
        checkpoint_rule=select.checkpoint,
        distributions={name: one.distribution() for name, one in suggested(setup.spec).items()},
        num_epochs=setup.num_epochs,
        remark=setup.spec.params.remark,
        stands=partial(standing_text, metric=select.metric, floor=setup.floor),
        grid=grid(setup.spec) if tune.declared.points else (),
        conditions=conditions(setup.spec),
        max_epochs=max(setup.spec.values_of("epochs")),
        parameters=tune.searcher_parameters(),
        objectives=tuple(tune.objectives or ()),
        first=setup.first_points()[0],
        num_tuning=setup.spec.ablate.num_tuning if setup.spec.ablate else 0,
        rejudged=lambda metrics: rejudged(metrics, select.metric, floor, select.penalty),
    )


def search(
    run: RunFolder,
    setup: Setup,
    ledger: Ledger,
    progress: Progress,
    machine: Machine,
    choose: Choose | None = None,
    trackers: Sequence[str] = (),
) -> Session:
    """Run trials until the study is done or stopped; the session tells which.

    Tables, study.db and TensorBoard are whole when this returns. A fatal error is left in
    ``Session.error``. ``choose`` names the candidates of a confirmation; without it there is
    none, whatever the spec says. ``trackers`` are told too (`study.options.TRACKERS`).

    Raises:
        BadInput: where no trial fits the machine, or no cluster answers.
    """
    decisions = Decisions(search_plan(setup), ledger)
    tune = setup.spec.tune
    records = RecordsObserver(run, setup, decisions, progress.warning)
    shown = _shown(run, setup, decisions)
    board = TensorBoardLog(run.tensorboard, shown)
    board.catch_up(decisions.trials)
    followed = []
    for name in trackers:
        study = TrackedStudy.of(run, ledger, about(setup, decisions).attributes)
        followed.append(follow(name, study, shown, progress))
        followed[-1].catch_up(decisions.trials)
    session = Session(
        decisions,
        setup.assign,
        Limits(tune.num_trials, machine.time_budget_s, tune.max_failures, tune.finish),
        [ProgressObserver(progress, setup), board, records, *followed],
        ask=_ask(setup, decisions, progress),
        confirming=_confirming(run, setup, records, decisions, progress, choose),
    )
    _tell_start(progress, setup, decisions, machine)
    try:
        if not session.exhausted:
            machine = with_shared_gpu(run, setup, ledger, progress, machine)
            run_on_ray(run, setup, session, machine)
    finally:
        with session.pausing_on_full_disk():
            board.close()
        with session.pausing_on_full_disk():
            records.close()
        for one in followed:
            one.close()
        progress.close()
        progress.failure_table(records.failures)
    with session.pausing_on_full_disk():
        note_end(
            ledger,
            run,
            complete=session.exhausted and not (session.stopping or session.error),
            reason=session.stopping,
            unfinished=len(decisions.unfinished),
            planned=session.num_wanted,
        )
    return session


def _ask(setup: Setup, decisions: Decisions, progress: Progress) -> Ask | None:
    """Who gives out the trials of an ablation that looks at results between them; else None."""
    ablation, metric = setup.spec.ablate, setup.spec.select.metric
    if ablation is not None and ablation.stop is not None:
        progress.note(f"Arms stop early: {ablation.stop.text(len(ablation.seeds), metric)}")

        def stopped(record: TrialRecord) -> None:
            progress.trial_ended(trial_id(record.number), record.status, {}, record.reason)

        return Stopping(decisions, ablation, ablation.stop, metric, stopped).next_trial
    if ablation is not None and (retune := ablation.retune) is not None:
        what = f"{counted(retune.num_trials, 'trial')} each over {', '.join(retune.search)}"
        progress.note(f"Arms are re-tuned first: {what}, seed {retune.seed}")

        def tuned(choice: Record) -> None:
            arm, trial = choice["arm"], choice["trial"]
            if trial is None:
                told = f"{arm}: no tuning trial finished; it is measured at its defaults"
                progress.warning(told)
                return
            values = ", ".join(f"{name} {value}" for name, value in choice["settings"].items())
            progress.note(f"{arm}: best of its tuning is trial {trial_id(trial)}, {values}")

        return Retuning(decisions, ablation, retune, tuned).next_trial
    return None


def _confirming(
    run: RunFolder,
    setup: Setup,
    records: RecordsObserver,
    decisions: Decisions,
    progress: Progress,
    choose: Choose | None,
) -> Confirming | None:
    rule = setup.spec.select.confirm
    if rule is None or choose is None:
        return None

    def chosen() -> list[int]:
        records.flush()  # what is chosen from is the tables
        candidates = list(choose(run, rule.top))
        names = ", ".join(trial_id(number) for number in candidates)
        progress.note(
            f"Confirmation: {names or 'no candidate'}, {counted(rule.seeds, 'fresh seed')} each"
        )
        return candidates

    return Confirming(decisions, rule, chosen)


def _tell_start(progress: Progress, setup: Setup, decisions: Decisions, machine: Machine) -> None:
    """How many trials there will be, and how those on record ended."""
    select = setup.spec.select
    confirming = select.confirm.top * select.confirm.seeds if select.confirm else 0
    if remark := setup.spec.tune.searcher_remark():
        progress.note(remark)
    ended = [record for record in decisions.trials if record.status != "running"]
    progress.study_started(
        setup.spec.tune.num_trials + confirming,
        select.metric,
        time_budget_s=machine.time_budget_s,
        recorded=[(trial_id(r.number), r.status, standing(r, select.checkpoint)) for r in ended],
    )


def _shown(run: RunFolder, setup: Setup, decisions: Decisions) -> Shown:
    """What TensorBoard shows of this study."""
    return Shown(
        params=lambda record: _told(setup, record),
        searched=[*((ARM, SEED) if setup.spec.ablate else decisions.plan.distributions)],
        metric=setup.spec.select.metric,
        rule=setup.spec.select.checkpoint,
        own_score=setup.spec.own_score,
        base=setup.base.metrics if setup.base else {},
        run=run,
        margins=lambda record: setup.margins(
            substitute(setup.spec, record.params)[0], record.params
        ),
    )


def _told(setup: Setup, record: TrialRecord) -> dict[str, Any]:
    """Parameters of a trial for TensorBoard, arm and seed of an ablation among them."""
    arm: dict[str, Any] = {ARM: record.arm, SEED: record.seed} if setup.spec.ablate else {}
    if record.tunes:
        arm["tunes"] = True
    if record.confirms is not None:
        arm = {ARM: record.arm, SEED: record.seed, "confirms": trial_id(record.confirms)}
    gone = absent(setup.spec, record.params)
    known = setup.params(record).items()
    return arm | {name: value for name, value in known if not is_under(name, gone)}


def with_shared_gpu(
    run: RunFolder, setup: Setup, ledger: Ledger, progress: Progress, machine: Machine
) -> Machine:
    """The machine with a measured share of its GPU for each trial, where the spec leaves it open.

    Measured once in a study's life; never on a cluster, whose GPUs the driver cannot see, nor
    where a trial scarcely needs its GPU.
    """
    params = setup.spec.params
    idle = not params.trains or getattr(params, "fine_tune", "full") == "linear"
    asked = machine.gpus_per_trial is not None or machine.max_concurrent == 1
    if setup.device != "cuda" or asked or machine.address or idle:
        return machine
    told = ledger.events(GPU_SHARE)
    if not told:
        point = point_with(setup.spec)
        train, model = substitute(setup.spec, point)
        trial = Assignment(0, setup.spec.tune.seed, model, train | setup.margins(train, point))
        with progress.stage("GPU: how many trials train at once"):
            setting = setup.trial_setting(run.path.resolve(), threads=1, device="cuda")
            measured = probe(setting, trial)
        trials = trials_per_gpu(measured, gpu_memory_bytes())
        rows = [asdict(one) for one in measured]
        told = [ledger.append(GPU_SHARE, trials=trials, measured=rows)]
        speeds = ", ".join(f"{one.trials}: {one.images_per_s:,.0f} images/s" for one in measured)
        progress.note(f"{counted(trials, 'trial')} a GPU ({speeds or 'the probe did not end'})")
    return replace(machine, gpus_per_trial=1 / told[-1]["trials"])


def run_on_ray(run: RunFolder, setup: Setup, session: Session, machine: Machine) -> None:
    """Run the session's trials on Ray, here or on the machine's cluster, to its end."""
    folder = run.path.resolve()
    with led_away(str(folder / "ray.log")), ray_running(machine.address) as nodes:
        # Ray Tune comes with it: not every command needs that, and it looks into ~ at once.
        from study.tune.ray_trainable import trainable

        if machine.address is None and not torch.cuda.is_available():
            # Ray counts GPUs by their driver; without a torch that can use them there are none.
            nodes = [node | {"GPU": 0.0} for node in nodes]
        resources = plan_resources(nodes, machine)
        session.max_concurrent = resources.max_concurrent
        device, threads = resources.device, resources.threads
        session.decisions.note(
            "session", max_concurrent=resources.max_concurrent, device=device, threads=threads
        )
        setting = setup.trial_setting(folder, threads=threads, device=device)
        # What a trial gets stays; how many fit follows the machines that join a cluster, and go.
        share = replace(machine, cpus_per_trial=resources.cpus, gpus_per_trial=resources.gpus)
        run_session(
            session,
            trainable,
            {"setting": setting},
            resources,
            folder / ".ray",
            (lambda now: plan_resources(now, share).max_concurrent) if machine.address else None,
        )
