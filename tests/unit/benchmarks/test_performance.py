"""docs/performance.md says what benchmarks/measured says."""

from __future__ import annotations

import performance

ROW = {"name": "fast", "measured": 1.4, "unit": "", "n": 3, "spread": [1.3, 1.6]}
HOW = {"command": "python x.py", "hardware": "2 cores", "date": "2026-01-31"}
PARTS = {"Speed": (performance.Target("fast", "how fast", "<= 1.5"),)}


def test_page_is_what_the_command_writes_of_the_measured() -> None:
    assert performance.PAGE.read_text(encoding="utf-8") == performance.page(performance.read())


def test_page_of_a_measured_target_has_its_number_spread_and_command() -> None:
    text = performance.page([ROW | HOW], PARTS)
    assert "| how fast | <= 1.5 | 1.4 | 1.3 to 1.6 | 3 | yes |" in text
    assert "`python x.py`, 2026-01-31, 2 cores" in text


def test_page_of_a_missed_target_says_no() -> None:
    assert "| **no** |" in performance.page([ROW | HOW | {"measured": 1.6}], PARTS)


def test_page_without_a_measurement_says_so() -> None:
    assert "| how fast | <= 1.5 | not measured |" in performance.page([], PARTS)


def test_page_of_a_row_that_is_no_target_puts_it_below() -> None:
    row = {**ROW, **HOW, "name": "more", "what": "something else", "target": ""}
    _, below = performance.page([row], PARTS).split("## Beside the targets")
    assert "| something else |  | 1.4 |" in below
