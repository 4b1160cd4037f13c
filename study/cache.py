"""``python -m study.cache``: what studies keep to be quicker next time, listed and cleared.

Everything in it can be made again; what a running study uses stays. Exit 0 done, 2 bad input.
"""

from __future__ import annotations

import argparse
import re
import sys
import time

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from study.errors import BadInput, Fault, exit_code
from study.records.cache import (
    KINDS,
    LIMIT,
    Entry,
    cache_folder,
    entries,
    limit,
    refuse_shared,
    remove,
    sweep,
    trim,
    what_is,
)
from study.records.disk import bytes_text, parse_bytes
from study.stdout import as_it_is_read
from study.terminal import Parser, visible

_EPILOG = f"""\
Without an option it lists. The folder is $OOD_STUDY_CACHE, ~/.cache/ood-study by default; {LIMIT}
keeps it within a size for good, the least recently used going first: export {LIMIT}=20GB.
What is used or made by a running study stays."""
_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)

    def run() -> None:
        lines = _run(options)
        with as_it_is_read():
            sys.stdout.write(visible("\n".join(lines) + "\n"))

    try:
        return exit_code(run)
    except PermissionError as error:
        told = f"{error.filename}: {error.strerror}. Its owner may clear it.\n"
        sys.stderr.write(visible(told))
        return 2


def _parser() -> Parser:
    parser = Parser(
        prog="python -m study.cache",
        description="List the caches, clear them, keep them within a size.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = ", ".join(KINDS)
    parser.add_argument(
        "--clear", metavar="KIND", action="append", choices=[*KINDS, "all"],
        help=f"take away what is of a kind: {kinds}, or all; may repeat",
    )  # fmt: skip
    parser.add_argument(
        "--older-than", metavar="AGE", type=_age,
        help="take away what was not used for so long, such as 30d, 12h (with --clear: of it)",
    )  # fmt: skip
    parser.add_argument(
        "--at-most", metavar="SIZE", type=_size,
        help="take away the least recently used until so much is left, such as 5GB",
    )  # fmt: skip
    return parser


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 30d, 12h, 45m or 2w")
    return float(match[1]) * _UNITS_S[match[2]]


def _size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> list[str]:
    """Do what is asked for; what to print."""
    folder, most = cache_folder(), limit()
    if folder.exists() and not folder.is_dir():
        way_out = "Set OOD_STUDY_CACHE to a folder."
        raise BadInput(Fault(str(folder), "", "is a file, not a folder", way_out))
    asked = options.clear or options.older_than is not None or options.at_most is not None
    if asked:
        refuse_shared()
    swept = sweep()
    lines = [f"{swept} half-written files of ended processes taken away"] if swept else []
    if options.clear or options.older_than is not None:
        lines += _cleared(options.clear or ["all"], options.older_than)
    if options.at_most is not None:
        lines += _told("taken away", trim(options.at_most))
    return [*lines, *([] if asked else _listed(folder)), _total(folder, most)]


def _cleared(kinds: Sequence[str], older_than: float | None) -> list[str]:
    gone: list[Entry] = []
    stay: list[Entry] = []
    begun = time.time()
    for entry in entries():
        old = older_than is None or begun - entry.used >= older_than
        if old and (entry.kind in kinds or "all" in kinds):
            (gone if remove(entry) else stay).append(entry)
    return [*_told("taken away", gone), *(_told("in use, stays", stay) if stay else [])]


def _told(how: str, some: Sequence[Entry]) -> list[str]:
    size = bytes_text(sum(entry.num_bytes for entry in some))
    return [f"{how}: {len(some)} {'entry' if len(some) == 1 else 'entries'}, {size}"]


def _listed(folder: Path) -> list[str]:
    """A line a kind, below it a line an entry, the most recently used first."""
    lines = []
    for kind, told in KINDS.items():
        if found := entries(kind):
            size = bytes_text(sum(entry.num_bytes for entry in found))
            lines.append(f"{kind:<10} {size:>8}  {len(found)}: {told}")
            for entry in reversed(found):
                used = f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"
                name = entry.path.relative_to(folder / kind)
                row = f"  {bytes_text(entry.num_bytes):>8}  {used}  {name}  {what_is(entry)}"
                lines.append(row.rstrip())
    return lines


def _total(folder: Path, most: int | None) -> str:
    size = bytes_text(sum(entry.num_bytes for entry in entries()))
    bound = f", at most {bytes_text(most)} by {LIMIT}" if most is not None else ""
    return f"{folder}: {size}{bound}"


if __name__ == "__main__":
    raise SystemExit(main())
