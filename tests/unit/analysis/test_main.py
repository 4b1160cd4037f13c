from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.commands import COMMANDS
from analysis.joined import JoinedPlots
from analysis.study import Lent, Plots, Study
from study.records.files import RunFolder
from study.records.frozen import read_frozen
from study.records.ledger import Ledger, read_ledger
from tests.fake_run import Fake, make_final_scores, make_run

pytestmark = pytest.mark.usefixtures("unrendered")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_run(tmp_path / "run")
    return tmp_path / "run"


HEAVY = {"torch", "ray", "scipy", "matplotlib", "optuna", "sklearn", "jinja2"}


def _loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stderr.split())


def test_trials_prints_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", str(run)]) == 0
    out = capsys.readouterr().out
    assert "10 trials (6 finished, 2 pruned, 1 failed, 1 paused)" in out
    assert "00008 failed: epoch 2, step 118: loss is nan" in out


def test_trials_as_json_has_every_column_and_null_for_nan(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trials", str(run), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[8]["val/fpr95"] is None
    assert rows[0]["param/train.energy_weight"] == 0.1


def test_margins_prints_measured_energies(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["margins", str(run), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["energies"][0] == {"images": "validation ID", "mean": -7.9, "sd": 1.8}
    assert len(content["trials"]) == 10


def test_margins_without_a_base_says_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "manifest.json").write_text("{}")
    assert main(["margins", str(run)]) == 2
    assert "no base was measured" in capsys.readouterr().err


def test_select_freezes_once_and_leaves_a_ledger_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(run)]) == 0
    assert main(["select", str(run), "--json"]) == 0
    out = capsys.readouterr().out
    content = json.loads(out[out.index("\n{") :])
    frozen = read_frozen(run)
    assert content["trial_id"] == frozen["winner"]
    events = [record["event"] for record in read_ledger(run / "ledger.jsonl")[0]]
    assert events.count("selected") == 1


def test_select_without_a_candidate_exits_1_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, Fake(below_base=-0.2))
    assert main(["select", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "points short" in captured.err
    assert captured.out == ""
    assert not (tmp_path / "selection.json").exists()


def test_select_of_a_running_study_freezes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished", "running")))
    with Ledger(run.ledger):
        assert main(["select", str(tmp_path), "--now", "a deadline"]) == 0
    assert not run.selection.exists()


def test_select_of_a_killed_study_says_what_is_left_and_freezes_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, Fake(statuses=("finished", "running")))
    assert main(["select", str(tmp_path)]) == 0
    assert "Not frozen: 1 trial has not ended (00001)." in capsys.readouterr().out
    assert main(["select", str(tmp_path), "--now", "a deadline"]) == 0
    assert run.selection.exists()


def test_report_prints_its_path(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")


def test_test_prints_both_scores_side_by_side_and_refreshes_the_report(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["select", str(run)])
    make_final_scores(RunFolder(run))
    with Ledger(run / "ledger.jsonl") as ledger:
        ledger.append("test opened", selection=read_frozen(run)["sha256"])
    assert main(["test", str(run)]) == 0
    out = capsys.readouterr().out
    assert "MSP score" in out
    assert "Energy score" in out
    assert "mean over sets" in out
    assert "Final test" in (run / "report.html").read_text()
    assert main(["test", str(run)]) == 2
    assert '--again "why"' in capsys.readouterr().err


def test_missing_directory_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trials", str(tmp_path / "nowhere")]) == 2
    assert "no such directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["trial", "x"], ["trials"], ["test", "x", "--again", ""]]
)
def test_wrong_arguments_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


@pytest.mark.parametrize("statuses", [(), ("failed",), ("finished",)])
def test_small_studies_get_tables_not_tracebacks(
    tmp_path: Path, statuses: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, Fake(statuses=statuses))
    assert main(["trials", str(tmp_path)]) == 0
    assert main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip()


def test_import_of_analysis_loads_no_tables() -> None:
    assert not _loaded("import analysis") & {"pandas", "numpy", *HEAVY}


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_trials_loads_no_more_than_a_table_needs(run: Path, json_: list[str]) -> None:
    arguments = ["trials", str(run), *json_]
    loaded = _loaded(f"from analysis.__main__ import main; main({arguments!r})")
    assert "pandas" in loaded
    assert not loaded & HEAVY


def test_every_command_of_the_table_is_there() -> None:
    for name in COMMANDS:
        assert import_module(f"analysis.commands.{name}").run.__doc__


def test_every_lent_method_is_a_function_that_says_what_it_does() -> None:
    lent = [
        (holder, name)
        for holder in (Study, Plots, JoinedPlots)
        for name, value in vars(holder).items()
        if isinstance(value, Lent)
    ]
    assert len(lent) > 25
    assert all(getattr(holder, name).__doc__ for holder, name in lent)


def test_report_command_prints_json_without_nan(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(study.folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["methods"].startswith("We trained")
    assert told["selection"]["trial_id"]
    assert 0 < told["hypervolume"]["value"] < 1
    assert told["front"]


@pytest.mark.parametrize(
    "fake",
    [
        Fake(statuses=()),
        Fake(statuses=("failed", "failed"), num_id=30),
        Fake(statuses=("finished",), num_id=30, epochs=1, below_base=None),
    ],
    ids=["empty", "all failed", "one trial"],
)
@pytest.mark.parametrize("command", ["trials", "margins", "select", "importance", "report"])
def test_every_command_answers_poor_studies_with_a_sentence(
    tmp_path: Path, fake: Fake, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, fake)
    code = main([command, str(tmp_path)])
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    assert not re.search(r"(?<!loss is )\b(nan|inf)\b", out + err)
    assert code == 0 or err.strip()


def test_names_with_brackets_stand_whole_in_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "my study [a=1] 100%")
    assert main(["trials", str(tmp_path / "my study [a=1] 100%")]) == 0
    assert "my study [a=1] 100%" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("command", ["trials", "list", "report"])
def test_run_whose_name_is_no_utf8_is_told_with_its_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    make_run(tmp_path / "plain")
    run = (tmp_path / "plain").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert main([command, str(run)]) == 0
    assert "caf\\xe9" in capsys.readouterr().out


def test_run_that_cannot_be_written_to_is_told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(run / "report.html"))

    monkeypatch.setattr("analysis.commands.report.write_made", refuse)
    assert main(["report", str(run)]) == 2
    told = capsys.readouterr().err
    assert "report.html: Permission denied. Check its permissions" in told


@pytest.mark.parametrize(
    ("error", "code", "wanted"),
    [
        (OSError(28, "No space left on device", "report.html"), 1, "disk is full"),
        (OSError("the font is broken"), 2, "the font is broken. Check its permissions"),
    ],
)
def test_what_a_system_says_is_told_as_it_is(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    code: int,
    wanted: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("analysis.commands.report.write_made", fail)
    assert main(["report", str(run)]) == code
    assert wanted in capsys.readouterr().err
