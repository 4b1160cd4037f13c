"""Saliency maps of a trial: ``python -m study.saliency RUN TRIAL --out DIR``.

Writes pictures (PNG) and numbers (saliency.json) about validation images, prints a table to
stdout and all else to stderr. Test sets are never opened. Exit codes: 0 done, 1 the maps cannot
be used, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Sequence
from pathlib import Path

from study.errors import BadInput, Fault, exit_code
from study.explain.options import CHECKS, METHODS, Request
from study.plugins import of_folder, run_again_with
from study.records.files import RunFolder
from study.terminal import Parser, visible


def parse(argv: Sequence[str]) -> Request:
    """The command line as a request.

    Raises:
        BadInput: with every fault of the values; unknown options end the program, exit 2.
    """
    parser = Parser(
        prog="python -m study.saliency",
        description="Saliency maps of a trial on validation images: pictures, and numbers that "
        "check them.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run's folder")
    parser.add_argument("trial", metavar="TRIAL", help="a trial's id, winner, or base")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="for what is made")
    parser.add_argument("--method", default=METHODS[0], help=f"{', '.join(METHODS)}; the first")
    parser.add_argument("--images", metavar="N", default="24", help="of each set; default 24")
    parser.add_argument("--seed", metavar="N", default="0", help="of choices and draws; default 0")
    parser.add_argument(
        "--checks", metavar="LIST", default="all", help=f"all, none, or of {','.join(CHECKS)}"
    )
    return _checked(parser.parse_args(argv))


def _checked(given: argparse.Namespace) -> Request:
    faults = []
    if given.method not in METHODS:
        rule = f"must be one of {', '.join(METHODS)}"
        faults.append(Fault("--method", "", rule, value=given.method))
    for name, least in (("images", 1), ("seed", 0)):
        text = getattr(given, name)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            rule = f"must be a whole number of at least {least}"
            faults.append(Fault(f"--{name}", "", rule, value=text))
    named = {"all": CHECKS, "none": ()}.get(given.checks)
    checks = tuple(given.checks.split(",")) if named is None else named
    for unknown in [check for check in checks if check not in CHECKS]:
        rule = f"must be all, none, or some of {', '.join(CHECKS)}, with commas between"
        faults.append(Fault("--checks", "", rule, value=unknown))
    if given.out.exists() and not given.out.is_dir():
        rule = "is a file, not a folder"
        faults.append(Fault("--out", "", rule, "Choose another --out.", str(given.out)))
    if faults:
        raise BadInput(faults)
    return Request(
        RunFolder(given.run),
        given.trial,
        given.out,
        given.method,
        int(given.images),
        int(given.seed),
        checks,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    again: int | None = None

    def run() -> None:
        nonlocal again
        request = parse(sys.argv[1:] if argv is None else argv)
        again = run_again_with(of_folder(request.run.path), "study.saliency", argv)
        if again is not None:
            return
        from study.saliency_maps import run_saliency  # seconds that bad input need not wait for

        sys.stdout.write(f"{visible(run_saliency(request))}\n")

    code = exit_code(run, failed="No maps: {}.")
    return code if again is None else again


if __name__ == "__main__":
    raise SystemExit(main())
