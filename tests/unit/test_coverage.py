"""docs/coverage.md and docs/numbers.md name commands and tests that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from study.space.loading import SPACES, load_space

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
NAMES = [path.stem for path in SPACES.glob("*.yaml")]
COMMANDS = sorted({code for code in re.findall(r"`([^`]+)`", TEXT) if code.split(" ")[0] in NAMES})
NUMBERS = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[^`]+)`", TEXT + NUMBERS)))


def _cells(row: str) -> list[str]:
    return row.strip().strip("|").split("|")


ROWS = [row for row in re.findall(r"^\| .*$", TEXT, re.M) if len(_cells(row)) == 4]
ROWS = [row for row in ROWS if not row.startswith("| what |")]


def test_coverage_names_every_space_of_the_tables() -> None:
    assert {command.split(" ")[0] for command in COMMANDS} >= {
        "energy", "outlier_exposure", "baselines", "ssl", "energy_ablation", "cifar10",
        "nordf", "nordf_ablation", "nordf_seed",
    }  # fmt: skip
    assert len(TESTS) > 25


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_table_loads(command: str) -> None:
    name, *options = shlex.split(command)
    assert options[:1] in ([], ["--set"])
    load_space(name, options[1:])


@pytest.mark.parametrize("name", TESTS)
def test_test_of_the_table_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert f"def {function or 'test_'}" in text


def test_every_simulation_that_numbers_are_shown_by_is_there() -> None:
    script = (ROOT / "benchmarks" / "coverage.py").read_text(encoding="utf-8")
    parts = set(re.findall(r"benchmarks/coverage\.py (\w+)", NUMBERS))
    assert parts == {"chosen", "confirmed", "areas", "seeds", "stop"}
    for part in parts:
        assert f"def {part}(" in script


def test_every_number_says_what_it_is_corrected_for_and_what_shows_it() -> None:
    table = NUMBERS.split("| number |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) > 10
    for row in table:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 6
        assert all(cells)


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:60] for row in ROWS])
def test_every_row_has_settings_that_load_a_test_and_what_was_seen(row: str) -> None:
    what, settings, test, seen = (cell.strip() for cell in _cells(row))
    assert what
    assert seen
    assert re.findall(r"`(tests/[^`]+)`", test)
    assert any(code.split(" ")[0] in NAMES for code in re.findall(r"`([^`]+)`", settings))
