"""What the documentation says can be typed: its commands, links, pages of spaces, and its site."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ood_study.cli import COMMANDS
from study.arguments import parse
from study.errors import BadInput
from study.options import RunOptions
from study.space.loading import load_space
from study.terminal import Parser
from tests import space_pages

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]  # fmt: skip
COMMAND = (
    r"(?:python (?:run_study\.py|-m (?:analysis|study\.)|benchmarks/)|ood-study (?=[a-z]+ [^(])).+"
)
BEGIN, INLINE = re.compile(COMMAND), re.compile(f"`({COMMAND.replace('.+', '[^`]+')})`")
# Of spaces as they were: results.md says so, and keeps what was typed.
FORMER = {"docs/results.md"}


def _whole(lines: Sequence[str]) -> tuple[list[str], int]:
    """The words of the command that begins in the first line, and how many lines it has."""
    text = ""
    for number, line in enumerate(lines, start=1):
        text += f"{line.strip()}\n"
        if text.endswith("\\\n"):
            text = text[:-2] + " "
            continue
        try:
            return shlex.split(text, comments=True), number
        except ValueError:  # a quotation goes on
            continue
    raise ValueError(f"no end of the command: {lines[0]}")


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Where, and the words of a command."""
    for path in FILES:
        name, lines = path.relative_to(ROOT).as_posix(), path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if BEGIN.match(line.strip()):
                yield f"{name}:{number + 1}", _whole(lines[number:])[0]
            for inline in INLINE.findall(line):
                yield f"{name}:{number + 1}", shlex.split(inline)


def _plain(words: list[str]) -> list[str]:
    """Up to where the shell takes over."""
    ends = [place for place, word in enumerate(words) if word in (">", "|", "&&", "&", ";")]
    return [word for word in words[: min(ends, default=None)] if word != "..."]


ALL = [(place, _plain(words)) for place, words in _commands()]
SYNOPSES = [(p, w) for p, w in ALL if any(re.match(r"\[|[A-Za-z]+\|", word) for word in w)]
TYPED = [one for one in ALL if one not in SYNOPSES]


def _module(words: list[str]) -> tuple[str, list[str]]:
    """The module that answers, and its arguments."""
    if words[0] == "ood-study":
        return COMMANDS[words[1]][0], words[2:]
    if words[1] == "-m":
        return "analysis.__main__" if words[2] == "analysis" else words[2], words[3:]
    return "study.cli" if words[1] == "run_study.py" else words[1], words[2:]


class _Parsed(Exception):
    """The command line is good; nothing is done with it."""


@pytest.fixture
def parses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Parser.parse_args

    def parse_args(self: Parser, *arguments: Any, **more: Any) -> NoReturn:
        real(self, *arguments, **more)
        raise _Parsed

    monkeypatch.setattr(Parser, "parse_args", parse_args)


def _filled(arguments: list[str], folder: Path) -> list[str]:
    """With a folder in the place of each that the reader has."""
    before = ["", *arguments]
    folders = ("--data-root", "--resume", "--extend", "--replay", "--warm-start")
    filled = [
        str(folder) if option in folders else word
        for option, word in zip(before, arguments, strict=False)
    ]
    filled = ["0" if word == "TRIAL" else "+1" if word == "+N" else word for word in filled]
    return ["1" if word in ("N", "S", "X") else word for word in filled]


@pytest.mark.parametrize(("place", "words"), TYPED, ids=[place for place, _ in TYPED])
@pytest.mark.usefixtures("parses_alone")
def test_command_is_one_that_the_program_takes(
    place: str, words: list[str], tmp_path: Path
) -> None:
    module, arguments = _module(words)
    if module.startswith("benchmarks/"):
        assert (ROOT / module).is_file()
        return
    if module != "study.cli":
        with pytest.raises(_Parsed):
            import_module(module).main(arguments)
        return
    if arguments in (["--help"], ["--version"]):
        return
    options = parse(_filled(arguments, tmp_path))
    if isinstance(options, RunOptions) and place.split(":")[0] not in FORMER:
        shipped = options.space in space_pages.names()
        load_space(options.space if shipped else "energy", options.overrides, options.smoke)


@pytest.mark.parametrize(("place", "words"), SYNOPSES, ids=[place for place, _ in SYNOPSES])
def test_synopsis_names_options_that_there_are(
    place: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    module, arguments = _module(words)
    commands = arguments[0].split("|") if module == "analysis.__main__" else [""]
    for command in commands:
        with pytest.raises(SystemExit):
            import_module(module).main([*filter(None, [command]), "--help"])
        told = capsys.readouterr().out
        named = set(re.findall(r"--[a-z][a-z-]+", " ".join(arguments)))
        assert named <= set(re.findall(r"--[a-z][a-z-]+", told)), command


def test_commands_of_every_page_are_looked_at() -> None:
    places = {place.split(":")[0] for place, _ in ALL}
    assert {
        "README.md",
        "docs/tutorial.md",
        "docs/command-line.md",
        "docs/spaces/ssl.md",
    } <= places
    assert len(TYPED) > 100


def test_unknown_option_and_unknown_key_of_a_command_are_noticed() -> None:
    words = ["python", "run_study.py", "--space", "energy", "--set", "train.epoch=3"]
    options = parse(_module(words)[1])
    assert isinstance(options, RunOptions)
    with pytest.raises(BadInput, match=r"train\.epoch"):
        load_space("energy", options.overrides)
    with pytest.raises(BadInput, match="--dry-rnu"):
        parse(["--space", "energy", "--dry-rnu"])


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.*)$", path.read_text("utf-8"))
    return {space_pages.anchor(re.sub(r"[`*]", "", one)) for one in headings}


LINKS = [
    (path, target)
    for path in FILES
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    if "://" not in target
]


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    lost = []
    for path, target in LINKS:
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (heading and heading not in _anchors(there)):
            lost.append(f"{path.relative_to(ROOT)}: {target}")
    assert not lost
    assert len(LINKS) > 100


def test_pages_of_spaces_are_what_their_command_makes() -> None:
    found = {path.name: path.read_text("utf-8") for path in space_pages.PAGES.glob("*.md")}
    assert found == space_pages.pages(), "python tests/space_pages.py"


@pytest.mark.parametrize("space", space_pages.SHOWN)
def test_result_of_a_space_stands_in_the_results(space: str) -> None:
    one = space_pages.SHOWN[space]
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    section = text.split(f"## {one.section}\n", 1)[1].split("\n## ", 1)[0]
    for number in re.findall(r"\d+(?:\.\d+)?", f"{one.result} {one.time}".replace("CIFAR-10", "")):
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d]|\.\d)", section), number


def test_every_page_is_in_the_sites_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if page not in contents]


def test_reference_has_every_method_of_a_study_and_of_its_figures() -> None:
    lent = re.findall(
        r'(\w+) = Lent\("([\w.]+):(\w+)"\)', (ROOT / "analysis/study.py").read_text()
    )
    pages = ("index.md", "figures.md")
    told = "".join((ROOT / "docs" / "reference" / page).read_text("utf-8") for page in pages)
    for name, module, function in lent:
        place = rf"study\.(?:plots\.)?{name}\n\n::: analysis\.{module}\.{function}\n"
        assert re.search(place, told), name
    assert len(lent) > 30


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mkdocs") is None or find_spec("mkdocstrings") is None,
    reason="needs the extra docs",
)
def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "From nothing to the tested model" in (tmp_path / "site" / "index.html").read_text()
