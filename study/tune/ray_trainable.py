"""The trial as Ray Tune sees it: a function that reports each message of ``run_trial``."""

from __future__ import annotations

from typing import Any

from ray import tune

from study.training.assignment import Assignment
from study.training.trial import TrialSetting, run_trial


def trainable(config: dict[str, Any], setting: TrialSetting) -> None:
    """Run the assignment in ``config``; ``setting`` comes from the object store."""
    for message in run_trial(Assignment(**config["assignment"]), setting):
        tune.report({"message": message})
