"""Trials as runs of Weights & Biases: the study a group, in the project ``ood-study``.

``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_MODE`` and ``WANDB_DIR`` hold as ever. Offline, where
a run cannot be gone on with, the files of a trial that goes on are written anew.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from study.extras import needed
from study.records.files import RunFolder, write_json
from study.tune.trackers import ENDED, TrackedStudy, TrackedTrial

PROJECT = "ood-study"
_TOLD = "told.json"  # trial -> status and epochs that its run has


def folder_of(run: RunFolder) -> Path:
    """Where W&B keeps its files of a study."""
    return Path(os.environ.get("WANDB_DIR") or run.path).resolve() / "wandb"


def refusal() -> str:
    """Why W&B's server would take no run; empty where it would, and offline."""
    wandb = needed("wandb")
    if wandb.setup().settings.mode != "online":
        return ""
    try:
        return "" if wandb.login(prompt=False) else "has no key for its server"
    except wandb.errors.Error as error:
        return f"is not let in by its server ({str(error).splitlines()[0]})"


class WandbTracker:
    """Tells W&B's server, or its files where it is offline."""

    def __init__(self, study: TrackedStudy) -> None:
        """Look at what was told before."""
        self._wandb = needed("wandb")
        self._study = study
        self._open: dict[str, Any] = {}
        self._next: dict[str, int] = {}
        self._file = folder_of(study.run) / f"{study.key}_{_TOLD}"
        self._told: dict[str, Any] = (
            json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        )

    def show(self, trial: TrackedTrial) -> None:
        """Add what the trial's run lacks."""
        now = [trial.status, len(trial.epochs)]
        if trial.name not in self._open:
            if self._told.get(trial.name) == now:
                return
            self._begin(trial)
        run, lacking = self._open[trial.name], self._next[trial.name]
        for epoch in range(lacking, len(trial.epochs) + 1):
            run.log(trial.numbers(epoch) | {"epoch": epoch}, step=epoch, commit=True)
        self._next[trial.name] = max(lacking, len(trial.epochs) + 1)
        if trial.status == "running":
            return
        run.summary.update({"Status": trial.status, "Reason": trial.reason})
        run.finish(exit_code=int(trial.status == "failed"))
        del self._open[trial.name]
        if trial.status in ENDED:
            self._told[trial.name] = now
            write_json(self._file, self._told)

    def _begin(self, trial: TrackedTrial) -> None:
        key = f"{self._study.key}-{trial.name}"
        for former in folder_of(self._study.run).glob(f"offline-run-*-{key}"):
            shutil.rmtree(former)
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            group=self._study.title,
            name=trial.name,
            id=key,
            resume="allow",
            reinit="create_new",
            config={**trial.params, "study": dict(self._study.about)},
            dir=folder_of(self._study.run).parent,
            settings=self._wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
            ),
        )
        self._open[trial.name] = run
        self._next[trial.name] = max(1, run.step)  # of a run that goes on: its next one
