"""The searched space as numbers, every trial at the same budget, and a forest over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from analysis.tables import Records, direction_of
from study.counted import counted
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE

Floats = NDArray[np.float64]
FEWEST = 12  # trials under which nothing is fitted at all
_PER_PARAMETER, _ENOUGH = 10, 30
_FEW_LEVELS = 5  # a number with at most so many values is a category to Optuna
NOT_USED = "not used"  # level of a parameter that a trial did not have


def enough_trials(num_parameters: int) -> int:
    """The rule: 10 trials a searched parameter, and never fewer than 30."""
    return max(_ENOUGH, _PER_PARAMETER * num_parameters)


@dataclass(frozen=True)
class Space:
    """Trials of one study, compared at one budget.

    Attributes:
        columns: searched parameters (``param/...``) that took more than one value.
        values: their values as recorded, one row a trial.
        codes: (N, d) the same as numbers: log10 where the search was on a log scale, the place
            among the sorted levels for texts, one below the least for what a trial did not have.
        target: (N,) the metric, fractions.
        trial_id: (N,) of each row.
        epoch: the budget: each trial counts as it stood after this epoch.
        sign: 1 where a smaller metric is better, else -1.
    """

    columns: tuple[str, ...]
    values: pd.DataFrame
    codes: Floats
    target: Floats
    trial_id: tuple[str, ...]
    epoch: int
    sign: float

    @property
    def cost(self) -> Floats:
        """Ranks of the metric in [0, 1], 0 = best; equal values share a rank.

        Ranks, since the objective jumps at the floor on ID accuracy: as it is, that one jump
        would drown all that happens on either side of it.
        """
        ranks = pd.Series(self.sign * self.target).rank(method="average").to_numpy()
        return np.asarray((ranks - 1) / max(1, len(ranks) - 1))


def space_of(study: Records, metric: str = OBJECTIVE) -> Space:
    """Every trial at the same budget, its parameters as numbers.

    The budget is the latest epoch that at least `enough_trials` trials reached (else the latest
    that the most reached): ASHA lets only the best trials go on, so finished trials alone would
    be few and picked by the very metric. What a trial scores at a budget follows the study's
    checkpoint rule among the epochs up to it.

    Raises:
        BadInput: if nothing was searched or varied, no epoch has the metric, or fewer than
            ``FEWEST`` trials reached any epoch.
    """
    place = str(study.folder.path)
    sign = 1.0 if direction_of(metric) == "min" else -1.0
    columns = [c for c in study.searched if study.trials[c].astype(str).nunique() > 1]
    if not columns:
        raise BadInput(Fault(place, "search", "no parameter was searched over several values"))
    epochs = study.epochs
    if metric not in epochs.columns or epochs[metric].notna().sum() == 0:
        raise BadInput(Fault(place, metric, "no epoch has a value of this metric"))
    rule = OBJECTIVE if OBJECTIVE in epochs.columns else metric
    rows = epochs[np.isfinite(epochs[metric]) & np.isfinite(epochs[rule])]
    rows = rows[rows["trial_id"].isin(study.trials["trial_id"])]
    epoch = _budget(rows, enough_trials(len(columns)))
    reached = rows.groupby("trial_id")["epoch"].max()
    rows = rows[rows["trial_id"].isin(reached[reached >= epoch].index) & (rows["epoch"] <= epoch)]
    if (num := rows["trial_id"].nunique()) < FEWEST:
        told = f"only {counted(num, 'trial')} can be compared, fewer than {FEWEST}"
        raise BadInput(Fault(place, "", told, "Run more trials; --extend adds them."))
    last = study.checkpoint_rule == "last"
    by = "epoch" if last else rule
    keep = "last" if last or direction_of(rule) == "max" else "first"
    one = rows.sort_values(["trial_id", by], kind="stable").drop_duplicates("trial_id", keep=keep)
    one = one.set_index("trial_id")
    trials = study.trials.set_index("trial_id").loc[one.index]
    values = trials[columns]
    codes = np.column_stack([as_codes(values[c], log=study.is_log(c)) for c in columns])
    target = one[metric].to_numpy(dtype=np.float64)
    names = tuple(str(name) for name in one.index)
    return Space(tuple(columns), values, codes, target, names, epoch, sign)


def _budget(rows: pd.DataFrame, wanted: int) -> int:
    reached = rows.groupby("trial_id")["epoch"].max()
    counts = {int(e): int((reached >= e).sum()) for e in sorted(rows["epoch"].unique())}
    if not counts:
        return 0
    least = min(wanted, max(counts.values()))
    return max(epoch for epoch, count in counts.items() if count >= least)


def is_category(values: pd.Series) -> bool:
    """Whether a parameter's values are levels: texts, booleans, or a handful of numbers."""
    numeric = pd.to_numeric(values, errors="coerce")
    return _has_texts(values, numeric) or numeric.nunique() <= _FEW_LEVELS


def _has_texts(values: pd.Series, numeric: pd.Series) -> bool:
    """Whether some values are truth values, or no numbers."""
    is_bool = values.dropna().map(lambda v: isinstance(v, bool | np.bool_)).any()
    return bool(is_bool or numeric.notna().sum() != values.notna().sum())


def as_codes(values: pd.Series, *, log: bool = False) -> Floats:
    """One parameter as numbers, see ``Space.codes``."""
    numeric = pd.to_numeric(values, errors="coerce").astype("float64")
    if _has_texts(values, numeric):
        levels = {level: float(i) for i, level in enumerate(sorted(set(map(_level, values))))}
        return np.array([levels[_level(value)] for value in values])
    codes = pd.Series(np.log10(numeric.to_numpy())) if log else numeric
    return np.asarray(codes.fillna((codes.min() if codes.notna().any() else 0.0) - 1.0))


def _level(value: Any) -> str:
    return NOT_USED if pd.isna(value) else str(value)


def as_levels(values: pd.Series) -> list[str]:
    """A parameter as texts for Optuna: levels, or quarters where only some trials have it."""
    numeric = pd.to_numeric(values, errors="coerce")
    if is_category(values):
        return [_level(value) for value in values]
    quarter = pd.qcut(numeric, 4, labels=False, duplicates="drop")
    return [NOT_USED if pd.isna(one) else f"quarter {one:.0f}" for one in quarter]


def fit_forest(codes: Floats, target: Floats, seed: int, num_trees: int = 64) -> Any:
    """A random forest regression of ``target`` (N,) on ``codes`` (N, d)."""
    forest = RandomForestRegressor(num_trees, min_samples_leaf=2, random_state=seed, n_jobs=1)
    return forest.fit(codes, target)
