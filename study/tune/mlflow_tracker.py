"""Trials as runs of MLflow: the study an experiment.

On the server that ``MLFLOW_TRACKING_URI`` names, else in ``mlflow.db`` of the run's folder.
"""

from __future__ import annotations

import logging
import os
import re

from study.extras import needed
from study.records.files import RunFolder
from study.tune.trackers import TrackedStudy, TrackedTrial

STUDY, TRIAL, STATUS, REASON, EPOCHS = "study", "trial", "Status", "Reason", "epochs"
"""Tags of a run."""
_STATUS = {
    "running": "RUNNING",
    "paused": "SCHEDULED",
    "finished": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
}
_NOT_IN_A_NAME = re.compile(r"[^\w\-. :/]", re.ASCII)
_PAGE = 1000


def address(run: RunFolder) -> str:
    """Where the runs go."""
    from sqlalchemy import URL  # of use to few studies

    local = URL.create("sqlite", database=str(run.path.resolve() / "mlflow.db"))
    return _server() or local.render_as_string()


def _server() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", "")


class MLflowTracker:
    """Tells an MLflow server, or its local database."""

    def __init__(self, study: TrackedStudy) -> None:
        """Find the experiment, or begin it, and the runs that it has of this study."""
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("mlflow", "alembic"):  # their news of tables made and migrated
            logging.getLogger(name).setLevel(logging.WARNING)
        self._entities = needed("mlflow", "mlflow.entities")
        tracking = needed("mlflow", "mlflow.tracking")
        self._client = tracking.MlflowClient(tracking_uri=address(study.run))
        self._study = study
        found = self._client.get_experiment_by_name(study.title)
        if found is None:  # a server knows itself where artifacts go; here it would be ./mlruns
            beside = None if _server() else (study.run.path.resolve() / "mlflow").as_uri()
            self._experiment = self._client.create_experiment(study.title, beside)
        else:
            self._experiment = found.experiment_id
        self._runs = self._known()

    def _known(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Trial -> its run's id and tags."""
        runs: dict[str, tuple[str, dict[str, str]]] = {}
        page = None
        while page != "":
            of_study = f"tags.{STUDY} = '{self._study.key}'"
            found = self._client.search_runs(
                [self._experiment], of_study, max_results=_PAGE, page_token=page
            )
            for run in found:
                runs[run.data.tags[TRIAL]] = (run.info.run_id, dict(run.data.tags))
            page = found.token or ""
        return runs

    def show(self, trial: TrackedTrial) -> None:
        """Add what the trial's run lacks; the server takes one number of one moment once."""
        run, tags = self._runs.get(trial.name) or self._begin(trial)
        told = {STATUS: trial.status, REASON: trial.reason, EPOCHS: str(len(trial.epochs))}
        if {name: tags.get(name) for name in told} == told:
            return
        lacking = range(int(tags.get(EPOCHS, 0)) + 1, len(trial.epochs) + 1)
        for epoch in lacking:
            moment = _milliseconds(trial.times[epoch - 1])
            metrics = [
                self._entities.Metric(_name(name), value, moment, epoch)
                for name, value in trial.numbers(epoch).items()
            ]
            self._client.log_batch(run, metrics=metrics)
        status = _STATUS[trial.status]
        if trial.ended is not None:
            self._client.set_terminated(run, status, _milliseconds(trial.ended))
        elif trial.status != tags.get(STATUS):
            self._client.update_run(run, status)
        # Last: they say what the run holds.
        new = [self._entities.RunTag(name, value) for name, value in told.items()]
        self._client.log_batch(run, tags=new)
        self._runs[trial.name] = run, tags | told

    def _begin(self, trial: TrackedTrial) -> tuple[str, dict[str, str]]:
        tags = {_name(name): str(value) for name, value in self._study.about.items()}
        tags |= {STUDY: self._study.key, TRIAL: trial.name, STATUS: "running"}
        run = self._client.create_run(
            self._experiment, _milliseconds(trial.begun), tags, run_name=trial.name
        )
        params = [
            self._entities.Param(_name(name), str(value)) for name, value in trial.params.items()
        ]
        self._client.log_batch(run.info.run_id, params=params)
        return run.info.run_id, tags


def _name(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return _NOT_IN_A_NAME.sub("_", name)


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
