"""The rungs of a search played again, under every weighting of the validation images.

ASHA stops and promotes trials by the images that the selection goes by, so whoever came to its
end did so in part by luck. With what its trials scored the search is played again: one trial at a
time in the order in which they were asked for, promotions first, at last those that are brought
to their end (as `study.tune.rungs` and `study.tune.session` have it).

A weighting may let a trial go on that was stopped in truth, and what it would have scored later
nobody knows. Its last scored epoch stands in: moved by what the trials that were trained further
gained on average, and with an error that is as alike to that of its last epoch as theirs are; the
rest of the error is borrowed from another trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.choice.cells import (
    Cells,
    Floats,
    Rows,
    Values,
    all_images,
    cells_of_study,
    even,
    weighed,
)
from analysis.tables import Records
from study.searchers.catalog import searchers

Flags = NDArray[np.bool_]
_COMPARED = ("finished", "pruned", "paused", "running")
_SCHEDULERS = {"asha": "ASHA", "hyperband": "Hyperband", "median": "the median rule"}


@dataclass(frozen=True)
class Search:
    """All trials of a search under ASHA, not those alone that came to their end.

    Attributes:
        cells: of every trial that was scored; each is a configuration of its own.
        lengths: epochs that each trial has, or would have had, (T,).
        grace: epoch of the first rung.
        reduction: one in so many goes on.
        finish: so many trials are brought to their end above the floor, at last.
    """

    cells: Cells
    lengths: Rows
    grace: int
    reduction: int
    finish: int = 0

    @cached_property
    def reached(self) -> Rows:
        """The last scored epoch of each trial, (T,)."""
        return np.array([self.cells.epoch[own].max() for own in self._own])

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which trials are compared."""
        epochs, at = [], self.grace
        while at < self.lengths.max():
            epochs.append(at)
            at *= self.reduction
        return tuple(epochs)

    @property
    def how(self) -> str:
        """What is played again, as a sentence for a paper."""
        unfinished = int((self.reached < self.lengths).sum())
        return (
            f"The stops and promotions of ASHA were played again in each resample with all "
            f"{len(self.lengths):,} trials, one at a time; where one of the "
            f"{unfinished} that were not trained to their end would have gone on, its last scored "
            "epoch stands in, moved by the mean gain of those that were."
        )

    @cached_property
    def _own(self) -> list[Rows]:
        trials = range(len(self.cells.trial_ids))
        return [np.flatnonzero(self.cells.trial == trial) for trial in trials]

    @cached_property
    def _whole(self) -> Values:
        return weighed(self.cells, iter([all_images(self.cells)]))

    def ended(self, values: Values) -> tuple[Values, Flags]:
        """The search under each weighting.

        Args:
            values: what the cells are worth under B weightings.

        Returns:
            The same where every trial is at its end, see ``at_end``; and who came there, (T, B).
        """
        came = []
        for epoch in self.rungs:
            then = self._carried(values, epoch)
            came.append(np.take_along_axis(then.objective, self._best(then, epoch), axis=0))
        last = self.at_end(values)
        stands = np.stack([(last.shortfall[own] <= 0).any(axis=0) for own in self._own])
        return last, _Play(self, came, stands).played() >= self.lengths[:, None]

    def reach(self, values: Values) -> Rows:
        """The epoch that each trial comes to where all of them have every epoch, (T, B)."""
        came = [np.take_along_axis(values.objective, self._best(values, e), 0) for e in self.rungs]
        stands = np.stack([(values.shortfall[own] <= 0).any(axis=0) for own in self._own])
        return _Play(self, came, stands).played()

    def at_end(self, values: Values) -> Values:
        """``values``, the last cells of unfinished trials standing in for those of their ends."""
        return self._carried(values, None)

    def _best(self, values: Values, epoch: int) -> Rows:
        """The cell that stands for each trial at an epoch, or at its last one before, (T, B)."""
        best = np.empty((len(self._own), values.cost.shape[1]), dtype=np.intp)
        for trial, own in enumerate(self._own):
            there = own[self.cells.epoch[own] == self._scored_at(trial, epoch)]
            best[trial] = there[np.argmin(values.standing[there], axis=0)]
        return best

    def _scored_at(self, trial: int, epoch: int) -> int:
        """The last scored epoch of a trial up to one."""
        epochs = self.cells.epoch[self._own[trial]]
        return int(epochs[epochs <= epoch].max(initial=int(epochs[0])))

    def _carried(self, values: Values, epoch: int | None) -> Values:
        """``values``, last cells standing in for a later epoch; each trial's end where None."""
        target = self.lengths if epoch is None else np.minimum(self.lengths, epoch)
        before = even(values.cost), values.accuracy
        after = before[0].copy(), before[1].copy()
        on_all = even(self._whole.cost), self._whole.accuracy
        lasts = self._best(self._whole, int(self.lengths.max()))[:, 0]
        steps: dict[tuple[int, int], list[_Step]] = {}
        for trial in np.flatnonzero(self.reached < target):
            way = int(self.reached[trial]), int(target[trial])
            if way not in steps:
                pair = self._both(*way)
                steps[way] = [_Step.of(*pair, *one) for one in zip(before, on_all, strict=True)]
            own = self._own[trial]
            own = own[self.cells.epoch[own] == way[0]]
            other = lasts[(trial + 1) % len(lasts)]
            for old, new, whole, step in zip(before, after, on_all, steps[way], strict=True):
                error, rest = old[own] - whole[own], old[other] - whole[other]
                new[own] = whole[own] + step.gain + step.alike * error + step.rest * rest
        cost = np.sin(np.clip(after[0], 0, np.pi / 2)) ** 2
        return replace(values, cost=cost, accuracy=np.clip(after[1], 0, 1))

    def _both(self, start: int, end: int) -> tuple[Rows, Rows]:
        """Cells of two epochs of the trials that were trained from the one to the other."""
        on = self.reached >= min(end, int(self.reached.max()))
        first, second = (self._best(self._whole, epoch)[on, 0] for epoch in (start, end))
        return first, second


@dataclass(frozen=True)
class _Step:
    """What trials do from one epoch to another.

    Attributes:
        gain: their mean change on all images.
        alike: mean correlation of their errors at both epochs, in [0, 1].
    """

    gain: float
    alike: float

    @property
    def rest(self) -> float:
        """What is left of an error of size 1 beside the part that is alike."""
        return float((1 - self.alike**2) ** 0.5)

    @classmethod
    def of(cls, first: Rows, second: Rows, values: Floats, whole: Floats) -> _Step:
        """From two cells of each of some trials: values (C, B), and on all images (C, 1)."""
        if not len(first):
            return cls(0.0, 1.0)
        gain = float((whole[second, 0] - whole[first, 0]).mean())
        one, two = (
            values[cells] - values[cells].mean(axis=1)[:, None] for cells in (first, second)
        )
        sizes = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
        alike = np.divide((one * two).sum(axis=1), sizes, out=np.ones_like(sizes), where=sizes > 0)
        return cls(gain, float(np.clip(alike.mean(), 0, 1)))


class _Play:
    """One search under each of B weightings; one trial runs at a time, in all of them at once.

    Attributes:
        here: who has come to each rung, (R, T, B).
        reach: the epoch that each trial came to, (T, B).
    """

    def __init__(self, search: Search, came: Sequence[Floats], stands: Flags) -> None:
        """Before the first trial.

        Args:
            search: its rules.
            came: objective of each trial at each rung, R of (T, B).
            stands: who is above the floor at its end, (T, B).
        """
        self.search, self.stands = search, stands
        # Of equal values the lower number is the better one.
        places = [np.argsort(np.argsort(one, axis=0, kind="stable"), axis=0) for one in came]
        self.places = np.array(places, dtype=np.intp).reshape(len(came), *stands.shape)
        self.here = np.zeros(self.places.shape, dtype=np.bool_)
        self.waits = np.zeros_like(self.here)
        self.reach = np.zeros(stands.shape, dtype=np.intp)

    def played(self) -> Rows:
        """The epoch that each trial has come to after the last one, (T, B)."""
        total, num = len(self.reach), self.stands.shape[1]
        columns, begun = np.arange(num), np.zeros(num, dtype=np.intp)
        while True:
            trial, rung = self._promotable(shared=True)
            new = (trial < 0) & (begun < total)
            trial[new], rung[new] = begun[new], -1
            begun[new] += 1
            ended = self.reach >= self.search.lengths[:, None]
            lack = (ended & self.stands).sum(axis=0) < self.search.finish
            last = (trial < 0) & lack
            if last.any():
                more, at = self._promotable(shared=False)
                trial[last], rung[last] = more[last], at[last]
            acts = trial >= 0
            if not acts.any():
                return self.reach
            self._run(trial[acts], rung[acts], columns[acts], last[acts])

    def _promotable(self, *, shared: bool) -> tuple[Rows, Rows]:
        """Who goes on next, and from which rung, (B,); -1 where nobody does.

        Args:
            shared: only whoever is among the best share of a rung; else the highest rung's best.
        """
        none, num = len(self.reach), self.stands.shape[1]
        trial, rung = np.full(num, -1), np.full(num, -1)
        for at in reversed(range(len(self.places))):
            place = np.where(self.waits[at], self.places[at], none)
            least = place.min(axis=0)
            fits = (least < none) & (trial < 0)
            if shared:
                ahead = (self.here[at] & (self.places[at] < least)).sum(axis=0)
                fits &= ahead < self.here[at].sum(axis=0) // self.search.reduction
            trial[fits], rung[fits] = place.argmin(axis=0)[fits], at
        return trial, rung

    def _run(self, trial: Rows, rung: Rows, columns: Rows, to_end: Flags) -> None:
        """Run trials from the rung that stopped them until they wait again, or end."""
        stopped = rung >= 0
        self.waits[rung[stopped], trial[stopped], columns[stopped]] = False
        goes = np.ones(len(trial), dtype=np.bool_)
        for at, epoch in enumerate(self.search.rungs):
            comes = np.flatnonzero(goes & (rung < at) & (self.search.lengths[trial] > epoch))
            who, where = trial[comes], columns[comes]
            here, places = self.here[at][:, where], self.places[at][:, where]
            ahead = (here & (places < self.places[at, who, where])).sum(axis=0)
            on = ahead < (here.sum(axis=0) + 1) // self.search.reduction
            on |= to_end[comes]
            self.here[at, who, where] = True
            self.waits[at, who[~on], where[~on]] = True
            self.reach[who, where] = epoch
            goes[comes[~on]] = False
        self.reach[trial[goes], columns[goes]] = self.search.lengths[trial[goes]]


def search_of(study: Records) -> Search | None:
    """The search of a study under ASHA; None where nothing is to be played again.

    That is so of ablations, of other schedulers, of studies that were begun before stopped trials
    were promoted, and where no trial was left unfinished.
    """
    rows = study.trials[study.trials["status"].isin(_COMPARED)]
    rows = rows[[study.has_scores(str(name)) for name in rows["trial_id"]]]
    finished = rows["status"] == "finished"
    if not stops_by_rungs(study) or finished.all():
        return None
    tune = study.section("tune")
    cells = cells_of_study(
        study, list(rows["trial_id"]), best_states_of=list(rows["trial_id"][~finished])
    )
    if cells.num_configs < len(cells.trial_ids):
        return None
    rows = rows.set_index("trial_id").loc[list(cells.trial_ids)]
    planned = int(study.section("train").get("epochs") or 1)
    told = rows.get("param/train.epochs")
    lengths = np.full(len(rows), planned) if told is None else told.to_numpy(np.intp)
    done = (rows["status"] == "finished").to_numpy()
    lengths = np.where(done, rows["epochs"].to_numpy(np.intp), lengths)
    return Search(
        cells,
        lengths.astype(np.intp),
        int(tune["grace_epochs"]),
        int(tune["reduction_factor"]),
        int(tune.get("finish") or 0),
    )


def stops_by_rungs(study: Records) -> bool:
    """Whether a study's trials were stopped by today's rule of ASHA."""
    started = [one for one in study.ledger if one["event"] == "started"]
    rule = (started[0].get("rules") or {}).get("asha") if started else None
    is_search = study.section("tune").get("scheduler") == "asha" and not study.section("ablate")
    return is_search and rule == "promotes"


def not_played(study: Records) -> str:
    """What of a search's own choices a correction leaves out, as a sentence."""
    tune = study.section("tune")
    if study.section("ablate") or not tune:
        return ""
    left = []
    pruned = (study.trials["status"] == "pruned").any()
    if pruned and not stops_by_rungs(study):
        scheduler = str(tune.get("scheduler"))
        left.append(f"what {_SCHEDULERS.get(scheduler, scheduler)} stopped")
    searcher = searchers().get(str(tune.get("searcher")))
    if searcher is None or searcher.learns:
        left.append(f"what the searcher ({tune.get('searcher')}) proposed")
    if not left:
        return ""
    return (
        f"Not repeated, and not corrected for: {' and '.join(left)} by the same images while the "
        "search ran."
    )
