from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.choice.confirmation import candidates_to_confirm
from analysis.report.findings import confirmation_rows
from analysis.report.page import make_report
from study.errors import BadInput
from study.records.files import RunFolder
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import Fake, make_run

pytestmark = pytest.mark.usefixtures("unrendered")


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def _words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "energy", FAKE)


def test_report_sets_each_candidate_beside_its_fresh_seeds(run: RunFolder) -> None:
    first, second = candidates_to_confirm(run, 2)
    better = [(0.80, 2.6), (0.80, 2.0), (0.80, 2.3)]
    confirm(run, {first: [(0.80, 1.5), None, (0.80, 1.6)], second: better})
    study = analysis.load(run.path)
    table = study.confirmed()
    assert table["winner"].tolist() == [False, True]
    assert table["num_finished"].tolist() == [2, 3]
    report = make_report(study)
    text = _text(report.html)
    row = table.iloc[1]
    assert "trained anew on 3 fresh seeds each" in text
    assert f"{100 * row['discovery']:.1f} {100 * row['mean']:.1f} [" in text
    assert ", ".join(f"{100 * value:.1f}" for value in row["values"]) in text
    assert "1 of 3 runs failed" in text
    assert "the winner's median seed" in text
    assert not re.search(r"\bnan\b", text)
    assert report.content["confirmation"]["mean"].tolist() == table["mean"].tolist()
    assert "fresh seeds" in _words(study.plots.confirmed())


def test_report_says_that_a_confirmation_has_not_ended(tmp_path: Path) -> None:
    select = {"metric": "val/fpr95", "floor": None, "confirm": {"top": 2, "seeds": 3}}
    make_run(tmp_path, Fake(num_id=30, below_base=None, spec={"select": select}))
    study = analysis.load(tmp_path)
    told = confirmation_rows(study)
    assert told is not None
    assert "0 of at most 6 runs have ended" in told["waiting"]
    assert told["waiting"] in _text(make_report(study).html)
    with pytest.raises(BadInput, match="no candidate was trained anew"):
        study.plots.confirmed()


def test_report_says_that_nobody_was_confirmed(run: RunFolder) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [None] * 3})
    text = _text(make_report(analysis.load(run.path)).html)
    assert "No candidate was confirmed" in text
    assert "3 of 3 runs failed" in text
    assert not re.search(r"\bnan\b", text)


def test_report_of_a_study_without_confirmation_has_no_such_section(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(num_id=30, statuses=("finished",), epochs=1))
    study = analysis.load(tmp_path)
    assert confirmation_rows(study) is None
    assert study.confirmed().empty
    assert "<h2>Confirmation</h2>" not in make_report(study).html
