"""What the commands that make pictures of one trial take: RUN, TRIAL, --out, --images, --seed."""

from __future__ import annotations

import argparse
from pathlib import Path

from study.errors import Fault
from study.terminal import Parser


def trial_parser(module: str, description: str, num_images: int) -> Parser:
    """A parser of what all of them take.

    Args:
        module: the command's.
        description: what it does.
        num_images: of each set, where no number is given.
    """
    parser = Parser(prog=f"python -m {module}", description=description, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", type=Path, help="the run's folder")
    parser.add_argument("trial", metavar="TRIAL", help="a trial's id, winner, or base")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="for what is made")
    of_each = f"of each set; default {num_images}"
    parser.add_argument("--images", metavar="N", default=str(num_images), help=of_each)
    parser.add_argument("--seed", metavar="N", default="0", help="of all that is drawn; default 0")
    return parser


def faults_of(given: argparse.Namespace, least_images: int) -> list[Fault]:
    """What is wrong with the values of ``trial_parser``'s options."""
    faults = []
    for name, least in (("images", least_images), ("seed", 0)):
        text = getattr(given, name)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            rule = f"must be a whole number of at least {least}"
            faults.append(Fault(f"--{name}", "", rule, value=text))
    if given.out.exists() and not given.out.is_dir():
        rule = "is a file, not a folder"
        faults.append(Fault("--out", "", rule, "Choose another --out.", str(given.out)))
    return faults
