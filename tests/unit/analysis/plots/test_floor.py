from __future__ import annotations

from pathlib import Path

import pytest

import analysis
from study.errors import BadInput
from tests.fake_run import Fake, make_run


def test_held_draws_every_trial_and_the_confidence_that_was_asked_for(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(confidence=0.8))
    study = analysis.load(tmp_path)
    (axes,) = study.plots.held().axes
    labels = [one.get_label() for one in (*axes.collections, *axes.lines)]
    assert {"finished", "pruned", "confidence asked for"} <= set(labels)
    drawn = sum(len(one.get_offsets()) for one in axes.collections if one.get_label() != "chosen")
    assert drawn == study.held()["holds"].notna().sum()


def test_held_without_a_floor_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=30, below_base=None))
    with pytest.raises(BadInput, match="nothing to draw"):
        analysis.load(tmp_path).plots.held()
