from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

import analysis
from analysis.report.arms import effect_notes, p_text, retuned_notes
from analysis.report.findings import failures
from analysis.report.methods import methods_text
from analysis.report.sections import header
from analysis.results.effects import effects
from analysis.study import Study
from analysis.tables import Records
from study.records.files import TUNED
from study.records.ledger import Lines
from tests.fake_ablation import ARMS, make_ablation

RETUNE = {"num_trials": 2, "seed": 1000, "search": {"lr": {"loguniform": [1e-3, 1e-2]}}}


SAID = "re-tuned with 2 trials over lr at seed 1000"


def value(arm: str, seed: int) -> float:
    return 0.5 + 0.01 * seed + 0.1 * ARMS.index(arm)


def retuned(folder: Path, *, failed: str = "") -> Study:
    """Two tuning trials an arm come first, each better than any measuring one."""
    seeds = (1000, 1001, 0, 1, 2)
    make_ablation(
        folder,
        lambda arm, seed: 0.01 if seed >= 1000 else value(arm, seed),
        seeds=seeds,
        failed=[(failed, 1000)] if failed else (),
        retune=RETUNE,
    )
    path = folder / "trials.parquet"
    frame = pd.read_parquet(path)
    frame["tunes"] = frame["seed"] >= 1000
    frame["seed"] = frame["seed"].replace(1001, 1000)
    frame.to_parquet(path, index=False)
    spec = folder / "spec.yaml"
    resolved = yaml.safe_load(spec.read_text(encoding="utf-8"))
    resolved["ablate"]["seeds"] = [0, 1, 2]
    spec.write_text(yaml.safe_dump(resolved), encoding="utf-8")
    return analysis.load(folder)


def plain(folder: Path) -> Study:
    return make_ablation(folder, value, seeds=(0, 1, 2))


@pytest.mark.parametrize(
    ("p", "text"), [(0.25, "0.25"), (1.0, "1"), (0.00012, "0.00012"), (1e-9, "< 0.0001")]
)
def test_p_text(p: float, text: str) -> None:
    assert p_text(p) == text


def test_effects_and_means_leave_tuning_trials_out(tmp_path: Path) -> None:
    study, other = retuned(tmp_path / "a"), plain(tmp_path / "b")
    pd.testing.assert_frame_equal(study.effects("val/fpr95"), other.effects("val/fpr95"))
    pd.testing.assert_frame_equal(study.arm_means("val/fpr95"), other.arm_means("val/fpr95"))


def test_records_keep_tuning_trials_apart_with_their_epochs(tmp_path: Path) -> None:
    retuned(tmp_path)
    records = Records.read(tmp_path)
    assert (len(records.trials), len(records.tuning)) == (12, 8)
    assert set(records.epochs["trial_id"]) <= set(records.trials["trial_id"])


def test_selection_never_takes_a_tuning_trial(tmp_path: Path) -> None:
    retuned(tmp_path)
    records = Records.read(tmp_path)
    chosen = analysis.load(tmp_path).select().trial_id
    assert chosen in set(records.trials["trial_id"])


def test_notes_and_methods_say_how_arms_were_retuned(tmp_path: Path) -> None:
    retuned(tmp_path, failed=ARMS[2])
    records = Records.read(tmp_path)
    notes = effect_notes(records, effects(records, "val/fpr95"))
    assert sum(SAID in note for note in notes) == 1
    assert f"{ARMS[2]}: 1 of 2 tuning trials failed; failed ones lose." in notes
    assert methods_text(records).count(SAID) == 1


def test_notes_name_the_best_point_of_each_arm_and_its_trial(tmp_path: Path) -> None:
    retuned(tmp_path)
    chosen = {"event": TUNED, "point": 1, "objective": 0.2, "settings": {"lr": 0.00243291}}
    ledger = [{**chosen, "arm": arm, "trial": i} for i, arm in enumerate(ARMS[:2], start=4)]
    notes = retuned_notes(replace(Records.read(tmp_path), ledger=Lines(ledger)))
    told = "baseline lr 0.002433 (trial 00004); energy_weight=0 lr 0.002433 (trial 00005)"
    assert f"Best points: {told}." in notes


def test_header_counts_tuning_trials_apart_and_their_time_with_the_rest(tmp_path: Path) -> None:
    retuned(tmp_path)
    records = Records.read(tmp_path)
    told = header(records)
    assert (told["num_trials"], told["beside"]) == ("12 trials", " and 8 tuning trials")
    seconds = records.trials["time_s"].sum() + records.tuning["time_s"].sum()
    assert told["hours"] == f"{seconds / 60:.1f} min"


def test_failed_tuning_trial_stands_among_the_failures(tmp_path: Path) -> None:
    study = retuned(tmp_path, failed=ARMS[2])
    (failed,) = study.tuning.loc[study.tuning["status"] == "failed", "trial_id"]
    (cause,) = failures(study)["causes"]
    assert cause["trials"] == [f"{failed} (tuning)"]


def test_ablation_without_retuning_says_nothing_of_it(tmp_path: Path) -> None:
    plain(tmp_path)
    assert retuned_notes(Records.read(tmp_path)) == []
    assert "re-tuned" not in methods_text(Records.read(tmp_path))
