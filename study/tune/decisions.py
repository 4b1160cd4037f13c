"""Every decision of a search, taken here and written to the ledger before anyone acts on it.

The state is an in-memory Optuna study that is rebuilt by replaying the ledger through the same
code that wrote it. Nothing of Ray is needed to decide, and nothing of Ray's state is read back.

Events: ``started`` {warm_start: trials of another study, where there is one},
``ask`` {number, seed, params}, ``result`` {number, epoch, metrics, scores, states, decision},
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

    def ask(self, chosen: Point | None = None, *, stopped: str = "") -> TrialRecord | None:
        """The next trial of the search, on the ledger; None where a grid has no more points.

        Args:
            chosen: values of the grid's next point that only results could tell.
            stopped: why the trial is not run; the searcher is then told no value.
        """
        number, grid = self.num_searched, self.plan.grid
        if grid and number >= len(grid):
            return None
        if chosen:
            self._sampler.recorded[number] = {**grid[number], **chosen}
        trial = self._drawn()
        more: dict[str, Any] = {"tunes": True} if number < self.plan.num_tuning else {}
        more |= {"stopped": stopped} if stopped else {}
        params = dict(trial.params)
        return self._asked_for(trial, params.get(SEED, self.plan.seed), params, **more)

    def ask_again(self, candidate: int, seed: int) -> TrialRecord:
        """A trial with the parameters of ``candidate`` and another seed, on the ledger."""
        params = self.trials[candidate].params
        return self._asked_for(None, seed, params, arm=CONFIRM, confirms=candidate)

    def _asked_for(
        self, trial: optuna.Trial | None, seed: int, params: Point, **more: Any
    ) -> TrialRecord:
        number = len(self.trials)
        event = self._ledger.append("ask", number=number, seed=seed, params=params, **more)
        return self._begin(event, trial)

    def _begin(self, event: Record, trial: optuna.Trial | None) -> TrialRecord:
        """Take in a trial that is on the ledger; Optuna numbers those of the search alone."""
        record = TrialRecord(
            event["number"],
            event["seed"],
            event["params"],
            confirms=event.get("confirms"),
            tunes=bool(event.get("tunes")),
        )
        self.trials.append(record)
        if trial is not None:
            trial.set_user_attr("trial_id", trial_id(record.number))
            self._asked[record.number] = trial
        if event.get("stopped"):
            record.status, record.reason = STOPPED, event["stopped"]
            self._tell(record, state=TrialState.PRUNED)
        return record

    def result(self, number: int, epoch: int, metrics: dict[str, float], **evidence: Any) -> str:
        """Record an epoch and decide; an epoch on record keeps its recorded decision.

        Args:
            number: of the trial.
            epoch: 1-based.
            metrics: of its best state.
            evidence: goes on the ledger as it is: ``scores`` and ``kept_scores``, hashes of the
                per-image scores that the metrics follow from, and ``states``, what each state of
                the path is compared by.

        Returns:
            ``CONTINUE``, ``PRUNED`` or ``FINISHED``.
        """
        record = self.trials[number]
        if epoch <= len(record.epochs):
            return record.status if record.status != "running" else CONTINUE
        if epoch != len(record.epochs) + 1:
            raise ValueError(f"trial {number} told epoch {epoch} after {len(record.epochs)}")
        decision = self._decide(record, epoch, metrics)
        told = {"metrics": metrics, **evidence, "decision": decision}
        self._take(self._ledger.append("result", number=number, epoch=epoch, **told))
        return decision

    def failed(self, number: int, *, reason: str, cause: str, traceback: str = "") -> None:
        """Record that a trial failed; the searcher is told."""
        told = {"reason": reason, "cause": cause, "traceback": traceback}
        self._take(self._ledger.append("failed", **self._stand_of(number), **told))

    def lost(self, number: int, cause: str) -> None:
        """Record that a trial's worker died; the trial goes on from its last recorded epoch."""
        self._take(self._ledger.append("lost", number=number, cause=cause))

    def retried(self, number: int, *, reason: str, cause: str) -> None:
        """Record that a trial failed for want of room; it goes on from its last recorded epoch."""
        told = {"reason": reason, "cause": cause}
        self._take(self._ledger.append("retried", **self._stand_of(number), **told))

    def _stand_of(self, number: int) -> dict[str, int]:
        return {"number": number, "epoch": len(self.trials[number].epochs)}

    def note(self, event: str, **fields: Any) -> Record:
        """Put something on the ledger that the search does not go by, and give its record."""
        return self._ledger.append(event, **fields)

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
        return record.chosen_metrics(self.plan.checkpoint_rule)[name]

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
        # Optuna neither takes a report nor prunes where objectives are several.
        trial = None if self.plan.objectives else self._asked.get(record.number)
        if trial is not None:
            trial.report(metrics[OBJECTIVE], step=epoch)
        if epoch >= self.plan.num_epochs(record.params):
            return FINISHED
        return PRUNED if trial is not None and trial.should_prune() else CONTINUE

    def _take(self, event: Record) -> None:
        """What an event on the ledger changes of the trial that it is about."""
        record = self.trials[event["number"]]
        match event["event"]:
            case "result":
                record.states += [event["states"]] if "states" in event else []
                record.scores.append(event.get("scores", ""))
                self._take_result(record, event["metrics"], event["decision"])
            case "failed":
                record.status = "failed"
                record.reason, record.cause = event["reason"], event["cause"]
                record.traceback = event["traceback"]
                self._tell(record, state=TrialState.FAIL)
            case "lost":
                record.lost += 1
            case "retried":
                record.retried += 1

    def _take_result(self, record: TrialRecord, metrics: dict[str, float], decision: str) -> None:
        record.epochs.append(metrics)
        if decision == PRUNED:
            record.reason = f"pruned by {self.plan.scheduler} after epoch {len(record.epochs)}"
            self._tell(record, state=TrialState.PRUNED)
        elif decision == FINISHED:
            remark = self.plan.remark(metrics)
            record.reason = ALL_EPOCHS + (f"; {remark}" if remark else "")
            self._tell(record, self.plan.values(record.epochs))
        if decision != CONTINUE:
            record.status = decision

    def _tell(
        self,
        record: TrialRecord,
        values: list[float] | None = None,
        state: TrialState | None = None,
    ) -> None:
        """Tell Optuna how a trial of the search ended; of a confirming one it never hears."""
        if record.number in self._asked:
            self._study.tell(self._asked[record.number], values, state=state)

    def _replay(self, event: Record, line: int) -> None:
        kind = event["event"]
        if kind == "started":
            self._take_history(event.get("warm_start") or {})
        elif kind == "ask":
            trial = None
            if event.get("confirms") is None:
                self._sampler.recorded[self.num_searched] = event["params"]
                trial = self._drawn()
            self._begin(event, trial)
        elif kind in ("result", "failed", "lost", "retried"):
            if kind == "result":
                record = self.trials[event["number"]]
                decision = self._decide(record, event["epoch"], event["metrics"])
                if decision != event["decision"]:
                    raise BadInput(_contradiction(self._ledger, line, event, decision))
            self._take(event)

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
                values=self.plan.values([self.plan.rejudged(one) for one in told["epochs"]]),
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
