"""How the program was started, so that what it says to type next is typed the same way."""

from __future__ import annotations

import sys
from pathlib import Path

from study.terminal import pasted

_RUN = {True: ["ood-study", "run"], False: ["python", "run_study.py"]}
_ANALYSE = {True: ["ood-study", "analyse"], False: ["python", "-m", "analysis"]}


def run_command(*arguments: object) -> str:
    """The command line that runs a study with these arguments, quoted for a shell."""
    return pasted([*_RUN[_installed()], *map(str, arguments)])


def analyse_command(*arguments: object) -> str:
    """The same of the analysis."""
    return pasted([*_ANALYSE[_installed()], *map(str, arguments)])


def _installed() -> bool:
    """Whether it was the installed command that started this process."""
    return Path(sys.argv[0]).stem == "ood-study"
