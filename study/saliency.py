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

from study.errors import BadInput, Fault, exit_code
from study.explain.options import CHECKS, METHODS, Request
from study.plugins import of_folder, run_again_with
from study.records.files import RunFolder
from study.terminal import visible
from study.trial_command import faults_of, trial_parser


def parse(argv: Sequence[str]) -> Request:
    """The command line as a request.

    Raises:
        BadInput: with every fault of the values; unknown options end the program, exit 2.
    """
    told = "Saliency maps of a trial on validation images: pictures, and numbers that check them."
    parser = trial_parser("study.saliency", told, num_images=24)
    parser.add_argument("--method", default=METHODS[0], help=f"{', '.join(METHODS)}; the first")
    parser.add_argument(
        "--checks", metavar="LIST", default="all", help=f"all, none, or of {','.join(CHECKS)}"
    )
    return _checked(parser.parse_args(argv))


def _checked(given: argparse.Namespace) -> Request:
    faults = []
    if given.method not in METHODS:
        rule = f"must be one of {', '.join(METHODS)}"
        faults.append(Fault("--method", "", rule, value=given.method))
    named = {"all": CHECKS, "none": ()}.get(given.checks)
    checks = tuple(given.checks.split(",")) if named is None else named
    for unknown in [check for check in checks if check not in CHECKS]:
        rule = f"must be all, none, or some of {', '.join(CHECKS)}, with commas between"
        faults.append(Fault("--checks", "", rule, value=unknown))
    faults += faults_of(given, least_images=1)
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

    def run() -> int | None:
        request = parse(sys.argv[1:] if argv is None else argv)
        again = run_again_with(of_folder(request.run.path), "study.saliency", argv)
        if again is None:
            # Seconds that bad input need not wait for.
            from study.saliency_maps import run_saliency

            sys.stdout.write(f"{visible(run_saliency(request))}\n")
        return again

    return exit_code(run, failed="No maps: {}.")


if __name__ == "__main__":
    raise SystemExit(main())
