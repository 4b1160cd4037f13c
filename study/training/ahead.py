"""What an epoch needs, made while the one before it trains."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Makes things by the number of their epoch, the next one in a thread beside.

    What is made must be a function of the number alone: then a thread changes nothing of it.
    """

    def __init__(self, make: Callable[[int], T], last: int) -> None:
        """Take what makes it.

        Args:
            make: the epoch's number -> what it needs; its fault is raised when that is asked for.
            last: number of the last epoch that is made ahead.
        """
        self._make, self._last = make, last
        self._next: tuple[int, Future[T]] | None = None

    def __call__(self, epoch: int) -> T:
        """What ``epoch`` needs; the next epoch's is begun."""
        ready = self._next[1] if self._next and self._next[0] == epoch else None
        made = ready.result() if ready else self._make(epoch)
        if epoch < self._last:
            beside = ThreadPoolExecutor(1)
            self._next = epoch + 1, beside.submit(self._make, epoch + 1)
            beside.shutdown(wait=False)  # the thread ends with what it has to do
        return made
