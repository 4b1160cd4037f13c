from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

import analysis
from analysis.__main__ import main
from analysis.report.advice import Advice, advice_of, prices_table
from analysis.report.page import make_report
from tests.fake_run import Fake, make_run

pytestmark = pytest.mark.usefixtures("unrendered")

TIGHT = Fake(statuses=("finished",) * 8 + ("pruned",) * 6, num_id=600, below_base=-0.02)


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).replace("\u00a0", " ")


@pytest.fixture
def tight(tmp_path: Path) -> Path:
    make_run(tmp_path, TIGHT)
    return tmp_path


def test_advice_of_a_tight_floor_says_what_a_lower_one_buys_and_what_to_do(tight: Path) -> None:
    advice = advice_of(analysis.load(tight))
    assert advice.prices is not None
    assert advice.prices.tight
    told = " ".join(advice.lines)
    assert "Your floor is tight: " in told
    assert re.search(r"What a lower floor would buy in FPR95, points \[95 %\]: −0\.5: ", told)
    assert re.search(
        r"If \d\.\d points of ID accuracy may be given: floor: \{id_accuracy: \{below_base: ", told
    )
    table = prices_table(advice.prices)
    assert table["floor"].tolist()[2] == "yours"


def test_advice_is_on_the_page_and_in_its_numbers(tight: Path) -> None:
    study = analysis.load(tight)
    report = make_report(study)
    text = _text(report.html)
    for line in advice_of(study).lines:
        assert line in text
    assert report.content["advice"]["floor"]["tight"] is True
    assert "probability that its true ID accuracy reaches the floor" in text


def test_advice_is_told_where_nothing_could_be_selected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, Fake(statuses=("finished",) * 4, num_id=400, below_base=-0.1))
    assert main(["select", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "none of the 4 finished trials reaches the floor" in err
    assert "Your floor is tight: 0 of 4 trials" in err


def test_select_tells_the_advice_and_how_surely_the_floor_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path)
    assert main(["select", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "The floor holds with a probability of " in out
    assert "Other floors, on halves that did not choose" in out
    assert "Expected FPR95 of the choice on random halves of validation" in out
    assert main(["select", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert 0 <= content["floor_holds"] <= 1
    assert content["candidates"][0]["floor_holds"] == content["floor_holds"]
    assert content["advice"]["budget"]["table"][0]["trials"] == 1


def test_advice_of_an_ablation_or_without_trials_is_none(tmp_path: Path) -> None:
    make_run(tmp_path, Fake(statuses=()))
    study = analysis.load(tmp_path)
    assert advice_of(study) == Advice()
    assert advice_of(study).plain() == {"floor": None, "budget": None, "edges": []}
