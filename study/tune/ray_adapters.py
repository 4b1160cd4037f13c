"""Ray Tune's searcher and trial scheduler, both only a door to the session."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from typing_extensions import override

from study.errors import StudyFailed
from study.records.failures import MEMORY, cause_of
from study.tune.record import NODE_LOST
from study.tune.session import Session

_COLOURS = re.compile(r"\x1b\[\d*m")
_KILLED_FOR_MEMORY = re.compile(r"OutOfMemoryError|running low on memory")  # Ray's monitor
# Ray's words for the deaths of its nodes and of its own processes, and for those it cannot reach.
_NODE_DIED = re.compile(
    r"its node has died|node has crashed|node was terminated|owner has died"
    r"|is temporarily unavailable|is not schedulable"
)
_FINISHED: dict[str, Any] = Searcher.FINISHED  # type: ignore[assignment]


class LedgerSearcher(Searcher):
    """Hands out the session's assignments.

    Exceptions here end up in the session: Ray swallows some of them and dies of others.
    """

    def __init__(self, session: Session) -> None:
        """Take the session; no metric is declared, since Ray would insist on it being told."""
        super().__init__(metric=None, mode=None)
        self._session: Session | None = session

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """An assignment, None to wait, or FINISHED."""
        session = self._session
        if session is None:
            return _FINISHED
        try:
            if session.exhausted:
                return _FINISHED
            assignment = session.next_assignment()
        except Exception as error:  # noqa: BLE001 - kept, and raised again after the wind-down
            session.error = session.error or error
            return None
        return None if assignment is None else {"assignment": asdict(assignment)}

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the scheduler's door tells the session."""

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        """Refused: nothing of Ray's is read back."""
        raise StudyFailed("a study resumes from its ledger, never from Ray's state")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing worth pickling."""
        return {"_session": None}


class LedgerScheduler(FIFOScheduler):
    """Passes what trials tell to the session and its decision back."""

    def __init__(self, session: Session) -> None:
        """Take the session."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._session: Session | None = session
        # By Ray's own ids: a promoted trial is another one to Ray, and what Ray tells late of the
        # one before must not take it for gone.
        self._stopped: set[str] = set()

    @override
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP where the session says so."""
        session = self._session
        if session is None or "message" not in result:
            return str(TrialScheduler.CONTINUE)
        number = _number(trial)
        try:
            stop = session.told(number, result["message"])
        except Exception as error:  # noqa: BLE001 - kept, and raised again after the wind-down
            session.error = session.error or error
            stop = True
        if stop:
            self._stopped.add(trial.trial_id)
            session.left(number)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    @override
    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A function that returned by itself has told all it had to tell."""
        if self._session is not None and trial.trial_id not in self._stopped:
            self._session.left(_number(trial))

    @override
    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker that died is resumed; an exception that got out of the function is a bug."""
        session = self._session
        if session is None or trial.trial_id in self._stopped:
            return
        number, text = _number(trial), _error_text(trial)
        raised = _raised(text)
        told = {"failed": "", "cause": MEMORY, "traceback": ""}
        if _KILLED_FOR_MEMORY.search(text):
            told["failed"] = "out of memory: its machine ran low, and Ray ended the worker"
        elif raised:
            last = raised.splitlines()[-1]
            told = {"failed": last, "cause": cause_of(RuntimeError(last)), "traceback": raised}
        else:
            node = _NODE_DIED.search(text)
            session.left(number, died=NODE_LOST if node else "its process ended unexpectedly")
            return
        session.told(number, json.dumps(told))
        session.left(number)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing worth pickling."""
        return {**self.__dict__, "_session": None}


def _number(trial: Any) -> int:
    return int(trial.config["assignment"]["number"])


def _error_text(trial: Any) -> str:
    """Ray's text (not its pickle) of what ended a trial in this session."""
    try:
        return Path(trial.error_file).read_text()
    except (OSError, TypeError):
        return ""


def _raised(text: str) -> str:
    """The traceback of the exception that ended a trial; empty where its process died.

    Ray tells both alike; its text says which it was.
    """
    of_task, _, rest = text.partition("ray::")
    return "" if not rest or "actor died" in of_task else _COLOURS.sub("", rest).rstrip()
