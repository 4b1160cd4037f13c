"""study.cli: every exit code, nothing heavy for --help."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import study
from study.cli import main
from study.errors import BadInput, Fault, Interrupted, StudyFailed
from study.options import ResumeOptions, RunOptions
from study.records.ledger import Ledger

RESULT = "best trial 00003\nreport: runs/energy/report.html"
Outcome = Callable[[object], str]


@pytest.fixture
def study_run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], list[object]]:
    """Puts a stand-in for study.run in place; returns the list of options it was called with."""

    def install(outcome: Outcome) -> list[object]:
        calls: list[object] = []

        def run(options: object, progress: object, conclude: object, choose: object) -> str:
            calls.append(options)
            return outcome(options)

        module = types.SimpleNamespace(run_study=run, resume_study=run)
        monkeypatch.setattr(study, "run", module, raising=False)
        monkeypatch.setitem(sys.modules, "study.run", module)
        return calls

    return install


def test_main_prints_results_to_stdout_alone(
    study_run: Callable[[Outcome], list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = study_run(lambda _: RESULT)
    assert main(["--space", "energy", "--seed", "3"]) == 0
    assert isinstance(calls[0], RunOptions)
    shown = capsys.readouterr()
    assert shown.out == f"{RESULT}\n"
    assert shown.err == ""


def test_main_resumes_with_resume_options(
    study_run: Callable[[Outcome], list[object]], tmp_path: Path
) -> None:
    calls = study_run(lambda _: RESULT)
    assert main(["--resume", str(tmp_path)]) == 0
    assert isinstance(calls[0], ResumeOptions)


def test_main_on_bad_options_exits_2_one_fault_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--space", "energy", "--seed", "x", "--num-trials", "y"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 2
    assert "Traceback" not in shown.err


def raising(error: BaseException) -> Outcome:
    def outcome(_: object) -> str:
        raise error

    return outcome


def test_main_on_bad_input_of_the_study_exits_2(
    study_run: Callable[[Outcome], list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    two = [Fault("a.yaml", "train.lr", "is missing"), Fault("a.yaml", "tune", "is wrong")]
    study_run(raising(BadInput(two)))
    assert main(["--space", "energy"]) == 2
    assert capsys.readouterr().err.splitlines() == [str(fault) for fault in two]


def test_main_on_a_failed_study_exits_1(
    study_run: Callable[[Outcome], list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    study_run(raising(StudyFailed("no trial is above the floor")))
    assert main(["--space", "energy"]) == 1
    assert capsys.readouterr().err == "The study failed: no trial is above the floor\n"


@pytest.mark.parametrize("error", [Interrupted(), KeyboardInterrupt()])
def test_main_on_an_interrupt_exits_130_with_the_way_back(
    study_run: Callable[[Outcome], list[object]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: BaseException,
) -> None:
    out = tmp_path / "my run"
    command = ["--space", "energy", "--out", str(out)]
    typed = f"give the same command again: python run_study.py --space energy --out '{out}'"
    study_run(raising(error))
    assert main(command) == 130
    assert typed in capsys.readouterr().err

    def begun(_: object) -> str:
        with Ledger(out / "ledger.jsonl") as ledger:
            ledger.append("started")
        raise error

    with Ledger(out / "ledger.jsonl"):  # without a line it could not be resumed
        assert main(command) == 130
        assert typed in capsys.readouterr().err
    study_run(begun)
    assert main([*command, "--log", "mlflow"]) == 130
    assert f"python run_study.py --resume '{out}' --log mlflow\n" in capsys.readouterr().err
    study_run(raising(error))
    assert main(command) == 130  # that study is not of this command
    assert typed in capsys.readouterr().err


@pytest.mark.parametrize("grows", [True, False])
def test_main_on_an_interrupted_extension_goes_on_as_far_as_it_came(
    study_run: Callable[[Outcome], list[object]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    grows: bool,
) -> None:
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        ledger.append("started")

    def outcome(_: object) -> str:
        if grows:
            with Ledger(tmp_path / "ledger.jsonl") as ledger:
                ledger.append("extended")
        raise KeyboardInterrupt

    study_run(outcome)
    assert main(["--extend", str(tmp_path), "--num-trials", "+2"]) == 130
    way = f"--resume {tmp_path}" if grows else f"--extend {tmp_path} --num-trials +2"
    assert f"python run_study.py {way}\n" in capsys.readouterr().err


def test_main_shows_no_escape_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", "no\x1b[31m"]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\\x1b[31m" in told


def test_main_on_a_name_that_is_too_long_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--space", "energy", "--out", "a" * 300], ["--resume", "a" * 300]):
        assert main(options) == 2
        assert "aaa: the name is too long" in capsys.readouterr().err


def test_main_on_a_folder_that_cannot_be_written_exits_2(
    study_run: Callable[[Outcome], list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    place = "/cache/bases"
    study_run(raising(PermissionError(13, "Permission denied", place)))
    assert main(["--space", "energy"]) == 2
    told = capsys.readouterr().err
    assert f"{place}: Permission denied. Check its permissions" in told
    assert "OOD_STUDY_CACHE" in told


def test_main_on_a_folder_in_a_files_place_exits_2(
    study_run: Callable[[Outcome], list[object]], capsys: pytest.CaptureFixture[str]
) -> None:
    study_run(raising(IsADirectoryError(21, "Is a directory", ".x.tmp", None, "run/study.db")))
    assert main(["--space", "energy"]) == 2
    told = capsys.readouterr().err
    assert "run/study.db: Is a directory. A folder stands in a file's place there" in told


def test_main_lets_a_bug_through_as_a_traceback(
    study_run: Callable[[Outcome], list[object]],
) -> None:
    study_run(raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        main(["--space", "energy"])


def test_help_and_bad_options_import_nothing_heavy(project_root: Path) -> None:
    code = (
        "import sys; from study.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert main(['--seed', 'x']) == 2\n"
        "heavy = {'torch', 'ray', 'pandas', 'optuna', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for option in ("--space", "--resume", "--extend", "--data-root", "--gpus-per-trial"):
        assert option in done.stdout


def test_script_passes_the_exit_code_on(project_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "run_study.py", "--no-such-option"],
        cwd=project_root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'--no-such-option': unknown option" in done.stderr
