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
        self._sizes: dict[str, int] = {}  # of the folders of ended trials, bytes

    def enforce(self, trials: Sequence[TrialRecord]) -> str:
        """Drop as much of the losers as it takes; what to warn of where that is not enough.

        The folders of trials that have ended are measured once: with thousands of them looking
        at every file again at every trial's end would take longer than the trials.
        """
        if self._limit is None:
            return ""
        used = self._used(trials)
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
                self._sizes.pop(path.parent.name, None)
        if used - freed <= self._limit:
            return ""
        return (
            f"checkpoints take {bytes_text(used - freed)}, above tune.checkpoint_budget "
            f"({bytes_text(self._limit)}); the best, the base and what resumes are all kept"
        )

    def _used(self, trials: Sequence[TrialRecord]) -> int:
        """Bytes of all checkpoints."""
        ended = {trial_id(one.number) for one in trials if one.status != "running"}
        sizes = {
            folder.name: self._sizes.get(folder.name) or folder_bytes(folder)
            for folder in self._run.checkpoints.glob("*")
        }
        self._sizes = {name: size for name, size in sizes.items() if name in ended}
        return sum(sizes.values())

    def _expendable(self, trials: Sequence[TrialRecord]) -> Iterator[tuple[str, Path]]:
        """What may go, worst first; a state never after the weights that it would go on with."""
        order = losers(trials, self._rule)
        for status in _LOSE_FIRST:
            folders = [
                self._run.trial_checkpoints(trial_id(one.number))
                for one in order
                if one.status == status
            ]
            for what, name in ((STATES, "epoch_*"), (CHOSEN, WEIGHTS)):
                yield from ((what, path) for folder in folders for path in folder.glob(name))


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
