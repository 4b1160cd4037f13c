"""Asynchronous successive halving: who goes on at a rung, who waits there, who is promoted.

The rule is that of ASHA (Li et al., MLSys 2020, arXiv:1810.05934, algorithm 2): of the trials that
have come to a rung the best 1/eta go on to the next one, eta being the reduction factor, so that
nobody is promoted before eta have come; and whoever is free takes the best promotable trial of
the highest rung before it begins a new one. A trial that is among the best as it arrives is not
stopped first; one that is not waits, and goes on when enough worse ones have come after it.

Nothing here knows of ledgers or trials: numbers, epochs and values (lower = better) alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Place:
    """Where a trial stands at a rung.

    Attributes:
        number: of the trial.
        epoch: of the rung.
        rung: from 0, the grace.
        place: among those that have come, from 1, the best.
        of: how many have come.
    """

    number: int
    epoch: int
    rung: int
    place: int
    of: int


def rung_epochs(grace: int, reduction: int, most: int) -> list[int]:
    """Epochs of the rungs, from the grace on, as far as they lie at ``most`` or before."""
    epochs, at = [], grace
    while at <= most:
        epochs.append(at)
        at *= reduction
    return epochs


@dataclass(eq=False)
class Rungs:
    """The rungs of one search and who has come to them.

    Attributes:
        grace: epoch of the first rung; each further one lies at ``reduction`` times the epoch.
        reduction: one in so many goes on (eta in the paper).
    """

    grace: int
    reduction: int
    _came: list[list[tuple[float, int]]] = field(default_factory=list)  # a rung: best first
    _last: dict[int, int] = field(default_factory=dict)  # number -> the last rung that it came to
    _waits: dict[int, tuple[int, float]] = field(default_factory=dict)  # -> rung, value there
    _waiting: list[list[tuple[float, int]]] = field(default_factory=list)  # a rung: best first

    def rung_at(self, epoch: int) -> int | None:
        """The rung that lies at an epoch (1-based), from 0; None between rungs."""
        rung, at = 0, self.grace
        while at < epoch:
            rung, at = rung + 1, at * self.reduction
        return rung if at == epoch else None

    def goes_on(self, number: int, epoch: int, value: float) -> bool:
        """Whether a trial that comes to ``epoch`` with ``value`` goes on at once.

        It does between rungs, and at one where it is among the best 1/eta of all that have come,
        itself among them. Of equal values the lower number is the better one.
        """
        rung = self.rung_at(epoch)
        if rung is None:
            return True
        came = self._came[rung] if rung < len(self._came) else []
        return bisect_left(came, (value, number)) < (len(came) + 1) // self.reduction

    def arrive(self, number: int, epoch: int, value: float, *, stopped: bool) -> None:
        """Count a trial at ``epoch``; one that is ``stopped`` there waits. Nothing between rungs.

        Raises:
            ValueError: where it has come to this rung before.
        """
        rung = self.rung_at(epoch)
        if rung is None:
            return
        if self._last.get(number, -1) >= rung:
            raise ValueError(f"trial {number} came to epoch {epoch} before")
        self._last[number] = rung
        while len(self._came) <= rung:
            self._came.append([])
            self._waiting.append([])
        insort(self._came[rung], (value, number))
        if stopped:
            self._waits[number] = rung, value
            insort(self._waiting[rung], (value, number))

    def leave(self, number: int) -> None:
        """A trial that waits goes on (KeyError where it does not wait)."""
        rung, value = self._waits.pop(number)
        waiting = self._waiting[rung]
        del waiting[bisect_left(waiting, (value, number))]

    def waits(self, number: int) -> bool:
        """Whether a trial was stopped by a rung and has not gone on since."""
        return number in self._waits

    def place_of(self, number: int, value: float) -> Place | None:
        """Where a trial stands at the last rung that it came to, with ``value``; None before."""
        rung = self._last.get(number)
        if rung is None:
            return None
        came = self._came[rung]
        place = bisect_left(came, (value, number)) + 1
        return Place(number, self.grace * self.reduction**rung, rung, place, len(came))

    def promotable(self) -> Place | None:
        """Who goes on next: the best that waits among the best 1/eta, the highest rung first."""
        for rung in reversed(range(len(self._came))):
            place = self._first_waiting(rung, len(self._came[rung]) // self.reduction)
            if place is not None:
                return place
        return None

    def best_waiting(self) -> Place | None:
        """The best of all that wait, whether promotable or not: the highest rung's best."""
        for rung in reversed(range(len(self._came))):
            place = self._first_waiting(rung, len(self._came[rung]))
            if place is not None:
                return place
        return None

    def _first_waiting(self, rung: int, among: int) -> Place | None:
        """The best that waits at a rung, if it is one of so many best there."""
        came, waiting = self._came[rung], self._waiting[rung]
        if not waiting:
            return None
        place = bisect_left(came, waiting[0]) + 1
        if place > among:
            return None
        epoch = self.grace * self.reduction**rung
        return Place(waiting[0][1], epoch, rung, place, len(came))
