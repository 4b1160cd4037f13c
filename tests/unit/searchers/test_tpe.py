"""study.searchers.methods.tpe: fitted to so many trials at most, by a rule on the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution

from study.records.ledger import Ledger
from study.searchers.catalog import Asked, build_sampler
from study.tune.decisions import RULES
from tests.toys import run_toy_search

LOOK: dict[str, Any] = {"scheduler": "none", "num_epochs": lambda point: 1}
BOUND = 12


def _params(path: Path, num_trials: int = 24, **changes: Any) -> list[dict[str, Any]]:
    return [one.params for one in run_toy_search(path, num_trials, **LOOK, **changes).trials]


def test_study_begun_without_the_rule_goes_on_with_a_fit_to_all(tmp_path: Path) -> None:
    former = {name: rule for name, rule in RULES.items() if name != "tpe"}
    for name, rules in (("former", former), ("now", RULES)):
        with Ledger(tmp_path / name) as ledger:
            ledger.append("started", rules=rules)
    whole = _params(tmp_path / "whole", fitted_to=None)
    assert _params(tmp_path / "former", fitted_to=BOUND) == whole
    assert _params(tmp_path / "now", fitted_to=BOUND) != whole


def test_bound_keeps_the_best_trials_however_old_they_are() -> None:
    space = {"x": FloatDistribution(0, 1)}
    study, places = optuna.create_study(), np.random.default_rng(0).uniform(size=60)
    for number, x in enumerate([0.9, 0.88, *places]):
        value = float(number > 1) + number / 1000
        study.add_trial(
            optuna.trial.create_trial(params={"x": x}, distributions=space, value=value)
        )
    drawn = []
    for seed in range(40):
        asked = Asked(seed, {}, frozenset(), 1, False, [], BOUND)
        study.sampler = build_sampler("tpe", asked)
        drawn.append(study.ask(space).params["x"])
    assert np.mean(np.abs(np.array(drawn) - 0.9) < 0.1) > 0.4  # a fifth by chance
