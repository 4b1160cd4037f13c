"""Analysis of a study's records: tables, selection, plots, report and the final test's numbers.

    import analysis

    study = analysis.load("runs/energy")
    study.trials, study.epochs          # tidy DataFrames
    study.select()                      # the stated rule, with an interval
    study.importance()                  # which parameters mattered
    study.plots.trade()                 # matplotlib figures

    analysis.load("runs/energy", "runs/nordf").trials    # several, with a column "study"

``analysis/notebooks`` shows how to read them.

Reads what a study left on disk and imports neither torch nor Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from study.errors import BadInput, StudyFailed
from study.plugins import activate_for
from study.records.hold_outs import hold_out_folders

if TYPE_CHECKING:
    from analysis.joined import Joined
    from analysis.study import Study

__all__ = ["BadInput", "Joined", "Study", "StudyFailed", "load"]


def __getattr__(name: str) -> Any:
    """The classes behind ``load``, imported only where somebody asks: they need pandas."""
    if name not in ("Joined", "Study"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{name.lower()}"), name)


@overload
def load(directory: str | Path, /) -> Study: ...
@overload
def load(directory: str | Path, second: str | Path, /, *more: str | Path) -> Joined: ...
def load(directory: str | Path, /, *more: str | Path) -> Study | Joined:
    """Read the records of one study, or of several.

    Args:
        directory: the run's folder, such as ``runs/energy``; one of several hold-outs stands for
            the studies of all of them.
        more: folders of other studies.

    Returns:
        The study with ``.trials`` and ``.epochs`` (DataFrames), ``.base``, ``.select()``,
        ``.importance()``, ``.pareto()`` and plots. Of several, an object with ``.studies`` and
        with the joined ``.trials`` and ``.epochs``, whose first column is ``study``; its
        ``.faults`` say, among others, which studies were validated on different data.

    Raises:
        BadInput: naming the folder or the file that is missing or cannot be read.
    """
    paths = [Path(one) for one in (directory, *more)]
    activate_for(paths)
    study: type[Study] = __getattr__("Study")
    paths = [each for path in paths for each in hold_out_folders(path) or [path]]
    studies = [study.read(path) for path in paths]
    joined: Callable[[list[Study]], Joined] = import_module("analysis.joined").join
    return joined(studies) if len(studies) > 1 else studies[0]
