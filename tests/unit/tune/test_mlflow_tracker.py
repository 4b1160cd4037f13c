from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.records.files import RunFolder
from study.tune.mlflow_tracker import MLflowTracker, address
from study.tune.shown import Shown
from study.tune.trackers import TrackedStudy, TrackedTrial

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
pytestmark = pytest.mark.slow  # its database takes seconds to be made

TRIAL = TrackedTrial(
    name="00003",
    params={"train.m_in.sd": 2.0, "train.schedule": "cosine"},
    epochs=(),
    times=(),
    status="running",
    reason="",
    begun=1767261600.0,
    ended=None,
    shown=Shown(lambda _: {}, own_score="energy"),
)


def _after(epochs: int, **more: Any) -> TrackedTrial:
    values = [{"val/fpr95": 0.1 * n, "val/objective": 0.1 * n} for n in range(1, epochs + 1)]
    return replace(
        TRIAL,
        epochs=[one | {"val/a, b/energy/fpr95": 0.6} for one in values],
        times=[1767261600.0 + n for n in range(1, epochs + 1)],
        **more,
    )


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedStudy:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "what? #1 50%"
    folder.mkdir()
    return TrackedStudy("energy", "abc", RunFolder(folder), {"base, val/fpr95": 0.7})


def _runs(study: TrackedStudy) -> Any:
    client = mlflow.tracking.MlflowClient(tracking_uri=address(study.run))
    experiment = client.get_experiment_by_name("energy")
    return client, client.search_runs([experiment.experiment_id])


def test_trial_is_a_run_with_params_curves_status_and_reason(study: TrackedStudy) -> None:
    tracker = MLflowTracker(study)
    tracker.show(TRIAL)
    for epoch in (1, 2):
        tracker.show(_after(epoch))
    tracker.show(_after(2, status="pruned", reason="place 2 of 3", ended=1767261700.0))
    client, (run,) = _runs(study)
    assert run.data.params == {"train.m_in.sd": "2.0", "train.schedule": "cosine"}
    assert run.info.run_name == "00003"
    assert (run.info.status, run.info.start_time) == ("KILLED", 1767261600000)
    assert run.info.end_time == 1767261700000
    assert run.data.tags["Status"] == "pruned"
    assert run.data.tags["Reason"] == "place 2 of 3"
    assert run.data.tags["base_ val/fpr95"] == "0.7"
    history = client.get_metric_history(run.info.run_id, "val/fpr95")
    assert [(one.step, one.value) for one in history] == [(1, 0.1), (2, 0.2)]
    assert run.data.metrics["checkpoint/val/fpr95"] == 0.1  # the best epoch's, not the last one's
    assert run.data.metrics["val_ by set/FPR95 a_ b"] == 0.6
    assert [path.name for path in study.run.path.iterdir()] == ["mlflow.db"]


def test_resumed_trial_goes_on_in_its_run_and_tells_no_epoch_twice(study: TrackedStudy) -> None:
    tracker = MLflowTracker(study)
    tracker.show(_after(1))
    tracker.show(_after(1, status="paused"))
    assert _runs(study)[1][0].info.status == "SCHEDULED"
    tracker = MLflowTracker(study)
    tracker.show(_after(1))
    assert _runs(study)[1][0].info.status == "RUNNING"
    tracker.show(_after(3, status="finished", ended=1767261700.0))
    client, (run,) = _runs(study)
    history = client.get_metric_history(run.info.run_id, "val/objective")
    assert [one.step for one in history] == [1, 2, 3]
    assert run.info.status == "FINISHED"


def test_epoch_that_was_told_before_a_kill_is_there_once(study: TrackedStudy) -> None:
    tracker = MLflowTracker(study)
    tracker.show(_after(1))
    client, (run,) = _runs(study)
    client.set_tag(run.info.run_id, "epochs", "0")  # the kill came between numbers and tag
    MLflowTracker(study).show(_after(1))
    assert len(client.get_metric_history(run.info.run_id, "val/objective")) == 1
