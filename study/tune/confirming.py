"""Confirmation: the best candidates of a search trained anew on fresh seeds, by the study itself.

A search's best trial is in part its luckiest. Once every trial of the search has ended, the top
candidates by the stated rule are trained again, all epochs, with seeds that the search never
used. The choice is on the ledger before the first of these trials is asked for; Optuna and ASHA
never hear of them, so a search that is extended later goes on as if they had not been.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from study.records.files import CONFIRM, RunFolder
from study.records.ledger import Record
from study.seeding import seed_of
from study.space.reading.sections import Confirm
from study.tune.decisions import Decisions
from study.tune.record import TrialRecord

Choose = Callable[[RunFolder, int], Sequence[int]]
"""Numbers of the best candidates of a run, at most so many, best first; none where no trial may
be selected. The analysis package has it."""


def fresh_seed(seed: int, candidate: int, index: int) -> int:
    """The seed of the ``index``-th new run (from 0) of a candidate, in a study with ``seed``."""
    return seed_of(seed, CONFIRM, candidate, index) % 2**31


class Confirming:
    """Gives out the confirming trials of a study, one seed of every candidate after the other.

    A choice stands for the number of trials that the search had: where a study is extended, the
    next end of its search is followed by another choice. A candidate that is chosen again keeps
    the runs that it has; only what is missing is trained.
    """

    def __init__(
        self, decisions: Decisions, rule: Confirm, choose: Callable[[], Sequence[int]]
    ) -> None:
        """``choose`` gives the numbers of the candidates, from records that tell all trials."""
        self._decisions = decisions
        self._rule = rule
        self._choose = choose
        chosen = decisions.events(CONFIRM)
        self._last: Record | None = chosen[-1] if chosen else None

    def next_trial(self) -> TrialRecord | None:
        """The next confirming trial, on the ledger; None while the search runs, and at the end."""
        decisions = self._decisions
        if any(record.confirms is None for record in decisions.unfinished):
            return None
        if self._choice is None:
            self._last = decisions.note(
                CONFIRM,
                candidates=list(self._choose()),
                seeds=self._rule.seeds,
                num_searched=decisions.num_searched,
            )
        missing = self._missing()
        return decisions.ask_again(*missing[0]) if missing else None

    @property
    def asked(self) -> bool:
        """Whether every confirming trial has been asked for."""
        return self._choice is not None and not self._missing()

    @property
    def _choice(self) -> Record | None:
        """The choice among the trials that the search has by now."""
        last, now = self._last, self._decisions.num_searched
        return last if last is not None and last["num_searched"] == now else None

    def _missing(self) -> list[tuple[int, int]]:
        """Candidates and seeds that are still to be asked for, in order."""
        choice = self._choice
        assert choice is not None, "seeds follow from a choice"
        asked = {(r.confirms, r.seed) for r in self._decisions.trials if r.confirms is not None}
        study_seed = self._decisions.plan.seed
        wanted = [
            (candidate, fresh_seed(study_seed, candidate, index))
            for index in range(choice["seeds"])
            for candidate in choice["candidates"]
        ]
        return [one for one in wanted if one not in asked]
