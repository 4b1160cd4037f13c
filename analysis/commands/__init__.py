"""The commands of ``python -m analysis``: a module each, imported only when it is asked for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from study.errors import BadInput, Fault, StudyFailed

if TYPE_CHECKING:
    import pandas as pd

    from analysis.tables import Records

COMMANDS = {
    "list": (
        "The runs under a folder: space, data, state, choice, FPR95, accuracy, tested or not."
    ),
    "compare": (
        "The choices of several runs, and their differences on the images that they share."
    ),
    "trials": (
        "All trials, the confirming ones too: status, metrics of the checkpoint, parameters."
    ),
    "margins": (
        "The base's measured energies, and the margins of every trial beside their results."
    ),
    "select": (
        "The trial that the stated rule chooses, with its interval; frozen in selection.json."
    ),
    "ablation": (
        "The effect of every arm of an ablation: paired differences over the shared seeds."
    ),
    "power": (
        "How many seeds an ablation needs to see a difference, from a spread that was measured."
    ),
    "importance": (
        "Which searched parameters mattered, by three methods, beside what noise would give."
    ),
    "report": (
        "Write report.html, one file that needs no network; print its numbers or LaTeX tables."
    ),
    "test": (
        "The final test, once: the frozen winner and its base on sets that were never touched."
    ),
    "export": (
        "The final test as CSV files in OpenOOD's columns, one a model and score; with --model "
        "the frozen winner itself."
    ),
}
"""Name, also of the module here whose ``run`` answers -> what it answers."""


@dataclass(frozen=True)
class Result:
    """What a command gives.

    Attributes:
        content: for ``--json``.
        tables: title -> table of texts, for readers.
        lines: sentences after the tables.
    """

    content: Any
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


OF_RUNS = ("list", "compare")
"""Commands that read runs by themselves: several, or such as may be damaged."""


def answer(command: str, study: Records, options: Namespace) -> Result:
    """What a command says of a study."""
    run: Callable[[Records, Namespace], Result] = import_module(f"{__name__}.{command}").run
    return run(study, options)


def answer_all(command: str, studies: Sequence[Records], options: Namespace) -> Result:
    """What a command says of a study under several hold-outs: together where it can, else of each.

    Raises:
        BadInput: with the faults of all; what the others had to do is done by then.
        StudyFailed: likewise, where nothing may be chosen in one.
    """
    module = import_module(f"{__name__}.{command}")
    if hasattr(module, "run_all"):
        together: Result = module.run_all(studies, options)
        return together
    content: dict[str, Any] = {}
    tables: dict[str, pd.DataFrame] = {}
    lines: list[str] = []
    faults: list[Fault] = []
    failed: list[str] = []
    for study in studies:
        try:
            result = answer(command, study, options)
        except BadInput as error:
            faults += error.faults
            continue
        except StudyFailed as error:
            failed.append(f"{study.name}: {error}")
            continue
        content[study.name] = result.content
        for title, table in result.tables.items():
            tables[title if title.startswith(study.name) else f"{study.name}: {title}"] = table
        lines += [f"{study.name}: {line}" for line in result.lines]
    if faults:
        raise BadInput(faults)
    if failed:
        raise StudyFailed("\n".join(failed))
    return Result(content, tables, lines)


def answer_of_runs(command: str, options: Namespace) -> Result:
    """What one of ``OF_RUNS`` says."""
    run: Callable[[Namespace], Result] = import_module(f"{__name__}.{command}").run
    return run(options)
