"""Every decision of a search, taken here and written to the ledger before anyone acts on it.

The state is an in-memory Optuna study that is rebuilt by replaying the ledger through the same
code that wrote it. Nothing of Ray is needed to decide, and nothing of Ray's state is read back.

Events: ``started`` {warm_start: trials of another study, where there is one},
``ask`` {number, seed, params; first: true where it is a point of `tune.first`},
``result`` {number, epoch, metrics, scores, states, decision},
``failed`` {number, epoch, reason, cause, traceback}, ``lost`` {number, cause},
``retried`` {number, epoch, reason, cause}, ``promoted`` {number, epoch, rung, place, of, why}: a
trial that a rung stopped goes on, since it is among the best there (`BY_RUNG`), or to its end, so
that enough trials finish (`TO_FINISH`). A confirming trial's ``ask`` has ``confirms``, the number
of its candidate; Optuna is never told of it. The ``ask`` of a trial that tunes an arm of an
ablation has ``tunes``; that of a trial that is not run, since its arm was stopped, says why under
``stopped``.
"""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from study.errors import BadInput, Fault
from study.records.files import ALL_EPOCHS, CONFIRM, trial_id
from study.records.ledger import Ledger, Record
from study.scoring.objective import OBJECTIVE, standing
from study.searchers.catalog import searchers
from study.searchers.rungs import Place, Rungs
from study.space.ablation.section import SEED
from study.space.search.conditions import Point
from study.tune.plan import FITTED_TO, SearchPlan
from study.tune.record import NODE_LOST, TrialRecord
from study.tune.sampler import make_pruner, make_study
from study.tune.telling import stopped_text

CONTINUE, PRUNED, FINISHED = "continue", "pruned", "finished"
STOPPED = "stopped"
Why = Literal["rung", "finish"]
BY_RUNG: Why = "rung"
TO_FINISH: Why = "finish"
RULES = {
    "asha": "promotes",
    "losses": "at their authors' scales",
    "tpe": f"fitted to {FITTED_TO} trials, the best and the last",
}
"""What the line ``started`` says of the rules that a study goes by. Studies that were begun
without the first had Optuna's pruner for ASHA, which promotes nobody later; they go on with it.
For those begun without the second see `study.run_folder.refuse_former_losses`. Those without the
third go on with TPE fitted to all trials."""
_STATES = {
    "finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "stopped": TrialState.PRUNED,
    "failed": TrialState.FAIL, "running": TrialState.RUNNING,
}  # fmt: skip


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
        self._rungs: Rungs | None = None
        if not _has_rule(ledger, "tpe"):
            self._sampler.fitted_to = None
        if plan.scheduler == "asha" and _has_rule(ledger, "asha"):
            self._rungs = Rungs(plan.grace_epochs, plan.reduction_factor)
        pruner = make_pruner(
            "none" if self._rungs else plan.scheduler,
            plan.grace_epochs,
            plan.reduction_factor,
            plan.max_epochs,
        )
        self._study = make_study(self._sampler, pruner, plan.directions)
        self._asked: dict[int, optuna.Trial] = {}  # of the search; confirming ones have none
        self._rows: dict[int, FrozenTrial] = {}  # of those that Optuna was told otherwise of
        self._to_end: set[int] = set()  # no rung stops them any more
        self._running: set[int] = set()
        self._above: set[int] = set()  # of the search, finished above the floor
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
        more: dict[str, Any] = {"tunes": True} if number < self.plan.num_tuning else {}
        more |= {"first": True} if self._is_first else {}
        trial = self._drawn()
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
            num_epochs=self.plan.num_epochs(event["params"]),
            confirms=event.get("confirms"),
            tunes=bool(event.get("tunes")),
            begun=event.get("time", ""),
        )
        self.trials.append(record)
        if trial is not None:
            trial.set_user_attr("trial_id", trial_id(record.number))
            self._asked[record.number] = trial
        if event.get("stopped"):
            record.status, record.reason, record.ended = STOPPED, event["stopped"], record.begun
            self._tell(record, state=TrialState.PRUNED)
        else:
            self._running.add(record.number)
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

    def promotable(self, finish: int | None = None) -> Place | None:
        """Who goes on next of those that a rung has stopped; None where nobody does now.

        Args:
            finish: so many trials are to finish above the floor: the best that waits, as long as
                fewer have or still run. None: the rungs' own rule.
        """
        if self._rungs is None or finish == 0:
            return None
        if finish is None:
            return self._rungs.promotable()
        still = len(self._above) + sum(number in self._asked for number in self._running)
        return self._rungs.best_waiting() if still < finish else None

    def promote(self, place: Place, why: Why) -> TrialRecord:
        """Let a trial go on that a rung has stopped, on the ledger; see `promotable`."""
        self._take(self._ledger.append("promoted", **asdict(place), why=why))
        return self.trials[place.number]

    def waits(self, record: TrialRecord) -> bool:
        """Whether a trial was stopped by a rung and may be promoted."""
        return self._rungs is not None and self._rungs.waits(record.number)

    def _stands(self, record: TrialRecord) -> bool:
        chosen = record.chosen_metrics(self.plan.checkpoint_rule)
        return record.status == FINISHED and not standing(chosen)[0]

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
        return [self.trials[number] for number in sorted(self._running)]

    @property
    def num_searched(self) -> int:
        """Number of trials that the search has asked for."""
        return len(self._asked)

    @property
    def frozen(self) -> list[FrozenTrial]:
        """The trials of the search, each once as it stands, as Optuna's, in number order."""
        every = self._study.get_trials(deepcopy=False)
        return [self._rows.get(n) or every[trial.number] for n, trial in self._asked.items()]

    def value(self, record: TrialRecord) -> float:
        """The objective of the epoch that the checkpoint rule picks, of an ended trial."""
        return self.metric(record, OBJECTIVE)

    def metric(self, record: TrialRecord, name: str) -> float:
        """A metric at the epoch that the checkpoint rule picks, of an ended trial."""
        return record.chosen_metrics(self.plan.checkpoint_rule)[name]

    def events(self, name: str) -> list[Record]:
        """The ledger's records of an event, in order."""
        return self._ledger.events(name)

    @property
    def _is_first(self) -> bool:
        """Whether the next trial is a point that was named."""
        return self.num_searched < len(self.plan.first)

    def _drawn(self) -> optuna.Trial:
        """A trial with all parameters that exist under the values of those before them."""
        if self._is_first:
            self._study.enqueue_trial(self.plan.first[self.num_searched])
        trial = self._study.ask()
        point: Point = {}
        for name, distribution in self.plan.distributions.items():
            when = self.plan.conditions.get(name)
            if when is None or when.holds(point):
                point[name] = _suggested(trial, name, distribution)
        return trial

    def _decide(self, record: TrialRecord, epoch: int, metrics: dict[str, float]) -> str:
        ends = epoch >= record.num_epochs
        # Optuna neither takes a report nor prunes where objectives are several.
        trial = None if self.plan.objectives else self._asked.get(record.number)
        if trial is not None and record.number not in self._rows:
            trial.report(metrics[OBJECTIVE], step=epoch)
        if ends or trial is None:
            return FINISHED if ends else CONTINUE
        if self._rungs is None:
            return PRUNED if trial.should_prune() else CONTINUE
        stays = record.number in self._to_end
        goes_on = stays or self._rungs.goes_on(record.number, epoch, metrics[OBJECTIVE])
        return CONTINUE if goes_on else PRUNED

    def _take(self, event: Record) -> None:
        """What an event on the ledger changes of the trial that it is about."""
        record = self.trials[event["number"]]
        match event["event"]:
            case "result":
                record.states += [event["states"]] if "states" in event else []
                record.scores.append(event.get("scores", ""))
                record.told.append(event.get("time", ""))
                self._take_result(record, event["metrics"], event["decision"])
            case "failed":
                record.status = "failed"
                record.reason, record.cause = event["reason"], event["cause"]
                record.traceback = event["traceback"]
                self._tell(record, state=TrialState.FAIL)
            case "lost":
                record.lost += event["cause"] != NODE_LOST
            case "retried":
                record.retried += 1
            case "promoted":
                assert self._rungs is not None
                self._rungs.leave(record.number)
                record.status, record.reason = "running", ""
                if event["why"] == TO_FINISH:
                    self._to_end.add(record.number)
        if record.status == "running":
            self._running.add(record.number)
        else:
            self._running.discard(record.number)
        if record.number in self._asked and self._stands(record):
            self._above.add(record.number)
        record.ended = "" if record.status == "running" else event.get("time", "")
        if record.number in self._rows:
            self._rows[record.number] = self._row(record)

    def _take_result(self, record: TrialRecord, metrics: dict[str, float], decision: str) -> None:
        record.epochs.append(metrics)
        if self._rungs is not None and record.number in self._asked and decision != FINISHED:
            stopped = decision == PRUNED
            epoch, value = len(record.epochs), metrics[OBJECTIVE]
            self._rungs.arrive(record.number, epoch, value, stopped=stopped)
        if decision != CONTINUE:
            record.status = decision
        if decision == PRUNED:
            record.reason = self._why_stopped(record, metrics)
            self._tell(record, state=TrialState.PRUNED)
        elif decision == FINISHED:
            remark = self.plan.remark(metrics)
            record.reason = ALL_EPOCHS + (f"; {remark}" if remark else "")
            self._tell(record, self.plan.values(record.epochs))

    def _why_stopped(self, record: TrialRecord, metrics: dict[str, float]) -> str:
        rungs, value = self._rungs, metrics[OBJECTIVE]
        place = None if rungs is None else rungs.place_of(record.number, value)
        scheduler, reduction = self.plan.scheduler, self.plan.reduction_factor
        stopped = stopped_text(scheduler, len(record.epochs), place, reduction)
        return ", ".join(filter(None, [self.plan.stands(metrics), stopped]))

    def _tell(
        self,
        record: TrialRecord,
        values: list[float] | None = None,
        state: TrialState | None = None,
    ) -> None:
        """Tell Optuna how a trial of the search ended; of a confirming one it never hears."""
        trial = self._asked.get(record.number)
        if trial is None:
            return
        if self._rungs is None:
            self._study.tell(trial, values, state=state)
            return
        self._tell_of_rungs(record, trial, values)

    def _tell_of_rungs(
        self, record: TrialRecord, trial: optuna.Trial, values: list[float] | None
    ) -> None:
        """Tell Optuna of a trial that rungs may stop, and that it may have heard of before.

        What comes of a trial once it was promoted is told as one more observation at its point,
        since Optuna lets nobody change what it was told.
        """
        state = _STATES[record.status]
        if record.status == PRUNED and self.plan.stopped_as == "complete":
            state = TrialState.COMPLETE
            values = self.plan.values(record.epochs)
        if record.number not in self._rows:
            self._study.tell(trial, values, state=state)
        elif record.status in (PRUNED, FINISHED):
            again = optuna.trial.create_trial(
                state=state,
                params=trial.params,
                distributions=trial.distributions,
                values=values or [record.objectives[-1]],
                intermediate_values=dict(enumerate(record.objectives, start=1)),
            )
            self._study.add_trial(again)
            self._sampler.observed += 1
        self._rows[record.number] = self._row(record)

    def _row(self, record: TrialRecord) -> FrozenTrial:
        """A trial as it stands, whatever Optuna was told when."""
        number = self._asked[record.number].number
        row = copy.copy(self._study.get_trials(deepcopy=False)[number])
        row.state = _STATES[record.status]
        ended = record.status == FINISHED
        row.values = self.plan.values(record.epochs) if ended else None
        row.intermediate_values = dict(enumerate(record.objectives, start=1))
        return row

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
        elif kind in ("result", "failed", "lost", "retried", "promoted"):
            if kind == "result":
                record = self.trials[event["number"]]
                decision = self._decide(record, event["epoch"], event["metrics"])
                if decision != event["decision"]:
                    told = event["decision"]
                    raise BadInput(_contradiction(self._ledger, line, event, told, decision))
            elif kind == "promoted":
                self._check_promotion(event, line)
            self._take(event)

    def _check_promotion(self, event: Record, line: int) -> None:
        """What was promoted must be what is promoted now, in the place that it had."""
        told = Place(*(event[name] for name in ("number", "epoch", "rung", "place", "of")))
        found = None
        if self._rungs is not None:
            by_rung = event["why"] == BY_RUNG
            found = self._rungs.promotable() if by_rung else self._rungs.best_waiting()
        if found != told:
            texts = [_promotion_text(one) for one in (told, found)]
            raise BadInput(_contradiction(self._ledger, line, event, *texts))

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


def _has_rule(ledger: Ledger, name: str) -> bool:
    """Whether a study goes by one of `RULES`."""
    started = ledger.events("started")
    return not started or started[0].get("rules", {}).get(name) == RULES[name]


def _promotion_text(place: Place | None) -> str:
    if place is None:
        return "nobody is promoted"
    return f"trial {trial_id(place.number)} is promoted, {place.place} of {place.of}"


def _contradiction(ledger: Ledger, line: int, event: Record, told: str, now: str) -> Fault:
    return Fault(
        place=str(ledger.path),
        line=line,
        key=f"trial {event['number']}, epoch {event['epoch']}",
        value=told,
        rule=f"the recorded decision differs from the one that the spec gives now ({now})",
        way_out="Resume with the versions in manifest.json, or start anew with another --out.",
    )
