"""Makes the folder of an ablation that never ran, with the numbers that a test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import analysis
from analysis.study import Study
from tests.fake_run import Fake, make_run

SETS = {"blobs": (12, 1)}
FACTORS: dict[str, Any] = {"energy_weight": [0.0, 0.3], "plain": {"sgd": {"nesterov": False}}}
ARMS = ("baseline", "energy_weight=0", "energy_weight=0.3", "plain=sgd")
SHIFT = {"energy_weight=0": 0.1, "energy_weight=0.3": -0.1, "plain=sgd": 0.0}
SEEDS = {0: 0.30, 1: 0.41, 2: 0.52}
Value = Callable[[str, int], float | None]


def shifted(arm: str, seed: int) -> float:
    """Each seed's value and each arm's shift, which grows with the seed."""
    return SEEDS[seed] + SHIFT.get(arm, 0.0) + 0.01 * seed * (arm != "baseline")


def make_ablation(
    path: Path,
    value: Value,
    *,
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1, 2),
    design: str = "one_at_a_time",
    factors: dict[str, Any] | None = None,
    failed: Sequence[tuple[str, int]] = (),
    stopped: Sequence[tuple[str, int]] = (),
    begun: int | None = None,
    **ablate: Any,
) -> Study:
    """Write a run and read it back.

    Args:
        path: its folder.
        value: (arm, seed) -> val/fpr95; None leaves the trial pruned.
        arms: as the design makes them.
        seeds: of the design.
        design: its name.
        factors: its factors.
        failed: trials that failed.
        stopped: trials that were not run, since the rule had stopped their arm.
        begun: number of trials that began, seed-major; all where None.
        ablate: more keys of the section.
    """
    factors = factors or FACTORS
    section = {"design": design, "seeds": list(seeds), "factors": factors, **ablate}
    spec = {"search": None, "ablate": section}
    points = [(arm, seed) for seed in seeds for arm in arms][:begun]
    statuses = tuple("failed" if point in failed else "finished" for point in points)
    run = make_run(path, Fake(statuses, epochs=1, num_id=20, ood_sets=SETS, spec=spec))
    frame = pd.read_parquet(run.trials)
    frame["arm"], frame["seed"] = [arm for arm, _ in points], [seed for _, seed in points]
    numbers = [None if point in failed else value(*point) for point in points]
    frame["val/fpr95"] = np.array([np.nan if one is None else one for one in numbers])
    frame["val/id_accuracy"] = 0.9
    pruned = [
        one is None and point not in failed for one, point in zip(numbers, points, strict=True)
    ]
    frame.loc[pruned, "status"] = "pruned"
    over = [point in stopped for point in points]
    frame.loc[over, "status"] = "stopped"
    frame.loc[over, ["val/fpr95", "val/id_accuracy"]] = np.nan
    frame.to_parquet(run.trials, index=False)
    return analysis.load(path)
