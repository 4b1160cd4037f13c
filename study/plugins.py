"""A user's own file as one of the project's: ``--plugin FILE.py``.

A plugin declares one kind of thing, as the project's own files do (docs/extend.md), and is
imported under the name that it would have among them. Which files are plugins is said by the
environment variable ``OOD_STUDY_PLUGINS``, so that every process of a study knows them before it
reads any declaration: the driver, Ray's workers, the final test.

A run keeps copies of its plugins and their hashes, and whatever is done with the run later uses
the copies.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from study.errors import BadInput, Fault, exit_code
from study.terminal import typed_path

VARIABLE: Final = "OOD_STUDY_PLUGINS"
FOLDER: Final = "plugins"  # of a run and of an exported model: the copies
METRIC: Final = "@metric"

KINDS: Final = {
    "DECLARED": ("loss against outliers", "study.recipes.outlier_losses"),
    "RECONSTRUCTION": ("reconstruction loss", "study.losses.reconstructions"),
    "DETECTOR": ("post-hoc detector", "study.detectors.methods"),
    "SEARCHER": ("searcher", "study.searchers.methods"),
    "BACKBONES": ("backbone", "study.models"),
    "FORMAT": ("file format of data sets", "study.data.formats"),
    METRIC: ("metric", "study.scoring"),
}
"""What a plugin declares -> what it is called, and the package that it joins."""

_STEM: Final = re.compile(r"[a-z][a-z0-9_]*")
_HOME: Final = Path(__file__).resolve().parents[1]
_READERS: Final = ("study.literals", "study.scoring.metrics")  # read them once, when imported
_COPY: Final = "Restore it from a copy."


@dataclass(frozen=True)
class Plugin:
    """A user's file.

    Attributes:
        file: where it is.
        declares: a key of `KINDS`.
        sha256: of its content.
    """

    file: Path
    declares: str
    sha256: str

    @property
    def module(self) -> str:
        """The name that it is imported under."""
        return f"{KINDS[self.declares][1]}.{self.file.stem}"

    def told(self) -> dict[str, str]:
        """What the manifest says of it."""
        kind, _ = KINDS[self.declares]
        return {"name": self.file.name, "kind": kind, "sha256": self.sha256}


def read_plugins(files: Iterable[str | Path], place: str = "--plugin") -> tuple[Plugin, ...]:
    """Look at plugins without running them.

    Args:
        files: their paths.
        place: who named them, for messages.

    Raises:
        BadInput: naming each file that is missing, is no Python, declares nothing or several
            kinds, or has the name of another file that is there.
    """
    found: list[Plugin] = []
    faults: list[Fault] = []
    for file in dict.fromkeys(typed_path(one).absolute() for one in files):
        one = _read(file, place)
        if isinstance(one, Plugin):
            taken = _taken(one, found)
            found += [] if taken else [one]
            one = taken or one
        if isinstance(one, Fault):
            faults.append(one)
    if faults:
        raise BadInput(faults)
    return tuple(found)


def _read(file: Path, place: str) -> Plugin | Fault:
    if file.suffix != ".py" or not _STEM.fullmatch(file.stem):
        rule = "a plugin is a file NAME.py, named by small letters, digits and _"
        return Fault(f"{place} {file}", "", rule, "Rename it.")
    if os.pathsep in str(file):
        rule = f"a plugin's path holds no {os.pathsep!r}"
        return Fault(f"{place} {file}", "", rule, "Put it elsewhere.")
    try:
        content = file.read_bytes()
    except OSError as error:
        rule = f"cannot be read: {error.strerror or error}"
        return Fault(f"{place} {file}", "", rule, "Name a file that is there.")
    try:
        tree = ast.parse(content, str(file))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        return Fault(str(file), "", f"this is no Python: {error}", "Mend it.", line=line)
    declared = sorted({kind for node in tree.body for kind in _declared(node)})
    if len(declared) != 1:
        kinds = ", ".join(f"{what} ({name})" for name, (what, _) in KINDS.items())
        told = f"declares several kinds at once: {', '.join(declared)}"
        rule = told if declared else "declares nothing that a study knows"
        way_out = "A file each." if declared else f"It may declare a {kinds}."
        return Fault(str(file), "", rule, way_out)
    return Plugin(file, declared[0], hashlib.sha256(content).hexdigest())


def _declared(node: ast.stmt) -> Iterable[str]:
    """The kinds that a statement at the top of a file declares."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    yield from (one.id for one in targets if isinstance(one, ast.Name) and one.id in KINDS)
    for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
        function = mark.func if isinstance(mark, ast.Call) else mark
        if ast.unparse(function).rpartition(".")[2] == METRIC[1:]:
            yield METRIC


def _taken(plugin: Plugin, others: Sequence[Plugin]) -> Fault | None:
    kind, package = KINDS[plugin.declares]
    shipped = _HOME.joinpath(*package.split("."), plugin.file.name)
    same = [one.file for one in others if one.file.name == plugin.file.name]
    if shipped.exists():
        same = [shipped]
    if not same:
        return None
    rule = f"{same[0]} has this name already"
    return Fault(str(plugin.file), "", rule, f"Rename the {kind}'s file.", plugin.file.name)


@cache
def _of_variable(value: str) -> tuple[Plugin, ...]:
    return read_plugins(filter(None, value.split(os.pathsep)), VARIABLE)


def active() -> tuple[Plugin, ...]:
    """The plugins of this process.

    Raises:
        BadInput: as `read_plugins`.
    """
    return _of_variable(os.environ.get(VARIABLE, ""))


def files_declaring(literal: str) -> list[Path]:
    """Files of the active plugins that declare it."""
    return [one.file for one in active() if one.declares == literal]


def file_of_module(module: str) -> Path | None:
    """The active plugin that is imported under a name; None where it is none."""
    return next((one.file for one in active() if one.module == module), None)


class _Finder(MetaPathFinder):
    """Finds plugins under their names in the project's packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        file = file_of_module(fullname)
        return None if file is None else importlib.util.spec_from_file_location(fullname, file)


def install_finder() -> None:
    """Let imports of this process find plugins; ``study`` does it where the variable is set."""
    if not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def import_plugins(*kinds: str) -> None:
    """Import the active plugins, so that one that raises is told before anything starts.

    Args:
        kinds: keys of `KINDS`; none given means all.

    Raises:
        BadInput: naming the file, the line and what it raised.
    """
    for plugin in active():
        if kinds and plugin.declares not in kinds:
            continue
        try:
            import_module(plugin.module)
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            rule = f"raises {type(error).__name__} when it is imported: {error}"
            line = _line_in(plugin.file, error)
            raise BadInput(Fault(str(plugin.file), "", rule, "Mend it.", line=line)) from error


def _line_in(file: Path, error: BaseException) -> int | None:
    """The last line of a file that a traceback passes."""
    line, step = None, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == str(file):
            line = step.tb_lineno
        step = step.tb_next
    return line


def keep(folder: Path) -> list[dict[str, str]]:
    """Copy the active plugins into a run's folder, and use the copies from now on.

    Returns:
        What the manifest says of them; empty where there are none.
    """
    plugins = active()
    for one in plugins:
        copy, content = folder / FOLDER / one.file.name, one.file.read_bytes()
        if hashlib.sha256(content).hexdigest() != one.sha256:
            rule = "has changed since it was read"
            raise BadInput(Fault(str(one.file), "", rule, "Give the same command again."))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    if plugins:
        _set(folder / FOLDER / one.file.name for one in plugins)
    return [{**one.told(), "file": str(one.file)} for one in plugins]


def _set(files: Iterable[Path]) -> None:
    os.environ[VARIABLE] = os.pathsep.join(str(file.absolute()) for file in files)


def recorded(folder: Path, told: Sequence[Mapping[str, Any]]) -> tuple[Plugin, ...]:
    """The plugins that a run or an exported model keeps.

    Args:
        folder: of the run.
        told: what its manifest says of them.

    Raises:
        BadInput: where a copy is missing or is not what was recorded.
    """
    faults = []
    files = [folder / FOLDER / str(one["name"]) for one in told]
    for file, one in zip(files, told, strict=True):
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != one["sha256"]:
            rule = "is not the plugin that the run was made with"
            rule = rule if file.is_file() else "is missing, and the run was made with it"
            faults.append(Fault(str(file), "", rule, _COPY))
    if faults:
        raise BadInput(faults)
    return read_plugins(files, str(folder))


def of_folder(folder: Path) -> tuple[Plugin, ...]:
    """The plugins that a run, or an exported model, was made with; none where it tells of none.

    Raises:
        BadInput: as `recorded`. What else is wrong with the folder is told by who reads it.
    """
    files = [folder / "manifest.json", folder / "model.json", *folder.glob("*/manifest.json")]
    for file in files:
        try:
            told = json.loads(file.read_text(encoding="utf-8")).get("plugins")
        except (OSError, ValueError, AttributeError):
            continue
        if told:
            return recorded(file.parent, told)
    return ()


def activate_for(folders: Iterable[str | Path]) -> None:
    """Use the plugins of these runs in this process, from Python.

    Raises:
        BadInput: where declarations were read already; says how to start.
    """
    needed = _of_folders(folders)
    if _are_active(needed):
        return
    if any(name in sys.modules for name in _READERS):
        value = os.pathsep.join(str(one.file) for one in needed)
        rule = "was made with plugins, which have to be known before anything of the project is"
        way_out = f"Start Python with {VARIABLE}={value}, or load this run first."
        raise BadInput(Fault(str(needed[0].file.parent.parent), "", rule, way_out))
    _set(one.file for one in needed)
    install_finder()


def _of_folders(folders: Iterable[str | Path]) -> tuple[Plugin, ...]:
    """The plugins of several runs or models, each file once."""
    found = {one.file: one for folder in folders for one in of_folder(Path(folder))}
    return tuple(found.values())


def _are_active(plugins: Iterable[Plugin]) -> bool:
    """Whether this process has these, by name and content."""
    there = {(one.file.name, one.sha256) for one in active()}
    return {(one.file.name, one.sha256) for one in plugins} <= there


def changed_since(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on the users' own files that are not what the run keeps copies of."""
    found = []
    for one in told:
        own = Path(str(one.get("file", "")))
        if own.is_file() and hashlib.sha256(own.read_bytes()).hexdigest() != one["sha256"]:
            found.append(f"{own} has changed; the run goes on with its own copy of it")
    return found


def with_plugins_of(
    folders: Iterable[Path], module: str, argv: Sequence[str] | None, then: Callable[[], int]
) -> int:
    """The exit code of ``then``, run with the plugins of runs or of exported models.

    Args:
        folders: of the runs, or of the models.
        module: see `run_again_with`.
        argv: likewise.
        then: what to do where this process has all plugins that are needed.
    """

    def run() -> int:
        again = run_again_with(_of_folders(folders), module, argv)
        return then() if again is None else again

    return exit_code(run)


def run_again_with(
    plugins: Sequence[Plugin], module: str, argv: Sequence[str] | None
) -> int | None:
    """Start this program again where it needs other plugins than those of this process.

    Declarations are read once a process, when their modules are imported; so plugins are chosen
    before that, in the environment.

    Args:
        plugins: that are needed.
        module: whose ``main`` this is.
        argv: its arguments; None for those of the process.

    Returns:
        The exit code of the other process; None where this one has all that is needed.
    """
    if _are_active(plugins):
        return None
    value = os.pathsep.join(str(one.file) for one in plugins)
    paths = [str(_HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {VARIABLE: value, "PYTHONPATH": os.pathsep.join(paths)}
    if argv is not None:
        command = [sys.executable, "-P", "-m", module, *argv]
        return subprocess.run(command, check=False, env=environment).returncode
    command = [sys.executable, *sys.orig_argv[1:]]
    if sys.platform == "win32":  # its exec gives the terminal back at once
        return subprocess.run(command, check=False, env=environment).returncode
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)
