"""The byte budget for checkpoints: the weights of losing trials go first, some never go."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from study.records.disk import bytes_text, folder_bytes
from study.records.files import WEIGHTS, RunFolder, trial_id
from study.scoring.objective import OBJECTIVE
from study.tune.record import TrialRecord

_LOSE_FIRST = ("failed", "pruned", "finished")
Dropped = Callable[[list[str], int], object]
"""Is told of the trials whose weights go and of their bytes, before they do."""


class CheckpointBudget:
    """Keeps the folder of checkpoints within its bytes.

    A trial that has ended keeps its weights at the epoch of the checkpoint rule. They are needed
    if it is selected, or looked at; its scores, metrics and parameters stay in any case, and
    ``--replay`` brings the weights back. What a paused or running trial resumes from, the
    base, the trials of a confirmation, and the best finished trial (all of them, where several
    are equal) are never touched.
    """

    def __init__(
        self, run: RunFolder, limit: int | None, checkpoint_rule: str, dropped: Dropped
    ) -> None:
        """``limit`` in bytes, None for none."""
        self._run = run
        self._limit = limit
        self._rule = checkpoint_rule
        self._dropped = dropped

    def enforce(self, trials: Sequence[TrialRecord]) -> str:
        """Drop as many losers' weights as it takes; what to warn of where that is not enough."""
        if self._limit is None:
            return ""
        used = folder_bytes(self._run.checkpoints)
        if used <= self._limit:
            return ""
        going, freed = [], 0
        for record in losers(trials, self._rule):
            path = self._run.trial_checkpoints(trial_id(record.number)) / WEIGHTS
            if used - freed <= self._limit:
                break
            if path.exists():
                going.append(path)
                freed += path.stat().st_size
        if going:
            self._dropped([path.parent.name for path in going], freed)
        for path in going:
            path.unlink(missing_ok=True)
        if used - freed <= self._limit:
            return ""
        return (
            f"checkpoints take {bytes_text(used - freed)}, above tune.checkpoint_budget "
            f"({bytes_text(self._limit)}); the best, the base and what resumes are all kept"
        )


def losers(trials: Sequence[TrialRecord], rule: str) -> list[TrialRecord]:
    """Ended trials that may lose their weights, worst first.

    Those that tune an arm before others; then failed, pruned, finished.
    """

    def value(record: TrialRecord) -> float:
        return record.chosen_metrics(rule).get(OBJECTIVE, float("inf"))

    def order(record: TrialRecord) -> tuple[bool, int, float, int]:
        kind = _LOSE_FIRST.index(record.status)
        return record.competes, kind, -value(record), record.number

    trials = [record for record in trials if record.confirms is None]

    def stands(record: TrialRecord) -> bool:
        return record.status == "finished" and record.competes

    best = min((value(r) for r in trials if stands(r)), default=None)
    ended = [r for r in trials if r.status in _LOSE_FIRST]
    return sorted((r for r in ended if not stands(r) or value(r) != best), key=order)
