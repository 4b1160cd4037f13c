from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from study.errors import BadInput, Fault, exit_code
from study.terminal import Parser, console, pasted, typed_path, visible
from study.watch.progress import Progress

HOSTILE = "a\x1b[31m\rb\x07\x9b2J\u202etxt"


def test_visible_shows_what_a_terminal_would_obey_as_escapes() -> None:
    assert visible(HOSTILE) == r"a\x1b[31m\x0db\x07\u009b2J\u202etxt"


@pytest.mark.parametrize("text", ["two\nlines\tand a tab", "ü − [/b] 日本 ", "\u200c"])
def test_visible_leaves_what_is_only_read(text: str) -> None:
    assert visible(text) == text


def test_visible_shows_a_byte_that_is_no_utf8() -> None:
    assert visible(b"a\xff".decode(errors="surrogateescape")) == r"a\xff"


def test_typed_path_has_a_home_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert typed_path("~/data") == tmp_path / "data"
    assert typed_path("~nobody-of-this-name/data") == Path("~nobody-of-this-name/data")


@pytest.mark.parametrize(
    "argument",
    ["runs/energy", "my run", "it's", "$(touch no)", "a\x1b[2Jb", "two\nlines", "a\\b\x07'c", ""],
)
def test_pasted_command_is_read_back_by_a_shell_and_shows_nothing_raw(argument: str) -> None:
    command = pasted(["printf", "%s|", argument, "end"])
    assert visible(command) == command
    assert "\n" not in command
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert told.stdout == f"{argument}|end|"


def test_console_shows_brackets_and_names_of_pictures_as_they_are() -> None:
    stream = io.StringIO()
    table = Table("set [b]")
    table.add_row("a [/b]")
    table.add_row(":heart: [red]x")
    screen = console(file=stream, width=60)
    screen.print(table)
    screen.print("a [/b]", soft_wrap=True)
    for told in ("set [b]", "a [/b]", ":heart: [red]x"):
        assert told in stream.getvalue()


def test_console_whose_reader_has_left_does_not_end_the_process() -> None:
    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        console(file=Left()).print("a")


def test_console_writes_colours_of_its_own_and_no_escape_of_a_text() -> None:
    stream = io.StringIO()
    screen = console(file=stream, width=60, force_terminal=True, color_system="standard")
    screen.print(Text(HOSTILE, style="red"))
    assert r"a\x1b[31mb\u009b2J\u202etxt" in stream.getvalue()
    assert stream.getvalue().startswith("\x1b[31m")


def test_exit_code_says_a_fault_without_obeyed_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run() -> None:
        raise BadInput(Fault(HOSTILE, "", "is wrong"))

    assert exit_code(run) == 2
    assert r"a\x1b[31m" in capsys.readouterr().err


def test_parser_repeats_what_was_typed_without_obeyed_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        Parser().parse_args([HOSTILE])
    assert r"unrecognized arguments: a\x1b[31m" in capsys.readouterr().err


def test_live_view_takes_any_text() -> None:
    stream = io.StringIO()
    with Progress(stream, live=True, quiet=False) as progress:
        progress.study_started(1, "val/set [b]/fpr95")
        progress.trial_started("00000", {"train.name": "a [/b] \x07"})
        with progress.stage("Read [/b] \x07", total=2) as stage:
            stage.advance(text="x\x07[/b]")
        progress.warning("a [/b] \x07")
    assert "\x07" not in stream.getvalue()
    assert "a [/b]" in stream.getvalue()
