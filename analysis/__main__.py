"""The command line: ``python -m analysis COMMAND DIR [--json]``; ``--help`` names the commands.

Results go to stdout, all else to stderr. Exit 0 done, 1 no result (nothing to choose, a failed
test), 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.commands import COMMANDS, OF_RUNS, Result, answer, answer_all, answer_of_runs
from analysis.numbers import plain
from analysis.report.terminal import table_text
from analysis.tables import Records
from study.counted import wrapped
from study.errors import NO_ROOM, BadInput, Fault, exit_code
from study.invoked import analyse_command
from study.plugins import with_plugins_of
from study.records.hold_outs import hold_out_folders
from study.stdout import as_it_is_read
from study.terminal import Parser, console, visible


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(argv)

    def run() -> None:
        try:
            result = _answered(options)
        except OSError as error:  # a report where nothing may be written, say
            if error.errno in NO_ROOM:
                raise
            way_out = "Check its permissions, or copy the run to where it can be written."
            place = str(error.filename or options.directory)
            raise BadInput(Fault(place, "", error.strerror or str(error), way_out)) from error
        with as_it_is_read():
            _print(result, as_json=options.json)

    given = options.directory
    return with_plugins_of(
        given if isinstance(given, list) else [given],
        "analysis",
        argv,
        lambda: exit_code(run, bad="error: {}"),
    )


def _answered(options: argparse.Namespace) -> Result:
    """What the command says of the study; of one under several hold-outs, of each."""
    if options.command in OF_RUNS:
        return answer_of_runs(options.command, options)
    folders = hold_out_folders(options.directory)
    studies = [Records.read(folder) for folder in folders or [options.directory]]
    for fault in [fault for study in studies for fault in study.faults]:
        print(visible(f"warning: {fault}"), file=sys.stderr)
    if not folders:
        return answer(options.command, studies[0], options)
    return answer_all(options.command, studies, options)


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError("give points, a number above 0 and below 100")
    return value


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("give a reason; the ledger keeps it")
    return text.strip()


_FOLDER: dict[str, Any] = {"metavar": "DIR", "type": Path, "help": "the run's folder"}
_FOLDERS: dict[str, dict[str, Any]] = {
    "list": {"metavar": "DIR", "type": Path, "nargs": "?", "default": Path("runs"),
             "help": "the folder that holds runs; runs if not given"},
    "compare": {"metavar": "RUN", "type": Path, "nargs": "+",
                "help": "runs' folders, two or more"},
}  # fmt: skip
_FLAG = {"action": "store_true"}
_OPTIONS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("test", "--again", "the reason to open the test again", {"metavar": "WHY", "type": _reason}),
    ("select", "--now", "the reason to freeze a choice before the search is over",
     {"metavar": "WHY", "type": _reason}),
    ("select", "--alternatives",
     "other ways to choose, each judged on halves of validation held back", _FLAG),
    ("report", "--latex", "print the main results as LaTeX tables", _FLAG),
    ("export", "--model", "write the frozen winner, with a card, to be used without the run",
     {"metavar": "OUT", "type": Path}),
    ("compare", "--out", "also write a report, one HTML file", {"metavar": "FILE", "type": Path}),
    ("power", "--points", "the difference to see, in points; 1, 2 and 5 if not given",
     {"metavar": "D", "type": _points}),
    ("power", "--metric", "such as val/auroc; the study's own if not given",
     {"metavar": "METRIC"}),
    ("importance", "--metric", "to explain; val/objective if not given", {"metavar": "METRIC"}),
    ("ablation", "--metric", "such as val/auroc; may repeat",
     {"metavar": "METRIC", "action": "append"}),
)  # fmt: skip
"""Command, an option of it beside --json, what that does, and how argparse takes it."""


def _parser() -> Parser:
    parser = Parser(
        prog=analyse_command(),
        description="Tables, selection, report and the one-shot final test of a study.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, told in COMMANDS.items():
        command = commands.add_parser(name, help=told, description=told)
        command.add_argument("directory", **_FOLDERS.get(name, _FOLDER))
        command.add_argument("--json", action="store_true", help="print JSON in place of tables")
        for owner, option, what, settings in _OPTIONS:
            if owner == name:
                command.add_argument(option, help=what, **settings)
    return parser


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(plain(result.content), indent=2, allow_nan=False))
        return
    # A pipe has no width: whoever reads it finds a row on a line.
    screen = console(highlight=False, no_color=not sys.stdout.isatty())
    width = screen.width if sys.stdout.isatty() else None
    for title, frame in result.tables.items():
        screen.print(table_text(title, frame, width), soft_wrap=True)
    for line in result.lines:
        parts = wrapped(line, width) if width else [line]
        screen.print("\n".join(parts), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
