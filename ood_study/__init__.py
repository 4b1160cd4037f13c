"""The study system by one name that nobody else has: ``from ood_study import load, run, score``.

``study`` and ``analysis`` are names that a script beside one's own may have too, and Python looks
there first. This package looks for both beside itself, whatever lies in the working directory.

    import ood_study

    ood_study.run("energy", "--smoke", "--out", "runs/try")   # as on the command line; exit code
    ood_study.load("runs/try").trials                         # analysis.load
    ood_study.score("model", "pictures")                      # of an exported model; exit code
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ood_study._home import NameTaken, claim_names

claim_names()

from study import __version__  # noqa: E402 - the names must be claimed first

__all__ = ["NameTaken", "__version__", "load", "load_winner", "run", "score"]


def run(space: str | Path, *arguments: str | Path) -> int:
    """Run a study, as ``ood-study run --space SPACE ARGUMENTS`` does; the exit code.

    Args:
        space: a shipped space's name, or a YAML file.
        arguments: further options, such as ``"--out", "runs/mine"``.
    """
    from study.cli import main

    return main(["--space", str(space), *map(str, arguments)])


def load(directory: str | Path, *more: str | Path) -> Any:
    """A run's records, or several runs' together; see ``analysis.load``."""
    import analysis

    return analysis.load(directory, *more)


def load_winner(folder: str | Path) -> Any:
    """An exported model; see ``study.winner.load_winner``."""
    from study.plugins import activate_for

    activate_for([folder])
    from study import winner

    return winner.load_winner(folder)


def score(model: str | Path, folder: str | Path, *arguments: str) -> int:
    """Print a CSV of scored pictures, as ``ood-study score MODEL FOLDER`` does; the exit code."""
    from study.score import main

    return main([str(model), str(folder), *arguments])
