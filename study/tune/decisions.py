"""Every decision of a search, taken here and written to the ledger before anyone acts on it.

The state is an in-memory Optuna study that is rebuilt by replaying the ledger through the same
code that wrote it. Nothing of Ray is needed to decide, and nothing of Ray's state is read back.

Events: ``started`` {warm_start: trials of another study, where there is one},
``ask`` {number, seed, params}, ``result`` {number, epoch, metrics, decision},
``failed`` {number, epoch, reason, cause, traceback}, ``lost`` {number, cause},
``retried`` {number, epoch, reason, cause}. A confirming trial's ``ask`` has ``confirms``, the
number of its candidate; Optuna is never told of it. The ``ask`` of a trial that tunes an arm of
an ablation has ``tunes``; that of a trial that is not run, since its arm was stopped, says why
under ``stopped``.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from study.errors import BadInput, Fault
from study.records.files import ALL_EPOCHS, CONFIRM, trial_id
from study.records.ledger import Ledger, Record
from study.scoring.objective import OBJECTIVE
from study.searchers.catalog import searchers
from study.space.ablation.section import SEED
from study.tune.plan import SearchPlan
from study.tune.record import TrialRecord
from study.tune.sampler import Point, make_pruner, make_study

__all__ = ["CONTINUE", "FINISHED", "PRUNED", "Decisions", "SearchPlan", "TrialRecord"]

CONTINUE, PRUNED, FINISHED = "continue", "pruned", "finished"
STOPPED = "stopped"


class Decisions:
    """The search as a state machine over the ledger."""

    def __init__(self, plan: SearchPlan, ledger: Ledger) -> None:
        """Replay what ``ledger`` holds.

        Raises:
            BadInput: where a replayed decision differs from the recorded one.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.plan = plan
        self.trials: list[TrialRecord] = []
        self._ledger = ledger
        self._sampler = plan.sampler()
        pruner = make_pruner(
            plan.scheduler, plan.grace_epochs, plan.reduction_factor, plan.max_epochs
        )
        self._study = make_study(self._sampler, pruner, plan.directions)
        self._asked: dict[int, optuna.Trial] = {}  # of the search; confirming ones have none
        for line, record in enumerate(ledger.records, start=1):
            self._replay(record, line)

    def ask(self) -> TrialRecord | None:
        """Parameters of the next trial, on the ledger; None where a grid has no more points."""
        number = len(self.trials)
        if self.plan.grid and self.num_searched >= len(self.plan.grid):
            return None
        trial = self._drawn()
        params = dict(trial.params)
        tunes = self.num_searched < self.plan.num_tuning
        record = TrialRecord(number, params.get(SEED, self.plan.seed), params, tunes=tunes)
        more = {"tunes": True} if tunes else {}
        self._ledger.append("ask", number=number, seed=record.seed, params=record.params, **more)
        self._begin(record, trial)
        return record

    def ask_at(self, chosen: Point) -> TrialRecord | None:
        """The next trial of the grid with some values that only results could tell."""
        number = self.num_searched
        self._sampler.recorded[number] = {**self.plan.grid[number], **chosen}
        return self.ask()

    def ask_again(self, candidate: int, seed: int) -> TrialRecord:
        """A trial with the parameters of ``candidate`` and another seed, on the ledger."""
        params = self.trials[candidate].params
        record = TrialRecord(len(self.trials), seed, params, confirms=candidate)
        fields = {"number": record.number, "seed": seed, "params": params}
        self._ledger.append("ask", **fields, arm=CONFIRM, confirms=candidate)
        self._begin(record, None)
        return record

    def ask_stopped(self, why: str) -> TrialRecord:
        """The next trial, on the ledger as one that is not run; the searcher is told no value."""
        trial = self._drawn()
        params = dict(trial.params)
        record = TrialRecord(len(self.trials), params.get(SEED, self.plan.seed), params)
        fields = {"number": record.number, "seed": record.seed, "params": params}
        self._ledger.append("ask", **fields, stopped=why)
        self._begin(record, trial)
        self._apply_stop(record, why)
        return record

    def _apply_stop(self, record: TrialRecord, why: str) -> None:
        record.status, record.reason = STOPPED, why
        self._study.tell(self._asked[record.number], state=TrialState.PRUNED)

    def _begin(self, record: TrialRecord, trial: optuna.Trial | None) -> None:
        """Take in a trial that is on the ledger; Optuna numbers those of the search alone."""
        self.trials.append(record)
        if trial is not None:
            trial.set_user_attr("trial_id", trial_id(record.number))
            self._asked[record.number] = trial

    def result(self, number: int, epoch: int, metrics: dict[str, float]) -> str:
        """Record an epoch and decide; an epoch on record keeps its recorded decision.

        Returns:
            ``CONTINUE``, ``PRUNED`` or ``FINISHED``.
        """
        record = self.trials[number]
        if epoch <= len(record.epochs):
            return record.status if record.status != "running" else CONTINUE
        if epoch != len(record.epochs) + 1:
            raise ValueError(f"trial {number} told epoch {epoch} after {len(record.epochs)}")
        decision = self._decide(record, epoch, metrics)
        self._ledger.append(
            "result", number=number, epoch=epoch, metrics=metrics, decision=decision
        )
        self._apply(record, metrics, decision)
        return decision

    def failed(self, number: int, *, reason: str, cause: str, traceback: str = "") -> None:
        """Record that a trial failed; the searcher is told."""
        record = self.trials[number]
        fields = {"reason": reason, "cause": cause, "traceback": traceback}
        self._ledger.append("failed", number=number, epoch=len(record.epochs), **fields)
        self._apply_failure(record, fields)

    def note(self, event: str, **fields: Any) -> Record:
        """Put something on the ledger that the search does not go by, and give its record."""
        return self._ledger.append(event, **fields)

    def lost(self, number: int, cause: str) -> None:
        """Record that a trial's worker died; the trial goes on from its last recorded epoch."""
        self._ledger.append("lost", number=number, cause=cause)
        self.trials[number].lost += 1

    def retried(self, number: int, *, reason: str, cause: str) -> None:
        """Record that a trial failed for want of room; it goes on from its last recorded epoch."""
        record = self.trials[number]
        epoch = len(record.epochs)
        self._ledger.append("retried", number=number, epoch=epoch, reason=reason, cause=cause)
        record.retried += 1

    @property
    def unfinished(self) -> list[TrialRecord]:
        """Trials that have not ended, lowest number first."""
        return [record for record in self.trials if record.status == "running"]

    @property
    def num_searched(self) -> int:
        """Number of trials that the search has asked for."""
        return len(self._asked)

    @property
    def frozen(self) -> list[optuna.trial.FrozenTrial]:
        """The trials of the search as Optuna sees them, in number order."""
        return self._study.get_trials(deepcopy=False)[len(self._sampler.history) :]

    def value(self, record: TrialRecord) -> float:
        """The objective of the epoch that the checkpoint rule picks, of an ended trial."""
        return self.metric(record, OBJECTIVE)

    def metric(self, record: TrialRecord, name: str) -> float:
        """A metric at the epoch that the checkpoint rule picks, of an ended trial."""
        return record.epochs[self.plan.chosen(record.objectives)][name]

    def events(self, name: str) -> list[Record]:
        """The ledger's records of an event, in order."""
        return self._ledger.events(name)

    def _drawn(self) -> optuna.Trial:
        """A trial with all parameters that exist under the values of those before them."""
        trial = self._study.ask()
        point: Point = {}
        for name, distribution in self.plan.distributions.items():
            when = self.plan.conditions.get(name)
            if when is None or when.holds(point):
                point[name] = _suggested(trial, name, distribution)
        return trial

    def _decide(self, record: TrialRecord, epoch: int, metrics: dict[str, float]) -> str:
        trial = self._asked.get(record.number)
        if self.plan.objectives:
            trial = None  # Optuna neither takes a report nor prunes where objectives are several
        if trial is not None:
            trial.report(metrics[OBJECTIVE], step=epoch)
        if epoch >= self.plan.num_epochs(record.params):
            return FINISHED
        return PRUNED if trial is not None and trial.should_prune() else CONTINUE

    def _apply(self, record: TrialRecord, metrics: dict[str, float], decision: str) -> None:
        record.epochs.append(metrics)
        if decision == CONTINUE:
            return
        record.status = decision
        trial = self._asked.get(record.number)
        if decision == PRUNED:
            record.reason = f"pruned by {self.plan.scheduler} after epoch {len(record.epochs)}"
        else:
            remark = self.plan.remark(metrics)
            record.reason = ALL_EPOCHS + (f"; {remark}" if remark else "")
        if trial is None:
            return
        if decision == PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, self.plan.values(record.epochs, record.objectives))

    def _apply_failure(self, record: TrialRecord, fields: dict[str, str]) -> None:
        record.status = "failed"
        record.reason, record.cause = fields["reason"], fields["cause"]
        record.traceback = fields["traceback"]
        if record.number in self._asked:
            self._study.tell(self._asked[record.number], state=TrialState.FAIL)

    def _replay(self, event: Record, line: int) -> None:
        kind = event["event"]
        if kind == "started":
            self._take_history(event.get("warm_start") or {})
        elif kind == "ask":
            self._replay_ask(event)
        elif kind == "result":
            record = self.trials[event["number"]]
            decision = self._decide(record, event["epoch"], event["metrics"])
            if decision != event["decision"]:
                raise BadInput(_contradiction(self._ledger, line, event, decision))
            self._apply(record, event["metrics"], decision)
        elif kind == "failed":
            self._apply_failure(self.trials[event["number"]], event)
        elif kind == "lost":
            self.trials[event["number"]].lost += 1
        elif kind == "retried":
            self.trials[event["number"]].retried += 1

    def _replay_ask(self, event: Record) -> None:
        confirms = event.get("confirms")
        kind: dict[str, Any] = {"confirms": confirms, "tunes": bool(event.get("tunes"))}
        record = TrialRecord(event["number"], event["seed"], event["params"], **kind)
        trial = None
        if confirms is None:
            self._sampler.recorded[self.num_searched] = event["params"]
            trial = self._drawn()
        self._begin(record, trial)
        if event.get("stopped"):
            self._apply_stop(record, event["stopped"])

    def _take_history(self, warm_start: Record) -> None:
        """Tell the searcher the trials of another study, before any of this one."""
        attrs = searchers()[self.plan.searcher].history_attrs
        for told in warm_start.get("trials", ()):
            distributions = {
                n: d for n, d in self.plan.distributions.items() if n in told["params"]
            }
            trial = optuna.trial.create_trial(
                params={name: told["params"][name] for name in distributions},
                distributions=distributions,
                values=self.plan.values(
                    told["epochs"], [self.plan.objective(e) for e in told["epochs"]]
                ),
                system_attrs=attrs,
            )
            self._study.add_trial(trial)
            self._sampler.history.append(trial)


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, FloatDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        return trial.suggest_float(name, low, high, step=step, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        low, high = distribution.low, distribution.high
        return trial.suggest_int(name, low, high, step=distribution.step, log=distribution.log)
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(name, distribution.choices)


def _contradiction(ledger: Ledger, line: int, event: Record, decision: str) -> Fault:
    return Fault(
        place=str(ledger.path),
        line=line,
        key=f"trial {event['number']}, epoch {event['epoch']}",
        value=event["decision"],
        rule=f"the recorded decision differs from the one that the spec gives now ({decision})",
        way_out="Resume with the versions in manifest.json, or start anew with another --out.",
    )
