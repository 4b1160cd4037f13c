"""The byte budget for checkpoints: what losing trials keep goes first, some never goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from study.records.disk import bytes_text, folder_bytes, take_away
from study.records.files import WEIGHTS, RunFolder, trial_id
from study.scoring.objective import OBJECTIVE
from study.tune.record import TrialRecord

_LOSE_FIRST = ("failed", "pruned", "finished")
STATES, CHOSEN = "states", "weights"
Dropped = Callable[[str, list[str], int], object]
"""Is told what goes (`STATES` or `CHOSEN`), of which trials and how many bytes, before it does."""


class CheckpointBudget:
    """Keeps the folder of checkpoints within its bytes.

    A trial that has ended keeps its weights at the epoch of the checkpoint rule. They are needed
    if it is selected, or looked at; its scores, metrics and parameters stay in any case, and
    ``--replay`` brings the weights back. A trial that a rung stopped keeps the state that it would
    go on from, too; without it a promotion trains it anew from its first epoch. What a paused or
    running trial resumes from, the base, the trials of a confirmation, and the best finished trial
    (all of them, where several are equal) are never touched.
    """

    def __init__(
        self, run: RunFolder, limit: int | None, checkpoint_rule: str, dropped: Dropped
    ) -> None:
        """``limit`` in bytes, None for none."""
        self._run = run
        self._limit = limit
        self._rule = checkpoint_rule
        self._dropped = dropped
        self._sizes: dict[str, int] = {}  # of folders, bytes, as they were last measured
        self._used = 0  # their sum
        self._open: set[str] = set()  # folders that may have changed since
        self._bare: set[str] = set()  # folders with nothing left that could go
        self._known = 0  # trials that were looked at

    def enforce(self, trials: Sequence[TrialRecord]) -> str:
        """Drop as much of the losers as it takes; what to warn of where that is not enough.

        The folder of a trial that has ended is measured once, and again where it `goes_on`: with
        thousands of them a look at each at every trial's end would take longer than the trials.
        """
        if self._limit is None:
            return ""
        used = self._measured(trials)
        if used <= self._limit:
            return ""
        going: dict[str, dict[Path, int]] = {STATES: {}, CHOSEN: {}}
        freed = 0
        for what, path in self._expendable(trials):
            if used - freed <= self._limit:
                break
            going[what][path] = size = folder_bytes(path)
            freed += size
        for what, sizes in going.items():
            if sizes:
                names = [path.parent.name for path in sizes]
                self._dropped(what, names, sum(sizes.values()))
            for path in sizes:
                take_away(path)
                self._open.add(path.parent.name)
        if used - freed <= self._limit:
            return ""
        return (
            f"checkpoints take {bytes_text(used - freed)}, above tune.checkpoint_budget "
            f"({bytes_text(self._limit)}); the best, the base and what resumes are all kept"
        )

    def goes_on(self, record: TrialRecord) -> None:
        """A trial that had ended trains on, and writes again."""
        self._open.add(trial_id(record.number))

    def _measured(self, trials: Sequence[TrialRecord]) -> int:
        """Bytes of all checkpoints."""
        if not self._known:
            self._open = {folder.name for folder in self._run.checkpoints.glob("*")}
        self._open |= {trial_id(record.number) for record in trials[self._known :]}
        self._known = len(trials)
        for name in self._open:
            size = folder_bytes(self._run.checkpoints / name)
            self._used += size - self._sizes.get(name, 0)
            self._sizes[name] = size
        self._bare -= self._open
        self._open = {name for name in self._open if not _has_ended(trials, name)}
        return self._used

    def _expendable(self, trials: Sequence[TrialRecord]) -> Iterator[tuple[str, Path]]:
        """What may go, worst first; a state never after the weights that it would go on with."""
        order = losers([r for r in trials if trial_id(r.number) not in self._bare], self._rule)
        for status in _LOSE_FIRST:
            folders = [
                self._run.trial_checkpoints(trial_id(one.number))
                for one in order
                if one.status == status
            ]
            found = {
                folder: {STATES: [*folder.glob("epoch_*")], CHOSEN: [*folder.glob(WEIGHTS)]}
                for folder in folders
            }
            self._bare |= {one.name for one, kinds in found.items() if not any(kinds.values())}
            for what in (STATES, CHOSEN):
                yield from ((what, path) for kinds in found.values() for path in kinds[what])


def _has_ended(trials: Sequence[TrialRecord], name: str) -> bool:
    """Whether a folder is of a trial that has ended."""
    number = int(name) if name.isdecimal() else len(trials)
    return number < len(trials) and trials[number].status != "running"


def losers(trials: Sequence[TrialRecord], rule: str) -> list[TrialRecord]:
    """Ended trials that may lose what they keep, worst first.

    Those that tune an arm before others; then failed, pruned (by how far they came, then by
    objective), finished.
    """

    def value(record: TrialRecord) -> float:
        return record.chosen_metrics(rule).get(OBJECTIVE, float("inf"))

    def order(record: TrialRecord) -> tuple[bool, int, int, float, int]:
        kind = _LOSE_FIRST.index(record.status)
        came = len(record.epochs) if record.status == "pruned" else 0
        return record.competes, kind, came, -value(record), record.number

    trials = [record for record in trials if record.confirms is None]

    def stands(record: TrialRecord) -> bool:
        return record.status == "finished" and record.competes

    best = min((value(r) for r in trials if stands(r)), default=None)
    ended = [r for r in trials if r.status in _LOSE_FIRST]
    return sorted((r for r in ended if not stands(r) or value(r) != best), key=order)
