"""What the files of ``study/searchers/methods`` declare, read without importing Optuna.

A file there has a literal ``SEARCHER`` and a function ``sampler(asked)`` that builds the Optuna
sampler of one trial; its name is the searcher's. Every draw must be a function of what is `Asked`
and of the study's trials, so that a study rebuilt from its ledger goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from study.declared import Parameter
from study.errors import Fault
from study.literals import NAME, Declaration, read_literals
from study.searchers import methods

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SHIPPED = ("tpe", "random", "grid", "gp", "cmaes", "nsga2")
"""Searchers in this order; other files come after."""


class Searcher(Declaration):
    """What a searcher's file declares; all keys but ``text`` may be left out.

    Attributes:
        text: what a sentence of methods calls it; ``{name}`` stands for a parameter's value.
        startup: until when it draws at random, where no history is known.
        title: what a message calls it; by default its name.
        learns: whether it learns from ended trials.
        models: which of them: "ended", be it by a trial scheduler, or "finished" alone. What a
            rung of ASHA stops is told as finished with what it has (`study.tune.decisions`).
        random_first: so many of them are drawn at random before it models any; a number, or the
            parameter that says it.
        conditional: whether it models parameters that not every trial has; else it draws them at
            random.
        choices: whether it models choices; else it draws them at random.
        several: whether it follows several objectives.
        points: whether its trials are the points of the space's grid, in order.
        least_history: trials of another study that it needs to start from any.
        stateful: whether it keeps what it knows in the attributes of Optuna's trials: it is asked
            in a replay too, so that they are made again.
        history_attrs: such attributes of another study's trials.
        parameters: of its own, keys of ``tune`` in a YAML.
        smoke: values of theirs that a smoke test takes.
    """

    noun: ClassVar[str] = "searcher"
    defines: ClassVar[Mapping[str, str]] = {"sampler": "def sampler(asked)"}

    text: str
    startup: str = ""
    title: str = ""
    learns: bool = True
    models: Literal["ended", "finished"] = "ended"
    random_first: int | str = 0
    conditional: bool = True
    choices: bool = True
    several: bool = True
    points: bool = False
    least_history: int = Field(default=1, ge=1)
    stateful: bool = False
    history_attrs: dict[str, Any] = Field(default={})
    parameters: dict[str, Parameter] = Field(default={})
    smoke: dict[str, Any] = Field(default={})


@dataclass(frozen=True)
class Asked:
    """What a sampler is built from, anew for each trial.

    Attributes:
        seed: of this trial, in [0, 2^32).
        parameters: the searcher's own, by name.
        conditional: searched parameters that not every trial has.
        num_objectives: that the searcher follows.
        stops_early: whether a trial scheduler may leave few trials finished.
        history: trials of another study that come before this study's.
        fitted_to: so many ended trials a searcher whose cost grows with them may go by; None for
            all of them.
    """

    seed: int
    parameters: Mapping[str, Any]
    conditional: frozenset[str]
    num_objectives: int
    stops_early: bool
    history: Sequence[FrozenTrial]
    fitted_to: int | None = None


def searchers() -> Mapping[str, Searcher]:
    """Every searcher by name.

    Raises:
        BadInput: naming each file and what is wrong with its declaration.
    """
    return _declared(tuple(methods.__path__))


def build_sampler(name: str, asked: Asked) -> BaseSampler:
    """The sampler of one trial."""
    built: BaseSampler = import_module(f"{methods.__name__}.{name}").sampler(asked)
    return built


@cache
def _declared(folders: tuple[str, ...]) -> Mapping[str, Searcher]:
    return read_literals(folders, "SEARCHER", Searcher, first=SHIPPED, together=_apart)


def _apart(declared: Mapping[str, Searcher]) -> Iterator[Fault]:
    """Parameters of one name in two files, and what names no parameter."""
    first: dict[str, Searcher] = {}
    for one in declared.values():
        for name in one.parameters:
            other = first.setdefault(name, one)
            if not NAME.fullmatch(name) or other is not one:
                rule = "a parameter is named by small letters, digits and _"
                rule = rule if other is one else f"{other.file} has a parameter of this name"
                yield one.fault(("parameters", name), rule, "Rename it.")
        for name in sorted(one.smoke.keys() - one.parameters.keys()):
            yield one.fault(("smoke", name), "there is no such parameter", "Take it out.")
        if isinstance(one.random_first, str) and one.random_first not in one.parameters:
            rule = "is a number of trials, or one of the searcher's parameters"
            yield one.fault(("random_first",), rule, "Declare it.", one.random_first)
        try:
            one.text.format(**dict.fromkeys(one.parameters, 0))
        except (KeyError, IndexError, ValueError) as error:
            rule = f"{{name}} in the text stands for one of the parameters ({error})"
            yield one.fault(("text",), rule, "Declare it, or take it out.", one.text)
