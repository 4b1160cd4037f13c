"""The command line of a study: call what its options ask for, print, exit code.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 the study failed, 2 bad
input, 130 interrupted. Nothing heavy is imported before the options are known to be good.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from study import ending, plugins

if __name__ == "__main__":
    ending.listen(lambda: f"Nothing was begun; to start again: {ending.again()}")

from study.arguments import Options, parse
from study.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, BadInput, Interrupted, StudyFailed
from study.invoked import run_command
from study.options import ReplayOptions, ResumeOptions, RunOptions, of_session
from study.records.disk import DiskFull, is_disk_full
from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.stdout import as_it_is_read
from study.terminal import visible

_NO_LEAVE = (errno.EACCES, errno.EPERM, errno.EROFS)
_MISPLACED = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY)
_IN_THE_WAY = (
    "A folder stands in a file's place there, or a file in a folder's: move it away, or restore "
    "the run from a copy."
)
_ELSEWHERE = (
    "Check its permissions; --out names another folder for the run, OOD_STUDY_CACHE for the "
    "cache, OOD_STUDY_STATE for what this machine remembers."
)

_KILLED = "The study's process was killed."


def _execute(options: Options) -> int:
    plugins.import_plugins()
    # Here and not above: --help and bad input should not wait for torch and Ray.
    from study import run
    from study.watch.progress import Progress

    live = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    with (
        ending.own_stderr() as stream,
        Progress(stream, live=live, quiet=options.quiet) as progress,
    ):
        code = DONE
        if isinstance(options, RunOptions):
            result = run.run_study(options, progress, _conclude, _candidates)
            result += "" if options.dry_run else _conclude_all(options.out)
        elif isinstance(options, ResumeOptions):
            result = run.resume_study(options, progress, _conclude, _candidates)
            result += _conclude_all(options.directory)
        else:
            from study.replay import replay

            agreement = replay(options, progress)
            result, code = agreement.text(), DONE if agreement.same else FAILED
    with as_it_is_read():
        print(visible(result))
    return code


def _plugins(options: Options) -> tuple[plugins.Plugin, ...]:
    if isinstance(options, RunOptions):
        return plugins.read_plugins(options.plugins)
    return plugins.of_folder(options.directory)


# Analysis takes seconds to import: the search does not wait for what comes after it.


def _conclude(run: RunFolder, ledger: Ledger) -> str:
    from analysis.conclusion import conclude

    return conclude(run, ledger)


def _conclude_all(folder: Path) -> str:
    from analysis.conclusion import conclude_all

    return conclude_all(folder)


def _candidates(run: RunFolder, top: int) -> Sequence[int]:
    from analysis.choice.confirmation import candidates_to_confirm

    return candidates_to_confirm(run, top)


class _WayBack:
    """How to go on with a command that did not come to its end."""

    def __init__(self, options: Options) -> None:
        """Look at what there is before the command does anything."""
        self._replays = isinstance(options, ReplayOptions)
        folder = options.out if isinstance(options, RunOptions) else options.directory
        run = RunFolder(folder)
        self.files = [str(run.ledger), str(run.hold_outs)]  # whose growth says that it has begun
        self._before = self._size()
        same = [] if isinstance(options, ReplayOptions) else of_session(options)
        self.on = f"To go on: {run_command('--resume', folder, *same)}"
        again = "A replay changes nothing" if self._replays else "Nothing was recorded yet"
        self.again = f"{again}; give the same command again: {options.command}"
        if isinstance(options, ResumeOptions) and not options.more_trials:
            self.again = f"To go on: {options.command}"

    @property
    def begun(self) -> bool:
        """Whether this command has put anything on record."""
        return not self._replays and self._size() > self._before

    def _size(self) -> int:
        return sum(map(ending.size_of, self.files))

    def __call__(self) -> str:
        """One line."""
        return self.on if self.begun else self.again


def _say(*lines: object) -> None:
    for line in lines:
        print(visible(str(line)), file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments without the program's name; None takes those of the process.
    """
    way_back: _WayBack | None = None
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        again = plugins.run_again_with(_plugins(options), "study.cli", argv)
        if again is not None:
            return again
        way_back = _WayBack(options)
        ending.tell(way_back)
        killed = [visible(f"{_KILLED} {line}") for line in (way_back.on, way_back.again)]
        with ending.watched(way_back.files, *killed):
            return _execute(options)
    except BadInput as error:
        _say(*error.faults, *([way_back()] if way_back and way_back.begun else []))
        return BAD_INPUT
    except (DiskFull, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _say(f"{error.filename}: the name is too long. Choose another.")
            return BAD_INPUT
        if isinstance(error, OSError) and error.errno in _NO_LEAVE and error.filename:
            _say(f"{error.filename}: {error.strerror}. {_ELSEWHERE}")
            return BAD_INPUT
        if isinstance(error, OSError) and error.errno in _MISPLACED:
            path = error.filename2 or error.filename
            print(f"{path}: {error.strerror}. {_IN_THE_WAY}", file=sys.stderr)
            return BAD_INPUT
        if not is_disk_full(error) and not isinstance(error, DiskFull):
            raise
        _say(f"The study is paused: the disk is full ({error})")
        safe = "Nothing that was recorded is lost. Make room on it first."
        _say(f"{safe} {way_back() if way_back else ''}")
        return FAILED
    except StudyFailed as error:
        _say(f"The study failed: {error}")
        return FAILED
    except (Interrupted, KeyboardInterrupt) as error:
        _say(f"Interrupted. {error}".rstrip(), *([way_back()] if way_back else []))
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
