"""What the command line asks for, as plain frozen values that the run-time flow takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

DataChoice = Literal["auto", "demo", "cifar10", "openood"]
DATA_CHOICES: tuple[DataChoice, ...] = ("auto", "demo", "cifar10", "openood")
TRACKERS = ("mlflow", "wandb")


SET = "--set"


@dataclass(frozen=True)
class Override:
    """One key of a space set from the command line.

    Attributes:
        key: dotted key, such as ``tune.num_trials``.
        value: plain data.
        option: the option that set it, for messages.
    """

    key: str
    value: Any
    option: str = SET


@dataclass(frozen=True)
class RunOptions:
    """A new study. None means: as the space says.

    Attributes:
        space: name of a shipped space, or path of a YAML file.
        out: folder of the run; must not hold a study yet.
        data: where the images come from ("auto" tells and falls back to the demo).
        data_root: folder with images by role, or None.
        overrides: ``SECTION.KEY=VALUE`` texts and keys that options set, laid over the space in
            order.
        warm_start: folder of another study whose finished trials the searcher is told.
        smoke: shrink everything so that the study ends within a minute on two cores.
        dry_run: tell the resolved spec and the forecast, train nothing, write nothing.
        address: a running Ray cluster; None starts one on this machine.
        quiet: tell warnings and errors only.
        command: the command as it was typed, for the manifest and the ledger.
        plugins: files of the user's own that join the project's.
        trackers: which of `TRACKERS` follow the trials.
    """

    space: str
    out: Path
    data: DataChoice = "auto"
    data_root: Path | None = None
    overrides: tuple[str | Override, ...] = ()
    warm_start: Path | None = None
    smoke: bool = False
    dry_run: bool = False
    address: str | None = None
    quiet: bool = False
    command: str = ""
    plugins: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResumeOptions:
    """A study that is there already: gone on with, or extended.

    Only what does not change the study's numbers can be chosen anew; the rest is on its record.

    Attributes:
        directory: folder of the run.
        more_trials: trials added to those that the record names; 0 resumes.
        time_budget_s: no new epoch starts after so many seconds.
        max_concurrent: trials at a time.
        address: a running Ray cluster; None starts one on this machine.
        quiet: tell warnings and errors only.
        command: the command as it was typed, for the ledger.
        trackers: which of `TRACKERS` follow the trials, those that ended before too.
    """

    directory: Path
    more_trials: int = 0
    time_budget_s: float | None = None
    max_concurrent: int | None = None
    address: str | None = None
    quiet: bool = False
    command: str = ""
    trackers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReplayOptions:
    """One recorded trial, to be repeated and compared.

    Attributes:
        directory: folder of the run; nothing in it is changed.
        trial: number of the trial.
        quiet: tell warnings and errors only.
        command: the command as it was typed.
    """

    directory: Path
    trial: int
    quiet: bool = False
    command: str = ""


def of_session(options: RunOptions | ResumeOptions) -> list[str]:
    """The options that hold for one session alone, to be given again to the next."""
    cluster = ["--address", options.address] if options.address else []
    return cluster + (["--log", ",".join(options.trackers)] if options.trackers else [])
