"""The rungs of a search played again, under every weighting of the validation images.

ASHA stops and promotes trials by the images that the selection goes by, so whoever came to its
end did so in part by luck. With what its trials scored the search is played again: one trial at a
time in the order in which they were asked for, promotions first, at last those that are brought
to their end (as `study.searchers.rungs` and `study.tune.session` have it).

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
import pandas as pd
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
from analysis.choice.screened import STATE, on_record, screened
from analysis.tables import Records, alphas_of
from study.searchers.catalog import searchers
from study.searchers.rungs import Rungs, rung_epochs

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
        return tuple(rung_epochs(self.grace, self.reduction, int(self.lengths.max()) - 1))

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
        return last, self._reach(came, last) >= self.lengths[:, None]

    def reach(self, values: Values) -> Rows:
        """The epoch that each trial comes to where all of them have every epoch, (T, B)."""
        came = [np.take_along_axis(values.objective, self._best(values, e), 0) for e in self.rungs]
        return self._reach(came, values)

    def _reach(self, came: Sequence[Floats], at_end: Values) -> Rows:
        """Each search played by itself, from R objectives (T, B) at rungs, (T, B)."""
        stands = np.stack([(at_end.shortfall[own] <= 0).any(axis=0) for own in self._own])
        each = [
            _played(self, [one[:, b].tolist() for one in came], stands[:, b].tolist())
            for b in range(stands.shape[1])
        ]
        return np.array(each, dtype=np.intp).T

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


def _played(
    search: Search, values: Sequence[Sequence[float]], stands: Sequence[bool]
) -> list[int]:
    """The epoch that each trial comes to in one search, one trial running at a time, (T,).

    Args:
        search: its rules.
        values: objective of each trial at each rung, R of (T,).
        stands: who is above the floor at its end, (T,).
    """
    rungs, lengths = Rungs(search.grace, search.reduction), search.lengths.tolist()
    reach, begun, above = [0] * len(lengths), 0, 0
    while True:
        place, to_end = rungs.promotable(), False
        if place is None and begun == len(lengths):
            place, to_end = rungs.best_waiting(), True
            if place is None or above >= search.finish:
                return reach
        if place is None:
            number, rung = begun, -1
            begun += 1
        else:
            number, rung = place.number, place.rung
            rungs.leave(number)
        for epoch, came in list(zip(search.rungs, values, strict=True))[rung + 1 :]:
            if lengths[number] <= epoch:
                break
            goes_on = to_end or rungs.goes_on(number, epoch, came[number])
            rungs.arrive(number, epoch, came[number], stopped=not goes_on)
            reach[number] = epoch
            if not goes_on:
                break
        if not rungs.waits(number):
            reach[number] = lengths[number]
            above += stands[number]


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
    names = list(rows["trial_id"])
    states = _played_states(study, names, list(rows["trial_id"][~finished]))
    cells = cells_of_study(study, names, states=states)
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


def _played_states(study: Records, names: list[str], unfinished: list[str]) -> pd.DataFrame | None:
    """The states that a search is played with; None for all.

    Of what was stopped the best of each epoch. Of very many those that are compared at rungs, each
    trial's last, and those that come nearest to the choice.
    """
    table = on_record(study, names)
    if table is None:
        return None
    best = study.epochs[study.epochs["trial_id"].isin(unfinished)]
    best = best[["trial_id", "epoch"]].assign(alpha=alphas_of(best))
    table = pd.concat([table.loc[~table["trial_id"].isin(unfinished), STATE], best])
    near = screened(study, names)
    if near is None:
        return table
    last = table.groupby("trial_id")["epoch"].transform("max")
    ends = last[table["trial_id"].isin(unfinished)].unique()
    tune, newest = study.section("tune"), int(table["epoch"].max())
    rungs = rung_epochs(int(tune["grace_epochs"]), int(tune["reduction_factor"]), newest - 1)
    compared = table["epoch"].isin([*ends, *rungs]) | (table["epoch"] == last)
    both = [table[compared], table.merge(near, on=STATE)]
    return pd.concat(both).drop_duplicates(ignore_index=True)


def stops_by_rungs(study: Records) -> bool:
    """Whether a study's trials were stopped by today's rule of ASHA."""
    started = study.events("started")
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
