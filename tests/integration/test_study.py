"""A whole study as a user runs it, and every file and command that comes with it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from analysis.__main__ import main
from study.cli import main as study_command
from study.models.weights import load_weights
from study.records.files import STATUSES, WEIGHTS, RunFolder
from study.records.ledger import read_ledger
from study.records.scores import read_scores
from study.scoring.measuring import OOD_METRICS
from study.space.loading import load_resolved
from tests.integration.runs import NUM_TRIALS, SMALL, Shell, new_study

pytestmark = pytest.mark.ray
STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "paused": TrialState.WAITING,
}


@pytest.fixture(scope="module")
def run(finished: Path) -> RunFolder:
    return RunFolder(finished)


@pytest.fixture(scope="module")
def trials(run: RunFolder) -> pd.DataFrame:
    return pd.read_parquet(run.trials)


def test_result_goes_to_stdout_and_logs_to_stderr(run: RunFolder) -> None:
    out = (run.path.parent / "stdout.txt").read_text()
    told = (run.path.parent / "stderr.txt").read_text()
    assert out.startswith("Selected trial")
    assert "letters_val" in told
    assert "Traceback" not in told
    assert "ray" not in told.lower().replace("array", "").replace("gray", "")


def test_run_leaves_every_file_of_the_contract_and_no_scratch(run: RunFolder) -> None:
    files = {path.name for path in run.path.iterdir()} - {"leaks"}  # where pairs were found
    assert files == {
        "spec.yaml", "manifest.json", "trials.parquet", "epochs.parquet", "states.parquet",
        "scores", "checkpoints", "study.db", "tensorboard", "report.html", "selection.json",
        "ledger.jsonl", "code.diff",
    }  # fmt: skip
    assert not [path for path in run.path.rglob("*") if path.name.endswith(".tmp")]


def test_spec_on_record_is_the_resolved_one(run: RunFolder) -> None:
    spec = load_resolved(run.spec)
    assert yaml.safe_load(run.spec.read_text()) == spec.resolved()
    assert (spec.recipe, spec.tune.num_trials, spec.train["epochs"]) == ("energy", NUM_TRIALS, 3)


def test_manifest_tells_data_leaks_base_and_floor(run: RunFolder) -> None:
    manifest = json.loads(run.manifest.read_text())
    assert manifest["command"].startswith("python run_study.py --space energy")
    assert manifest["data"]["demo"] is False
    roles = manifest["data"]["roles"]
    assert all(len(role["fingerprint"]) == 64 and role["num_images"] for role in roles.values())
    assert set(manifest["data"]["test_fingerprints"]) > {"test_id"}
    assert "rule" in manifest["data"]["leak_check"]
    log = (run.path.parent / "stderr.txt").read_text()
    # Another study that shares the cache may have trained it first.
    assert manifest["base"]["trained_by_this_study"] is ("Base model: resnet20" in log)
    assert manifest["base"]["saw_validation"] is False
    assert math.isfinite(manifest["base"]["id_energy_mean"])
    told = {
        "value": 0.0,
        "reference": "absolute",
        "how": "absolute",
        "confidence": None,
        "confidence_of_choice": None,
    }
    assert manifest["floor"] == told


def test_trials_table_is_typed_and_whole(trials: pd.DataFrame) -> None:
    assert trials["trial_id"].tolist() == [f"{number:05d}" for number in range(NUM_TRIALS)]
    assert set(trials["status"]) <= set(STATUSES) - {"running", "paused"}
    kinds = {"epochs": "int64", "seed": "int64", "time_s": "float64", "val/fpr95": "float64"}
    kinds |= {"param/train.lr": "float64", "param/train.batch_size": "int64"}
    assert {name: str(trials[name].dtype) for name in kinds} == kinds
    means = {f"val/{name}" for name in ("id_accuracy", "objective", *OOD_METRICS)}
    params = {f"param/train.{name}" for name in ("m_in.sd", "m_in.value", "momentum", "epochs")}
    assert means | params | {"reason", "checkpoint_epoch"} <= set(trials.columns)
    assert {"param/model.backbone", "param/model.dropout"} <= set(trials.columns)
    assert (trials["param/train.m_in.value"] < trials["param/train.m_out.value"]).all()


def test_epochs_table_agrees_with_trials_and_ledger(run: RunFolder, trials: pd.DataFrame) -> None:
    epochs = pd.read_parquet(run.epochs).set_index(["trial_id", "epoch"])
    counts = epochs.groupby(level="trial_id").size()
    for row in trials.to_dict("records"):
        name = row["trial_id"]
        assert counts[name] == row["epochs"]
        own = epochs.loc[name]
        assert own["val/objective"].idxmin() == row["checkpoint_epoch"]
        assert own["val/objective"].min() == row["val/objective"]
        assert own.loc[row["checkpoint_epoch"], "val/fpr95"] == row["val/fpr95"]
    results = [r for r in read_ledger(run.ledger)[0] if r["event"] == "result"]
    assert len(results) == len(epochs)
    for result in results:
        row = epochs.loc[(f"{result['number']:05d}", result["epoch"])]
        assert row["val/fpr95"] == result["metrics"]["val/fpr95"]


def test_scores_of_every_epoch_and_weights_of_every_trial_are_kept(
    run: RunFolder, trials: pd.DataFrame
) -> None:
    for row in trials.to_dict("records"):
        scores = read_scores(run, row["trial_id"])
        assert sorted({*scores.epochs.tolist()}) == list(range(1, row["epochs"] + 1))
        assert len(scores.sets) >= 3  # validation ID and at least two OOD sets
        folder = run.trial_checkpoints(row["trial_id"])
        assert load_weights(folder / WEIGHTS)[1]["epoch"] == str(row["checkpoint_epoch"])
        kept = list(folder.glob("epoch_*"))  # what only a resume or a promotion would need
        assert len(kept) == (row["status"] == "pruned")


def test_status_is_the_same_in_table_ledger_and_database(
    run: RunFolder, trials: pd.DataFrame
) -> None:
    rows = optuna.load_study(study_name=None, storage=f"sqlite:///{run.study_db}").trials
    assert [row.state for row in rows] == [STATES[status] for status in trials["status"]]
    last = {r["number"]: r["decision"] for r in read_ledger(run.ledger)[0] if "decision" in r}
    assert [last[number] for number in range(NUM_TRIALS)] == trials["status"].tolist()


def test_tensorboard_has_hyperparameters_and_curves_of_every_trial(
    run: RunFolder, trials: pd.DataFrame
) -> None:
    for row in trials.to_dict("records"):
        events = EventAccumulator(str(run.tensorboard / row["trial_id"]))
        events.Reload()
        steps = [event.step for event in events.Scalars("val/fpr95")]
        assert steps == list(range(1, row["epochs"] + 1))
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        told = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        assert told["lr"].number_value == row["param/train.lr"]


def test_selection_is_of_a_finished_trial_with_its_interval(
    run: RunFolder, trials: pd.DataFrame
) -> None:
    selection = json.loads(run.selection.read_text())
    row = trials.set_index("trial_id").loc[selection["trial_id"]]
    assert row["status"] == "finished"
    assert selection["value"] == pytest.approx(row["val/fpr95"])
    finished = trials[trials["status"] == "finished"]
    assert row["val/fpr95"] == finished["val/fpr95"].min()
    assert {"rule", "metric", "interval", "threshold", "candidates", "winner"} <= selection.keys()


def test_ledger_says_how_the_study_began_and_what_was_selected(run: RunFolder) -> None:
    records, _ = read_ledger(run.ledger)
    names = [record["event"] for record in records]
    assert names[0] == "started"
    assert names[-1] == "selected"
    assert names.count("ask") == NUM_TRIALS
    assert {"command", "spec_sha256", "data_sha256"} <= records[0].keys()


def test_report_opens_without_a_network(run: RunFolder) -> None:
    text = run.report.read_text()
    assert 'src="http' not in text
    assert 'href="http' not in text.replace('href="https://arxiv', "")
    assert "demo" not in text.lower()


def test_analysis_command_prints_the_trials(finished: Path, shell: Shell) -> None:
    code, out = shell.run("-m", "analysis", "trials", str(finished), "--json")
    assert code == 0, shell.told()
    assert len(json.loads(out)) == NUM_TRIALS


def test_analysis_gives_the_frozen_choice_and_the_report(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", str(copied), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trial_id"] == json.loads((copied / "selection.json").read_text())["trial_id"]
    assert main(["report", str(copied)]) == 0
    assert "report.html" in capsys.readouterr().out


def test_final_test_gives_the_contracts_table_once(
    copied: Path, shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = shell.without_ray(main, "test", str(copied))
    assert code == 0, shell.told()
    table = pd.read_parquet(copied / "final_test" / "results.parquet")
    columns = {"dataset", "score", "n_id", "n_ood"}
    columns |= {f"{name}{end}" for name in OOD_METRICS for end in ("", "_low", "_high")}
    assert columns <= set(table.columns)
    assert {"winner", "base"} <= set(table["model"])
    assert {"msp", "energy"} <= set(table["score"])
    assert (table["n_ood"] > 0).all()
    opened = [r for r in read_ledger(copied / "ledger.jsonl")[0] if r["event"] == "test opened"]
    assert len(opened) == 1
    assert main(["test", str(copied)]) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert "--again" in told


def test_second_study_in_the_same_folder_is_refused(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "ledger.jsonl").read_bytes()
    monkeypatch.chdir(finished.parent)  # where the data are
    assert study_command(new_study(str(finished))) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert f"--resume {finished}" in told
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_study_that_no_floor_lets_through_exits_1_and_trains_no_base_again(
    finished: Path, shell: Shell
) -> None:
    settings = ["train.epochs=1", "select.floor={id_accuracy: {at_least: 1.0}}"]
    small = [one for one in SMALL if not one.startswith(("train.epochs", "select"))]
    code, out = shell.without_ray(
        study_command,
        "--space", "energy", "--data-root", "data", "--smoke", "--num-trials", "2",
        "--out", "high", "--set", *small, *settings,
    )  # fmt: skip
    told = shell.told()
    assert (code, out) == (1, "")
    assert "The study failed: " in told
    assert "Traceback" not in told
    run = RunFolder(shell.folder / "high")
    assert run.report.exists()
    assert not run.selection.exists()
    here, there = (json.loads((p / "manifest.json").read_text()) for p in (run.path, finished))
    assert here["base"]["key"] == there["base"]["key"]
    assert here["base"]["trained_by_this_study"] is False
    assert here["base"]["fingerprint"] == there["base"]["fingerprint"]


@pytest.mark.usefixtures("finished")  # its base is trained there
def test_diverging_trials_end_the_study_with_their_reason(shell: Shell) -> None:
    # Small batches, so that an epoch has a second step, after the first has ruined the weights.
    small = [one for one in SMALL if not one.startswith("search.batch_size")]
    wild = ["search.batch_size={choice: [8, 16]}", "search.lr={loguniform: [1.0e+20, 1.0e+21]}"]
    code, _ = shell.without_ray(
        study_command,
        "--space", "energy", "--data-root", "data", "--smoke", "--num-trials", "3", "--out", "nan",
        "--max-concurrent", "1", "--set", *small, *wild, "tune.max_failures=2",
    )  # fmt: skip
    told = shell.told()
    assert code == 1
    assert "2 trials in a row failed" in told
    run = RunFolder(shell.folder / "nan")
    table = pd.read_parquet(run.trials)
    assert table["status"].tolist() == ["failed"] * 2
    assert table["cause"].tolist() == ["diverged"] * 2
    assert all("epoch 1" in reason for reason in table["reason"])
    rows = optuna.load_study(study_name=None, storage=f"sqlite:///{run.study_db}").trials
    assert [row.state for row in rows] == [TrialState.FAIL] * 2
    assert "epoch 1" in run.failures.read_text()


@pytest.fixture(scope="module")
def demo(
    tmp_path_factory: pytest.TempPathFactory, caches: dict[str, str], data: Path
) -> tuple[RunFolder, str, str]:
    """A finished study of the classifier on the embedded demo, its stdout and its stderr."""
    shell = Shell(tmp_path_factory.mktemp("demo"), caches, data)
    ours = ("--data", "demo", "--smoke", "--num-trials", "2")
    small = ("--set", "train.epochs=1", "train.warmup_epochs=0", "train.epoch_images=256")
    begin = ("--space", "cifar10", "--out", "classifier")
    code, out = shell.without_ray(study_command, *begin, *ours, *small)
    assert code == 0, shell.told()
    return RunFolder(shell.folder / "classifier"), out, shell.told()


def test_classifier_space_selects_by_accuracy_and_reports(
    demo: tuple[RunFolder, str, str],
) -> None:
    run, out, _ = demo
    assert "Selected trial" in out
    assert out.count("ID accuracy  ") == 1
    assert run.report.stat().st_size > 10_000


def test_study_on_the_embedded_demo_says_so_everywhere(demo: tuple[RunFolder, str, str]) -> None:
    run, out, told = demo
    assert out.startswith("EMBEDDED DEMO, not CIFAR-10")
    assert "demo" in told
    assert "embedded demo" in run.report.read_text().lower()
    data = json.loads(run.manifest.read_text())["data"]
    assert data["demo"] is True
    assert data["notes"]


def test_leak_check_of_the_embedded_demo_tells_next_to_nothing_and_drops_nothing(
    demo: tuple[RunFolder, str, str],
) -> None:
    told = json.loads(demo[0].manifest.read_text())["data"]["leak_check"]
    assert all(one["num_weaker"] == 1 for one in told["collisions"])
    assert not told["dropped"]
