"""A command line of a study, read: its options, or every fault of them at once.

Nothing heavy is imported before the options are known to be good.
"""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from study import __version__
from study.errors import NO_VALUE, BadInput, Fault
from study.invoked import run_command
from study.options import (
    DATA_CHOICES,
    TRACKERS,
    Override,
    ReplayOptions,
    ResumeOptions,
    RunOptions,
)
from study.terminal import typed_path

Options = RunOptions | ResumeOptions | ReplayOptions

_EPILOG = """\
examples:
  python run_study.py --space energy --smoke              all of it in a minute, to see it run
  python run_study.py --space energy --data-root DATA     on your own images, by role
  python run_study.py --space energy --set train.epochs=5 tune.searcher=random
  python run_study.py --resume runs/energy                go on after an interrupt or a crash
  python run_study.py --extend runs/energy --num-trials +10
  python run_study.py --replay runs/energy 00003          one trial again; do the numbers agree?

what it keeps for the next study: python -m study.cache

exit codes: 0 done, 1 the study failed, 2 bad input, 130 interrupted
"""
# What an existing study does not let one choose anew: it would change its numbers.
_ON_RECORD = (
    "data", "data_root", "out", "seed", "warm_start", "plugin", "set", "smoke", "dry_run",
    "cpus_per_trial", "gpus_per_trial",
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are the project's own."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(Fault("command line", "", message, "All options: --help."))


def _parser() -> _Parser:
    # Everything is taken as text and may repeat: faults are gathered later, not one at a time.
    parser = _Parser(
        prog=run_command(),
        description="Search an OOD detector's hyperparameters, select on validation data, report.",
        epilog=_EPILOG.replace("python run_study.py", run_command()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ood-study {__version__}")
    _add_what(parser.add_argument_group("what to run (one of these)"))
    _add_study(parser.add_argument_group("the study"))
    _add_machine(parser.add_argument_group("the machine"))
    return parser


def _option(group: argparse._ArgumentGroup, name: str, metavar: str, told: str) -> None:
    group.add_argument(name, metavar=metavar, help=told, action="append", default=[])


def _add_what(group: argparse._ArgumentGroup) -> None:
    _option(group, "--space", "NAME|FILE", "a space of search_spaces/, or your own YAML file")
    _option(group, "--resume", "DIR", "go on where the study in DIR stopped")
    _option(group, "--extend", "DIR", "more trials for a study (with --num-trials +N)")
    group.add_argument(
        "--replay",
        metavar=("DIR", "TRIAL"),
        nargs=2,
        action="extend",
        default=[],
        help="repeat a trial from its record and compare every number; exit 1 where one differs",
    )


def _add_study(group: argparse._ArgumentGroup) -> None:
    _option(group, "--data", "|".join(DATA_CHOICES), "default: auto, which tells what it takes")
    _option(group, "--data-root", "DIR", "folder with images by role")
    _option(group, "--out", "DIR", "default: runs/<space>")
    _option(group, "--num-trials", "N", "trials of the study; +N with --extend")
    _option(group, "--time-budget", "S", "seconds for the search")
    _option(group, "--seed", "N", "seed of the study")
    _option(group, "--plugin", "FILE.py", "a loss, backbone, detector ... of your own; may repeat")
    _option(group, "--warm-start", "DIR", "tell the searcher another study's finished trials")
    group.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="extend",
        nargs="+",
        default=[],
        help="override a value of the space; may be repeated",
    )
    group.add_argument("--smoke", action="store_true", help="shrink it to under a minute")
    group.add_argument(
        "--dry-run", action="store_true", help="print the resolved spec and the forecast, stop"
    )


def _add_machine(group: argparse._ArgumentGroup) -> None:
    _option(group, "--max-concurrent", "N", "trials at a time")
    _option(group, "--cpus-per-trial", "X", "CPUs of one trial, also its threads")
    _option(group, "--gpus-per-trial", "X|auto", "GPUs of one trial, such as 0.25")
    _option(group, "--address", "RAY", "a running Ray cluster, or auto")
    told = "tell a tracker too; several by commas, or again"
    _option(group, "--log", "|".join(TRACKERS), told)
    group.add_argument("--quiet", action="store_true", help="tell warnings and errors only")


class _Values:
    """Reads the texts of one command line and gathers what is wrong with them."""

    def __init__(self, namespace: argparse.Namespace) -> None:
        self._texts: dict[str, list[str] | bool] = vars(namespace)
        self.faults: list[Fault] = []

    def fault(self, name: str, rule: str, way_out: str = "", value: object = None) -> None:
        """Note a fault of the option ``name`` (as in the namespace: with underscores)."""
        option = f"--{name.replace('_', '-')}"
        shown = NO_VALUE if value is None else value
        self.faults.append(Fault(option, "", rule, way_out, shown))

    def given(self, name: str) -> bool:
        """Whether the option was on the command line at all."""
        return bool(self._texts[name])

    def flag(self, name: str) -> bool:
        """The value of an option that takes none."""
        return self._texts[name] is True

    def texts(self, name: str) -> tuple[str, ...]:
        """All values of a repeatable option."""
        texts = self._texts[name]
        return tuple(texts) if isinstance(texts, list) else ()

    def text(self, name: str) -> str | None:
        """The one value of an option; given twice or empty it is a fault."""
        texts = self.texts(name)
        if len(texts) > 1:
            self.fault(name, f"given {len(texts)} times ({', '.join(texts)})", "Give it once.")
        elif texts and not texts[0].strip():
            self.fault(name, "is empty", "Give a value, or leave the option out.", texts[0])
            return None
        return texts[0] if texts else None

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """One of ``choices``."""
        text = self.text(name)
        return text if text is None else self._one_of(name, text, choices)

    def several(self, name: str, choices: Sequence[str]) -> tuple[str, ...]:
        """Some of ``choices``, by commas or by giving the option again, each once."""
        texts = [one.strip() for text in self.texts(name) for one in text.split(",")]
        found = [self._one_of(name, text, choices) for text in texts]
        return tuple(dict.fromkeys(one for one in found if one is not None))

    def _one_of(self, name: str, text: str, choices: Sequence[str]) -> str | None:
        if text in choices:
            return text
        near = difflib.get_close_matches(text, choices, n=1)
        hint = f"Did you mean {near[0]}?" if near else ""
        self.fault(name, f"must be one of {', '.join(choices)}", hint, text)
        return None

    def whole(self, name: str, at_least: int) -> int | None:
        """A whole number, ``at_least`` so large."""
        text = self.text(name)
        if text is None:
            return None
        if re.fullmatch(r"[0-9]{1,18}", text) and int(text) >= at_least:
            return int(text)
        self.fault(name, f"must be a whole number of at least {at_least}", value=text)
        return None

    def positive(self, name: str, unit: str) -> float | None:
        """A finite number above 0."""
        text = self.text(name)
        if text is None:
            return None
        number = _number(text)
        if number is not None and number > 0:
            return number
        self.fault(name, f"must be a number above 0 ({unit})", value=text)
        return None

    def gpus(self, name: str) -> float | str | None:
        """A share of one GPU, a whole number of them, or "auto"."""
        text = self.text(name)
        if text is None or text == "auto":
            return text
        number = _number(text)
        # Ray's own rule: a device can be shared, several cannot be shared in part.
        if number is not None and (0 <= number <= 1 or (number > 1 and number.is_integer())):
            return number
        rule = "must be auto, a share of one GPU (0 to 1), or a whole number of GPUs"
        self.fault(name, rule, value=text)
        return None

    def folder(self, name: str) -> Path | None:
        """A folder that exists."""
        text = self.text(name)
        if text is None:
            return None
        path = typed_path(text)
        if not path.is_dir():
            rule = "is not a folder" if path.exists() else "does not exist"
            self.fault(name, rule, "Name an existing folder.", text)
        return path


def _number(text: str) -> float | None:
    # float() alone would take "nan", "inf" and "1_000".
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None  # very many digits


def parse(arguments: Sequence[str]) -> Options:
    """The options of a command line.

    Raises:
        BadInput: with every fault of every option; unknown options are faults.
        SystemExit: after ``--help``.
    """
    parser = _parser()
    namespace, unknown = parser.parse_known_args(list(arguments))
    values = _Values(namespace)
    known = [option for action in parser._actions for option in action.option_strings]
    values.faults.extend(_unknown(text, known) for text in unknown)
    ways = [way for way in ("space", "resume", "extend", "replay") if values.given(way)]
    if len(ways) != 1:
        rule = "one of --space, --resume, --extend and --replay is needed"
        if ways:
            rule = f"{' and '.join(f'--{way}' for way in ways)} exclude each other"
        way_out = "A first study: --space energy. All options: --help."
        values.faults.append(Fault("command line", "", rule, way_out))
    command = run_command(*arguments)
    options: Options
    if ways[:1] == ["replay"]:
        options = _replay(values, command)
    else:
        resuming = ways[:1] in (["resume"], ["extend"])
        options = _resume(values, command) if resuming else _run(values, command)
    if values.faults:
        raise BadInput(values.faults)
    return options


def _unknown(text: str, known: Sequence[str]) -> Fault:
    near = difflib.get_close_matches(text.split("=")[0], known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "All options: --help."
    kind = "option" if text.startswith("-") else "argument"
    return Fault("command line", "", f"unknown {kind}", hint, text)


def _run(values: _Values, command: str) -> RunOptions:
    space = values.text("space") or ""
    out = values.text("out")
    name = f"{Path(space).stem}-smoke" if values.flag("smoke") else Path(space).stem
    path = Path("runs") / name if out is None else typed_path(out)
    if path.exists() and not path.is_dir():
        values.fault("out", "is a file, not a folder", "Choose another --out.", str(path))
    if out is not None and re.match(r"[a-z0-9+]{2,}:/", out):  # it would become a folder "s3:"
        values.fault("out", "is an address, not a folder", "Mount it, and name its folder.", out)
    return RunOptions(
        space=space,
        out=path,
        data=values.choice("data", DATA_CHOICES) or "auto",  # type: ignore[arg-type]
        data_root=values.folder("data_root"),
        overrides=_overrides(values),
        warm_start=values.folder("warm_start"),
        smoke=values.flag("smoke"),
        dry_run=values.flag("dry_run"),
        address=values.text("address"),
        quiet=values.flag("quiet"),
        command=command,
        plugins=values.texts("plugin"),
        trackers=values.several("log", TRACKERS),
    )


def _overrides(values: _Values) -> tuple[str | Override, ...]:
    """What ``--set`` says, then the options that stand for a key of ``tune``."""
    tune = {
        "--num-trials": ("num_trials", values.whole("num_trials", at_least=1)),
        "--time-budget": ("time_budget_s", values.positive("time_budget", "seconds")),
        "--seed": ("seed", values.whole("seed", at_least=0)),
        "--max-concurrent": ("max_concurrent", values.whole("max_concurrent", at_least=1)),
        "--cpus-per-trial": ("cpus_per_trial", values.positive("cpus_per_trial", "CPUs")),
        "--gpus-per-trial": ("gpus_per_trial", values.gpus("gpus_per_trial")),
    }
    given = ((option, key, value) for option, (key, value) in tune.items() if value is not None)
    set_by_options = (Override(f"tune.{key}", value, option) for option, key, value in given)
    return (*values.texts("set"), *set_by_options)


def _resume(values: _Values, command: str) -> ResumeOptions:
    way = "extend" if values.given("extend") else "resume"
    for name in _ON_RECORD:
        if values.given(name):
            values.fault(
                name, f"cannot go with --{way}: the study's record says it", "Leave it out."
            )
    return ResumeOptions(
        directory=values.folder(way) or Path(),
        more_trials=_more_trials(values, way),
        time_budget_s=values.positive("time_budget", "seconds"),
        max_concurrent=values.whole("max_concurrent", at_least=1),
        address=values.text("address"),
        quiet=values.flag("quiet"),
        command=command,
        trackers=values.several("log", TRACKERS),
    )


def _replay(values: _Values, command: str) -> ReplayOptions:
    for name in (*_ON_RECORD, "num_trials", "time_budget", "max_concurrent", "address", "log"):
        if values.given(name):
            values.fault(name, "cannot go with --replay: the record says it", "Leave it out.")
    texts = values.texts("replay")
    directory, trial = typed_path(texts[0]), texts[1]
    if len(texts) > 2:
        values.fault("replay", f"given {len(texts) // 2} times", "Replay one trial at a time.")
    if not directory.is_dir():
        rule = "is not a folder" if directory.exists() else "does not exist"
        values.fault("replay", rule, "Name the folder of a run, then the trial.", texts[0])
    if not re.fullmatch(r"[0-9]{1,9}", trial):
        rule = "a trial is named by its number"
        values.fault("replay", rule, "Write 3 or 00003; `analysis trials` lists them.", trial)
        trial = "0"
    return ReplayOptions(directory, int(trial), quiet=values.flag("quiet"), command=command)


def _more_trials(values: _Values, way: str) -> int:
    text = values.text("num_trials")
    if way == "resume":
        if text is not None:
            rule = "cannot go with --resume, which ends where the study would have ended"
            values.fault("num_trials", rule, "Use --extend DIR --num-trials +N.", text)
        return 0
    if text is not None and re.fullmatch(r"\+[0-9]{1,9}", text) and int(text) > 0:
        return int(text)
    rule = "must say how many trials --extend adds, as +N with N of at least 1"
    values.fault("num_trials", rule, "For example --num-trials +10.", text)
    return 0
