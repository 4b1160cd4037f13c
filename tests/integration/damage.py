"""Damage of every kind to every file of a run and of the cache, and what each command makes of it.

    python -m tests.integration.damage --num 300 --seed 0

A case strikes one file or folder of a whole study, or of its cache, and runs one command on what
is left. It passes where the command ends with a known exit code and without a traceback, and,
where that is 0, says what it says of the undamaged study or names what it found. Ray's part is
played by a loop; each command runs in a forked child, since a damaged file may end a process.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.__main__ import main as analysis_main
from study import cli
from study.cache import main as cache_main
from tests.golden.driving import recorded
from tests.integration.runs import PROJECT, SMALL
from tests.small_data import write_small_root
from tests.without_ray import Main, forked

KNOWN = (0, 1, 2)
_BEGIN = (
    *("--space", "energy", "--data-root", "data", "--smoke", "--num-trials", "3"),
    *("--max-concurrent", "1", "--out", "new", "--set", *SMALL),
)
_RUN = "run"
COMMANDS: dict[str, tuple[Main, tuple[str, ...], int]] = {
    "select": (analysis_main, ("select", _RUN), 4),
    "trials": (analysis_main, ("trials", _RUN), 5),
    "margins": (analysis_main, ("margins", _RUN), 2),
    "importance": (analysis_main, ("importance", _RUN), 1),
    "report": (analysis_main, ("report", _RUN, "--latex"), 2),
    "export": (analysis_main, ("export", _RUN), 5),
    "test": (analysis_main, ("test", _RUN), 4),
    "test again": (analysis_main, ("test", _RUN, "--again", "a reason"), 1),
    "resume": (cli.main, ("--resume", _RUN), 3),
    "extend": (cli.main, ("--extend", _RUN, "--num-trials", "+1"), 1),
    "replay": (cli.main, ("--replay", _RUN, "0"), 1),
    "warm start": (cli.main, (*_BEGIN, "--warm-start", _RUN, "--dry-run"), 1),
    "dry run": (cli.main, (*_BEGIN, "--dry-run"), 1),
    "begin": (cli.main, _BEGIN, 1),
    "caches": (cache_main, (), 2),
}
"""Name -> whose, with what arguments, and how often it is drawn."""
OF_CACHE = ("resume", "dry run", "begin", "caches", "extend")
_TIMED = ("dry run", "warm start", "caches", "replay", "extend")  # tell speeds, times, or more
_HARMLESS = ("tensorboard", "study.db", "report.html", "failures.txt", "code.diff", "panels")


@dataclass(frozen=True)
class Case:
    """One damage and one command.

    Attributes:
        path: what is struck, relative to the folder of the study and its cache.
        damage: of `DAMAGES`.
        command: of `COMMANDS`.
        seed: of what is drawn in it.
    """

    path: str
    damage: str
    command: str
    seed: int

    def __str__(self) -> str:
        return f"{self.command}: {self.damage} of {self.path} ({self.seed})"


Strike = Callable[[Path, Path, np.random.Generator], None]


def _truncate(path: Path, _: Path, draw: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: int(draw.integers(max(1, path.stat().st_size)))])


def _flip(path: Path, _: Path, draw: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    for place in draw.integers(len(content), size=3) if content else ():
        content[place] ^= 1 << int(draw.integers(8))
    path.write_bytes(content)


def _empty(path: Path, _: Path, __: np.random.Generator) -> None:
    path.write_bytes(b"")


def _delete(path: Path, _: Path, __: np.random.Generator) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _folder(path: Path, world: Path, draw: np.random.Generator) -> None:
    _delete(path, world, draw)
    (path / "below").mkdir(parents=True)


def _file(path: Path, world: Path, draw: np.random.Generator) -> None:
    _delete(path, world, draw)
    path.write_bytes(b"a file")


def _swap(path: Path, world: Path, draw: np.random.Generator) -> None:
    """With another file of the same name's end, or any."""
    top = world / path.relative_to(world).parts[0]
    files = sorted(one for one in top.rglob(f"*{path.suffix}") if one.is_file() and one != path)
    if not files:
        return
    other = files[int(draw.integers(len(files)))]
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def _of_another(path: Path, world: Path, draw: np.random.Generator) -> None:
    """The same file of another study; of the cache, another entry."""
    there = world.parent / "other" / path.relative_to(world / path.relative_to(world).parts[0])
    if there.is_file():
        shutil.copyfile(there, path)
    else:
        _swap(path, world, draw)


def _edit(path: Path, _: Path, draw: np.random.Generator) -> None:
    """A digit of a text becomes another, or a word; elsewhere a byte."""
    content = path.read_bytes()
    digits = [place for place, byte in enumerate(content) if 48 <= byte <= 57]
    if digits:
        place = digits[int(draw.integers(len(digits)))]
        new = (b"7", b"x", b"null", b"[]", b'"x"')[int(draw.integers(5))]
        path.write_bytes(content[:place] + new + content[place + 1 :])


def _double_line(path: Path, _: Path, draw: np.random.Generator) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        place = int(draw.integers(len(lines)))
        path.write_bytes(b"".join([*lines[: place + 1], *lines[place:]]))


def _lose_line(path: Path, _: Path, draw: np.random.Generator) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        del lines[int(draw.integers(len(lines)))]
        path.write_bytes(b"".join(lines))


DAMAGES: dict[str, Strike] = {
    "truncation": _truncate,
    "flipped bits": _flip,
    "emptying": _empty,
    "removal": _delete,
    "a folder in place": _folder,
    "a swap": _swap,
    "another study's": _of_another,
    "an edit": _edit,
    "a doubled line": _double_line,
    "a lost line": _lose_line,
}
OF_FOLDERS: dict[str, Strike] = {"removal": _delete, "a file in place": _file}


class World:
    """A whole study with its data and its cache, to be damaged again and again.

    Attributes:
        folder: of all; the study that is struck is in ``folder/work``.
    """

    def __init__(self, folder: Path) -> None:
        """Make the study, once, and note what every command says of it undamaged."""
        self.folder = folder
        self._states = itertools.count()
        self._whole, self._work = folder / "whole", folder / "work"
        self._whole.mkdir(parents=True)
        write_small_root(folder / "data")
        shutil.copytree(recorded("energy-finished", folder), folder / "other")
        self._told: dict[str, tuple[int, str]] = {}
        made = self._command(cli.main, ["new" if a == "new" else a for a in _BEGIN], self._whole)
        assert made[0] == 0, made
        (self._whole / "new").rename(self._whole / _RUN)
        tested = self._command(analysis_main, ["test", _RUN], self._whole)
        assert tested[0] == 0, tested

    def cases(self, num: int, seed: int) -> list[Case]:
        """Cases by seed: first what kind of file, so that the few count as the many do."""
        draw = np.random.default_rng(seed)
        kinds: dict[str, list[Path]] = {}
        for path in sorted(self._whole.rglob("*")):
            parts = path.relative_to(self._whole).parts
            if parts[0] == "data":
                continue
            kind = (*parts[:2], path.name if parts[0] == _RUN else path.suffix, path.is_dir())
            kinds.setdefault(str(kind), []).append(path)
        names, found = list(kinds), []
        for number in range(num):
            paths = kinds[names[number % len(names)]]
            path = paths[int(draw.integers(len(paths)))]
            damages = list(OF_FOLDERS if path.is_dir() else DAMAGES)
            if path.suffix != ".jsonl":
                damages = [one for one in damages if "line" not in one]
            in_cache = path.relative_to(self._whole).parts[0] == "cache"
            commands = OF_CACHE if in_cache else tuple(COMMANDS)
            often = np.array([COMMANDS[name][2] for name in commands], dtype=float)
            found.append(
                Case(
                    str(path.relative_to(self._whole)),
                    damages[int(draw.integers(len(damages)))],
                    str(draw.choice(commands, p=often / often.sum())),
                    int(draw.integers(10**6)),
                )
            )
        return found

    def run(self, case: Case) -> str:
        """Strike and run; what is wrong with how it ended, or nothing."""
        self._restore()
        path = self._work / case.path
        strikes = OF_FOLDERS if path.is_dir() else DAMAGES
        strikes[case.damage](path, self._work, np.random.default_rng(case.seed))
        main, arguments, _ = COMMANDS[case.command]
        code, out, err = self._command(main, arguments, self._work)
        if code not in KNOWN or "Traceback" in out + err:
            return f"ended with {code}: {(err or out)[-1500:]}"
        if code != 0 and not (out + err).strip():
            return f"ended with {code} and no word"
        if code == 0 and case.command not in _TIMED:
            return self._differs(case, out, err)
        return ""

    def _differs(self, case: Case, out: str, err: str) -> str:
        """Whether a command says other things than of the undamaged study, and not why."""
        _, whole = self._undamaged(case.command)
        names = [Path(case.path).name, *Path(case.path).parts[1:2], "torn last line"]
        if out == whole or any(name in out + err for name in names if name not in whole):
            return ""
        lines = [one for one in out.splitlines() if one not in whole.splitlines()]
        return f"said, without a word on what was struck: {lines[:6]}; {err[-300:]}"

    def _undamaged(self, command: str) -> tuple[int, str]:
        if command not in self._told:
            self._restore()
            main, arguments, _ = COMMANDS[command]
            code, out, err = self._command(main, arguments, self._work)
            assert code == 0 or command == "test", (command, code, err)
            self._told[command] = (code, out)
        return self._told[command]

    def _restore(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._whole, self._work, symlinks=True)

    def _command(self, main: Main, arguments: Sequence[str], where: Path) -> tuple[int, str, str]:
        """Run in a child; exit code (minus a signal), stdout and stderr."""
        if not (where / "data").is_symlink():
            (where / "data").symlink_to(self.folder / "data")
        places = {
            "OOD_STUDY_CACHE": str(where / "cache"),
            "OOD_STUDY_STATE": str(self.folder / f"state-{next(self._states)}"),
            "PYTHONPATH": str(PROJECT),
        }
        return forked(main, arguments, where, places)


def main() -> int:
    """Run the cases and tell those that fail; exit 1 where any does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of cases")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="damage-") as folder:
        world = World(Path(folder))
        for number, case in enumerate(world.cases(options.num, options.seed)):
            if options.only and number not in options.only:
                continue
            wrong = world.run(case)
            failed += bool(wrong)
            sys.stdout.write(f"{number} {case}: {wrong or 'passed'}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{failed} failed\n")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
