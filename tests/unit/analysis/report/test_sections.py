"""The report's newer parts: confirmation, correction, the path, panels."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

import analysis
from analysis.__main__ import main
from analysis.choice.confirmation import candidates_to_confirm
from analysis.conclusion import conclude
from analysis.report.findings import confirmation_rows
from analysis.report.page import make_report
from study.errors import BadInput
from study.records.files import RunFolder
from study.records.ledger import Ledger
from tests.fake_ablation import make_ablation
from tests.fake_confirm import FAKE, confirm
from tests.fake_run import Fake, make_run

PATH = ("baseline", "energy_weight=0.3", "energy_weight=0.3 + plain=sgd")
STEPS: dict[str, Any] = {"energy_weight": [0.3], "plain": {"sgd": {"nesterov": False}}}


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


def test_trials_command_lists_the_confirming_ones(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = candidates_to_confirm(run, 1)
    confirm(run, {first: [(0.80, 1.5), (0.80, 1.6), (0.80, 1.4)]})
    assert main(["trials", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "Candidates trained anew on fresh seeds" in out
    assert "00005" in out
    assert main(["trials", str(run.path), "--json"]) == 0
    assert capsys.readouterr().out.count('"arm": "confirm"') == 3


def test_corrected_value_has_the_unit_of_what_stands_beside_it(run: RunFolder) -> None:
    with Ledger(run.ledger) as ledger:
        ended = conclude(run, ledger)
    found = analysis.load(run.path).correct()
    low, high = found.interval
    assert f"{found.corrected:.3f}, 90 % interval {low:.3f} to {high:.3f}" in ended
    text = _text(run.report.read_text())
    assert f"{100 * found.corrected:.1f} %, 90 % interval {100 * low:.1f} to" in text
    assert found.how in text
    assert "Chosen in the resamples" in text


def _path(folder: Path, **more: Any) -> Any:
    def value(arm: str, seed: int) -> float:
        return 0.5 - 0.1 * PATH.index(arm) + 0.01 * seed * PATH.index(arm)

    return make_ablation(folder, value, arms=PATH, design="path", factors=STEPS, **more)


def test_path_names_what_each_step_adds_and_its_difference(tmp_path: Path) -> None:
    words = _words(_path(tmp_path).plots.path())
    for word in ("baseline", "+ energy_weight=0.3", "+ plain=sgd", "−9.0 [", "n = 3"):
        assert word in words


def test_path_with_failures_counts_them_and_is_in_the_report(tmp_path: Path) -> None:
    study = _path(tmp_path, failed=[(PATH[2], 1)])
    assert "n = 2, 1 failed" in _words(study.plots.path())
    assert "The path: each arm keeps" in make_report(study).html


def test_path_of_another_design_or_without_a_finished_trial_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="do not follow from each other"):
        make_ablation(tmp_path / "a", lambda arm, seed: 0.5).plots.path()
    with pytest.raises(BadInput, match="no arm has a finished trial"):
        _path(
            tmp_path / "b", failed=[(arm, seed) for arm in PATH for seed in range(3)]
        ).plots.path()


def test_report_of_an_ablation_names_arms_seeds_and_their_panels(tmp_path: Path) -> None:
    study = _path(tmp_path)
    for number in range(3):
        panel = RunFolder(tmp_path).panel(f"{number:05d}", 1)
        panel.parent.mkdir(parents=True)
        panel.write_bytes(b"\x89PNG")
    html = make_report(study).html
    assert "path ablation, seeds 0, 1, 2" in html
    assert html.count("data:image/png;base64") == 3
    assert "Reconstructions and saliency maps: baseline, trial 00000, epoch 1" in html
    assert "Prefer the other" not in html


def test_panel_of_another_trial_stands_in_where_the_chosen_one_left_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, Fake(num_id=30, statuses=("finished",) * 2, epochs=2))
    study = analysis.load(tmp_path)
    (other,) = set(study.trials["trial_id"]) - {study.select(10).trial_id}
    panel = run.panel(other, 2)
    panel.parent.mkdir(parents=True)
    panel.write_bytes(b"\x89PNG")
    assert f"maps: trial {other}, epoch 2" in make_report(study).html


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
