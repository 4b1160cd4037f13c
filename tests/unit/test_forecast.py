from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from study.bases.needed import base_spec
from study.data.roles import KeptPart, StudyData
from study.forecast import forecast
from study.records.files import WEIGHTS
from study.space.loading import load_space
from study.space.study_spec import StudySpec
from study.watch.progress import Progress
from tests.toys import toy_data, toy_images

SMALL = ["train.epochs=3", "train.epoch_images=32", "search.batch_size={choice: [8, 16]}"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path))


def _forecast(spec: StudySpec, data: StudyData | None = None) -> tuple[str, dict[str, str]]:
    progress = Progress(io.StringIO(), live=False, quiet=True)
    text = forecast(spec, data or toy_data(), progress, probe_s=0.0)
    lines = [line[4:] for line in text.splitlines() if line.startswith("#   ")]
    return text, {line[:18].strip(): line[18:] for line in lines}


def test_forecast_is_the_spec_and_then_counts_as_comments() -> None:
    spec = load_space("cifar10", [*SMALL, "tune.num_trials=5", "tune.max_concurrent=1"])
    text, told = _forecast(spec)
    assert yaml.safe_load(text) == spec.resolved()
    assert told["trials"] == "5, 1 at a time, each on cpu with 1 CPU thread(s)"
    assert told["epochs a trial"] == "3"
    assert told["images an epoch"].startswith("32 (32 ID")
    assert told["images in all"].split(",")[0] == f"{5 * 3 * 32}"
    assert told["base model"] == "none"
    assert told["search"].startswith("about ")


def test_second_forecast_takes_its_speed_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = load_space("cifar10", [*SMALL, "tune.num_trials=5"])
    first, _ = _forecast(spec)
    monkeypatch.setattr("study.forecast.make_recipe", None)  # a probe would call it
    assert _forecast(spec)[0] == first
    with pytest.raises(TypeError):
        _forecast(load_space("cifar10", [*SMALL, "model.dropout=0.1"]))


def test_forecast_counts_outliers_by_their_share_of_a_batch() -> None:
    spec = load_space("energy", [*SMALL, "train.outlier_batch_size=16"])
    _, told = _forecast(spec)
    # The probed point takes the least batch of 8 ID images, so 16 outliers triple the images.
    assert told["images an epoch"] == "96 (32 ID, the rest outliers)"


def test_forecast_caps_images_at_those_that_there_are() -> None:
    _, told = _forecast(load_space("cifar10", [SMALL[0], SMALL[2], "train.epoch_images=50000"]))
    assert told["images an epoch"].startswith("60 (60 ID")


def test_forecast_says_whether_the_base_is_there(tmp_path: Path) -> None:
    spec = load_space("energy", [*SMALL, "train.outlier_batch_size=16", "base.epochs=2"])
    key = base_spec(spec).key(toy_data(), torch.device("cpu"))
    assert "to be trained: 2 epochs" in _forecast(spec)[1]["base model"]
    (tmp_path / "bases" / key).mkdir(parents=True)
    (tmp_path / "bases" / key / WEIGHTS).touch()
    assert _forecast(spec)[1]["base model"] == f"{key}, in the cache"


def test_forecast_of_the_disk_grows_with_the_trials() -> None:
    sizes = []
    for trials in (10, 1000):
        _, told = _forecast(load_space("cifar10", [*SMALL, f"tune.num_trials={trials}"]))
        sizes.append(float(told["disk"].split()[1].replace(",", "")))
    assert sizes[1] > 20 * sizes[0]  # beside the states that a running trial resumes from


def _mib(spec: StudySpec, data: StudyData) -> float:
    return float(_forecast(spec, data)[1]["disk"].split()[1].replace(",", ""))


def test_forecast_of_the_disk_counts_confirming_runs_and_images_kept_apart() -> None:
    confirm = "select.confirm={top: 5, seeds: 10}"
    few = [*SMALL, "tune.num_trials=50", "tune.max_concurrent=1", "tune.scheduler=none"]
    kept = toy_images("kept", 2000, classes=3), {"far": toy_images("far", 4000)}
    data = replace(toy_data(), kept=KeptPart(*kept))
    less, more = load_space("cifar10", few), load_space("cifar10", [*few, confirm])
    search, plain, parted = _mib(less, toy_data()), _mib(more, toy_data()), _mib(more, data)
    # As many runs again as the search has, beside the four states of a live trial.
    assert plain / search == pytest.approx((50 + 50 + 4) / (50 + 4), rel=0.02)
    # Of each image and run, and of each of three epochs two scores and a prediction.
    of_kept = 50 * 6000 * 3 * (2 * 8 + 2) / 2**20
    assert parted - plain == pytest.approx(of_kept, abs=1.01)
    # Without a confirmation it is the trials of the search that are scored on them.
    assert _mib(less, data) - search == pytest.approx(of_kept, abs=1.01)


def test_forecast_tells_rungs_and_how_many_epochs_they_leave() -> None:
    longer = [*SMALL[1:], "train.epochs=9", "tune.num_trials=18", "tune.grace_epochs=1"]
    none = [*longer, "tune.finish=0"]
    _, told = _forecast(load_space("cifar10", none))
    assert told["rungs"] == (
        "at 1, 3 epochs one in 3 goes on, the others wait: about 42 epochs in all"
    )  # 18, then 6 for two more and 2 for six more
    _, told = _forecast(load_space("cifar10", [*longer, "tune.finish=4"]))
    assert told["rungs"].endswith(
        "about 54 epochs in all, 4 or more to their end (if the best stand above the floor)"
    )


def test_forecast_tells_where_no_rung_compares_anyone() -> None:
    _, told = _forecast(load_space("cifar10", [*SMALL, "tune.grace_epochs=3"]))
    assert told["rungs"].startswith("none: the grace is all epochs")
    _, told = _forecast(load_space("cifar10", [*SMALL, "tune.scheduler=none"]))
    assert "rungs" not in told


def test_forecast_of_the_disk_counts_the_states_that_stopped_trials_keep() -> None:
    few = [*SMALL, "tune.num_trials=50", "tune.max_concurrent=1"]
    kept = _mib(load_space("cifar10", few), toy_data())
    none = _mib(load_space("cifar10", [*few, "tune.scheduler=none"]), toy_data())
    assert kept / none == pytest.approx((3 * 50 + 4) / (50 + 4), rel=0.02)


def test_forecast_tells_first_points_and_a_searcher_that_never_gets_to_search() -> None:
    more = ["tune.first=[{lr: 0.1}, {batch_size: 8}]", "tune.num_trials=8", "tune.searcher=gp"]
    _, told = _forecast(load_space("cifar10", [*SMALL, *more]))
    assert told["first points"] == "lr 0.1; batch_size 8"
    assert told["searcher"] == (
        "gp draws at random until 8 trials have finished, and there are 8 in all: "
        "it is random search"
    )
