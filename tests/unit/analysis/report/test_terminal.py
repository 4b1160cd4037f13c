"""analysis.report.terminal: tables of any width that cut nothing."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from analysis.report.terminal import TOGETHER, table_text


def trials(together: int = 3) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "trial": ["00000", "00001"],
            "status": ["finished", "pruned"],
            "FPR95 (%)": ["60.9", "100.0"],
            "lr": ["0.001", "–"],
            "a_rather_long_parameter": ["12.5", "3"],
            "scheduler_step": ["epoch", "batch"],
        }
    )
    frame.attrs[TOGETHER] = together
    return frame


def test_table_without_a_width_has_a_row_on_a_line_and_numbers_to_the_right() -> None:
    assert table_text("run: 2 trials", trials()).plain.splitlines() == [
        "run: 2 trials",
        "trial  status    FPR95 (%)     lr  a_rather_long_parameter  scheduler_step",
        "00000  finished       60.9  0.001                     12.5  epoch",
        "00001  pruned        100.0      –                        3  batch",
    ]


def test_table_that_does_not_fit_has_its_parameters_under_each_trial() -> None:
    assert table_text("run: 2 trials", trials(), 70).plain.splitlines() == [
        "run: 2 trials",
        "trial  status    FPR95 (%)",
        "00000  finished       60.9",
        "    lr 0.001, a_rather_long_parameter 12.5, scheduler_step epoch",
        "00001  pruned        100.0",
        "    a_rather_long_parameter 3, scheduler_step batch",
    ]


def test_table_of_columns_that_do_not_go_together_keeps_what_fits() -> None:
    lines = table_text("t", trials(together=0), 70).plain.splitlines()
    assert lines[1].endswith("a_rather_long_parameter")
    assert lines[3] == "    scheduler_step epoch"


@pytest.mark.parametrize("width", [12, 20, 40, 80, 100, 120])
def test_table_of_any_width_shows_every_trial_and_value_whole(width: int) -> None:
    text = table_text("run: 2 trials", trials(), width).plain
    for value in ("00000", "00001", "finished", "pruned", "60.9", "100.0", "0.001", "12.5"):
        assert re.search(rf"(?<!\S){re.escape(value)}(?![^\s,])", text)
    values = {"a_rather_long_parameter 12.5", "scheduler_step epoch"}
    longest = max(map(len, values)) + 5
    assert max(map(len, text.splitlines())) <= max(width, longest)


def test_table_without_rows_is_its_heading() -> None:
    assert "trial" in table_text("none", trials().iloc[:0], 80).plain
