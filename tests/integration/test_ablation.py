"""Two arms at two seeds, really trained; and the same under Ray, as a command, killed, resumed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import analysis
from study.records.files import RunFolder, write_bytes, write_json
from study.space.loading import load_space
from tests.integration.faults import search_here
from tests.integration.runs import Shell, decisions, num_events
from tests.toys import toy_setup

SPACE = """
recipe: classifier
train: {epochs: 2, epoch_images: 48, batch_size: 16, augment: none}
ablate:
  design: leave_one_out
  seeds: [0, 1]
  factors: {plain: {sgd: {nesterov: false}}}
tune: {max_concurrent: 1}
select: {metric: val/id_accuracy}
"""
ARMS = ["baseline", "plain=sgd"] * 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An ablation of the classifier on toy images."""
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "arms.yaml").write_text(SPACE)
    spec = load_space(str(folder / "arms.yaml"))
    run = RunFolder(folder / "run")
    write_bytes(run.spec, spec.dump().encode())
    write_json(run.manifest, {"own_score": spec.own_score})
    session = search_here(run.path, toy_setup(spec))
    assert session.error is None
    assert session.exhausted
    return run


@pytest.fixture(scope="module")
def trials(run: RunFolder) -> pd.DataFrame:
    return pd.read_parquet(run.trials)


def test_every_arm_ran_at_every_seed(trials: pd.DataFrame) -> None:
    assert trials["arm"].tolist() == ARMS
    assert trials["seed"].tolist() == [0, 0, 1, 1]
    assert trials["status"].tolist() == ["finished"] * 4
    assert trials["param/train.nesterov"].tolist() == [True, False] * 2


def test_arms_of_one_seed_share_their_random_streams(run: RunFolder) -> None:
    # The first step sees the same weights and images, so the first epochs are near each other
    # within a seed; across seeds weights, images and their order all differ.
    epochs = pd.read_parquet(run.epochs)
    first = epochs[epochs["epoch"] == 1]["train/loss"].tolist()
    assert abs(first[0] - first[1]) < abs(first[0] - first[2])
    assert first[0] != first[1]


def test_tensorboard_has_arm_and_seed_among_the_parameters(run: RunFolder) -> None:
    told = []
    for number in range(4):
        events = EventAccumulator(str(run.tensorboard / f"{number:05d}"))
        events.Reload()
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        params = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
        told.append((params["arm"].string_value, params["seed"].number_value))
    assert told == list(zip(ARMS, [0, 0, 1, 1], strict=True))


def test_analysis_tells_the_effect_with_its_pairs(run: RunFolder) -> None:
    table = analysis.load(run.path).effects()
    assert table["effect"].unique().tolist() == ["plain=sgd"]
    assert table[["n", "num_failed", "num_missing"]].to_numpy().tolist() == [[2, 0, 0]] * 2


@pytest.mark.ray
@pytest.mark.slow
def test_command_killed_and_resumed_is_the_same_and_cannot_be_extended(shell: Shell) -> None:
    (shell.folder / "arms.yaml").write_text(SPACE)
    begin = ["--space", "arms.yaml", "--data-root", "data"]
    code, _ = shell.study(*begin, "--out", "whole")
    assert code == 0, shell.told()
    cut: Path = shell.folder / "cut"
    shell.stopped([*begin, "--out", "cut"], lambda: num_events(cut, "result") >= 3, signal.SIGKILL)
    assert num_events(cut, "result") < 8, "it was too quick to be killed"
    code, _ = shell.study("--resume", "cut")
    assert code == 0, shell.told()
    assert decisions(cut) == decisions(shell.folder / "whole")
    code, out = shell.run("-m", "analysis", "ablation", "cut", "--json")
    assert code == 0, shell.told()
    assert {row["n"] for row in json.loads(out)} == {2}
    code, _ = shell.study("--extend", "cut", "--num-trials", "+1")
    assert code == 2
    assert "Traceback" not in shell.told()
