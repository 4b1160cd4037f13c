from __future__ import annotations

import numpy as np
import pytest
from replay.table import ALPHAS, read_table, table_of

from tests.fake_table import (
    BASE_ACCURACY,
    BASE_FPR95,
    EPOCHS,
    NUM_RESAMPLES,
    SPACE,
    fake_rows,
    fake_space,
)


def test_table_of_rows_fills_every_epoch_and_alpha() -> None:
    rows = fake_rows(5)

    table = table_of(rows, fake_space())

    assert table.truth["fpr95"].shape == (5, EPOCHS, len(ALPHAS))
    assert table.noise["fpr95"].shape == (5, EPOCHS, len(ALPHAS), NUM_RESAMPLES)
    assert table.base == pytest.approx({"accuracy": BASE_ACCURACY, "fpr95": BASE_FPR95})
    strength = np.array([point["train.m_in.sd"] for point in table.points]) / 8
    # linear in epoch and alpha, so what was not recorded is what the formula says
    half_way = table.truth["fpr95"][:, 1, np.abs(ALPHAS - 0.5).argmin()]
    assert half_way == pytest.approx(BASE_FPR95 - 0.5 * strength * 0.5 * 0.5)


def test_table_of_rows_keeps_what_was_recorded() -> None:
    rows = fake_rows(2)

    table = table_of(rows, fake_space())

    recorded = rows[(rows["trial"] == 1) & (rows["epoch"] == EPOCHS) & (rows["alpha"] == 0.4)]
    place = 1, -1, np.abs(ALPHAS - 0.4).argmin()
    assert table.truth["accuracy"][place] == pytest.approx(recorded["accuracy"].item())
    assert table.noise["accuracy"][place] == pytest.approx(0.002 * np.arange(NUM_RESAMPLES))


def test_table_of_rows_with_an_unfinished_trial_leaves_it_out() -> None:
    rows = fake_rows(3)
    cut = rows[~((rows["trial"] == 2) & (rows["epoch"] == EPOCHS))]

    table = table_of(cut, fake_space())

    assert len(table.points) == 2


def test_read_table_of_two_bases_is_refused(tmp_path) -> None:
    space = tmp_path / "toy.yaml"
    space.write_text(SPACE.read_text())
    rows = fake_rows(1)
    for part, base in enumerate(("one", "other")):
        rows.assign(base=base).to_parquet(tmp_path / f"toy-0{part}.parquet")

    with pytest.raises(ValueError, match="different bases"):
        read_table(space)
