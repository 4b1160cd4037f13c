from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

import analysis
from study.errors import BadInput
from tests.fake_run import Fake, make_run


def _words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


def test_load_of_two_studies_joins_them_by_name(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Fake(num_id=30))
    make_run(tmp_path / "b", Fake(num_id=30, statuses=("finished", "failed")))
    joined = analysis.load(tmp_path / "a", tmp_path / "b")
    assert joined.trials.groupby("study").size().to_dict() == {"a": 10, "b": 2}
    assert joined.trials.columns[0] == joined.epochs.columns[0] == "study"
    assert joined.trials["status"].dtype == "category"
    assert joined.faults == ()


def test_studies_on_different_data_joined_get_a_sentence(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Fake(num_id=30))
    make_run(tmp_path / "b", Fake(num_id=30, ood_sets={"letters": (20, 1)}))
    joined = analysis.load(tmp_path / "a", tmp_path / "b")
    assert "a and b were validated on different data" in joined.faults[0]
    assert "letters" in joined.faults[0]


def test_studies_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    for parent in ("one", "two"):
        make_run(tmp_path / parent / "run", Fake(num_id=30))
    joined = analysis.load(tmp_path / "one" / "run", tmp_path / "two" / "run")
    assert list(joined.studies) == ["one/run", "two/run"]


def test_choices_and_differences_of_two_studies(tmp_path: Path) -> None:
    small: dict[str, Any] = {"num_id": 60, "ood_sets": {"blobs": (40, 1)}}
    make_run(tmp_path / "a", Fake(**small))
    make_run(tmp_path / "b", Fake(**small, statuses=("finished",) * 3))
    both = analysis.load(tmp_path / "a", tmp_path / "b")
    table = both.choices()
    assert table["study"].tolist() == ["a", "b"]
    apart = both.differences()
    energy = apart[(apart["score"] == "energy") & (apart["dataset"] == "mean")].iloc[0]
    value = table["value"]
    assert energy["fpr95"] == pytest.approx(value[0] - value[1])
    assert energy["pair"] == "a − b"
    assert {"a", "b", "chosen"} <= set(_words(both.plots.trade()).split())


def test_studies_on_other_data_have_no_difference(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Fake(num_id=30))
    make_run(tmp_path / "b", Fake(num_id=30, ood_sets={"letters": (20, 1)}, statuses=("failed",)))
    both = analysis.load(tmp_path / "a", tmp_path / "b")
    with pytest.raises(BadInput, match="cannot be compared"):
        both.differences()
    assert "no trial finished" in both.choices()["problem"][1]
