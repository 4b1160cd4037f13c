"""Pictures scored by an exported winner: a CSV of path, class, score and accepted on stdout.

    python -m study.score OUT FOLDER > scores.csv

Exit codes: 0 every picture was scored, 1 some could not be read (each is told on stderr, the
others are scored), 2 bad input (no model, no folder, no picture in it), 130 interrupted.
"""

from __future__ import annotations

import argparse
import csv
import sys

from study import ending

if __name__ == "__main__":
    ending.listen()

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from study.data.images import printable
from study.data.walk import Pictures, find_pictures, told_left_out
from study.errors import BAD_INPUT, BadInput, Fault, StudyFailed, exit_code
from study.plugins import with_plugins_of
from study.stdout import as_it_is_read
from study.terminal import Parser, visible

_COLUMNS = ("path", "class", "score", "accepted")


def score_folder(out: Path, folder: Path, kind: str, batch_size: int) -> None:
    """Score every picture under a folder, or one picture, and print the CSV.

    Args:
        out: folder of the exported model.
        folder: of the pictures.
        kind: of the threshold, ``recall`` or ``conformal``.
        batch_size: pictures at a time.

    Raises:
        BadInput: where the model is none or was changed, or there is no picture.
        StudyFailed: where some pictures could not be read, or the memory does not do.
    """
    one = folder.is_file()
    found = Pictures((folder,), ()) if one else find_pictures(folder)
    top = folder.parent if one else folder
    # Here and not above: a wrong folder should not wait for torch.
    from study.winner import Told, load_winner

    winner, told = load_winner(out), Told()
    with as_it_is_read():
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(_COLUMNS)
        for row in winner.score_files(found.files, told, kind, batch_size):
            path = printable(row.path.relative_to(top).as_posix())
            table.writerow((path, row.label, repr(row.score), str(row.accepted).lower()))
    for sentence in told.unreadable:
        sys.stderr.write(visible(f"{sentence}\n"))
    for what, count in told.unusual.items():
        also = "which the model's training refused; scored all the same"
        sys.stderr.write(f"note: {count:,} {what}, {also}\n")
    if found.left_out:
        sys.stderr.write(visible(f"note: left out: {told_left_out(found.left_out)}\n"))
    if told.unreadable:
        rule = f"{len(told.unreadable):,} of {len(found.files):,} pictures could not be read"
        raise StudyFailed(rule)


def _whole(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m study.score OUT FOLDER``; the module's text has the exit codes."""
    parser = Parser(
        prog="python -m study.score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="OUT", type=Path, help="the exported model's folder")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of pictures, or one picture")
    parser.add_argument(
        "--threshold", choices=("recall", "conformal"), default="recall",
        help="what decides `accepted`: 95 %% of validation ID, or the conformal one",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=_whole, default=512, metavar="N",
        help="pictures at a time; 512 are the final test's, fewer need less memory",
    )  # fmt: skip
    options = parser.parse_args(argv)
    if not options.folder.exists():
        fault = Fault("FOLDER", "", "does not exist", "Check the path.", str(options.folder))
        sys.stderr.write(visible(f"{BadInput(fault)}\n"))
        return BAD_INPUT
    run = partial(score_folder, options.model, options.folder, options.threshold, options.batch)
    return with_plugins_of([options.model], "study.score", argv, lambda: exit_code(run))


if __name__ == "__main__":
    raise SystemExit(main())
