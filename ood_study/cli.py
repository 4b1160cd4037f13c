"""The command ``ood-study``: run, analyse, score, export and the rest, a name each.

    ood-study run --space energy            python run_study.py --space energy
    ood-study analyse trials runs/energy    python -m analysis trials runs/energy
    ood-study score MODEL FOLDER            python -m study.score MODEL FOLDER
    ood-study saliency RUN TRIAL --out DIR  python -m study.saliency RUN TRIAL --out DIR

and likewise the other modules that are commands.

Exit codes are those of what is run: 0 done, 1 failed, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

COMMANDS = {
    "run": ("study.cli", "run, resume, extend or replay a study"),
    "analyse": ("analysis.__main__", "tables, selection, report, final test, export"),
    "score": ("study.score", "score pictures with an exported model"),
    "saliency": ("study.saliency", "saliency maps of a trial"),
    "embedding": ("study.embedding", "images as a trial's network sees them, in a plane"),
    "cache": ("study.cache", "what studies keep for the next one: list, clear"),
}
"""Name -> the module whose ``main`` answers, and what it is for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        from ood_study import __version__
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if argv is None:
        from study import ending

        ending.listen()  # before the imports take their time
    command, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        told = "\n".join(f"  {name:<10}{what}" for name, (_, what) in COMMANDS.items())
        return _said(
            f"usage: ood-study COMMAND ... | --version\n\n{told}\n\nood-study COMMAND --help "
            "tells the options of each; exit codes: 0 done, 1 failed, 2 bad input, 130 "
            "interrupted\n"
        )
    if command == "--version":
        return _said(f"ood-study {__version__}\n")
    if command not in COMMANDS:
        known = ", ".join(COMMANDS)
        sys.stderr.write(f"command line: '{command}': no such command. There are {known}.\n")
        return 2
    answer: Callable[[Sequence[str] | None], int] = import_module(COMMANDS[command][0]).main
    if argv is not None:
        return answer(arguments)
    sys.argv[1:] = arguments  # so that whoever reads it sees a command line of its own
    return answer(None)


def _said(text: str) -> int:
    from study.errors import exit_code
    from study.stdout import as_it_is_read

    def say() -> None:
        with as_it_is_read():
            sys.stdout.write(text)

    return exit_code(say)
