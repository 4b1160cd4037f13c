"""Which searched parameters mattered, by three methods, and which stand out from noise.

Beside every parameter stands a random one: its own values, shuffled over the trials. What does
not beat the best of the random ones is noise (shadow features: Kursa and Rudnicki, "Feature
selection with the Boruta package", Journal of Statistical Software 36, 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from analysis.numbers import parameter_label
from analysis.statistics.surrogate import (
    Floats,
    Space,
    as_levels,
    enough_trials,
    fit_forest,
    is_category,
    space_of,
)
from analysis.tables import Records
from study.counted import counted
from study.errors import BadInput, Fault
from study.scoring.objective import OBJECTIVE
from study.seeding import numpy_generator

PED_ANOVA, FANOVA, PERMUTATION = "ped_anova", "fanova", "permutation"
METHODS = (PED_ANOVA, FANOVA, PERMUTATION)
METHOD_LABELS = {PED_ANOVA: "PED-ANOVA", FANOVA: "fANOVA", PERMUTATION: "Permutation"}
NUM_RESAMPLES = 25  # in a report as in the command: seconds, and one number for both
SURE = 0.95  # share of resamples in which an important parameter beats every random one
_TREES = 16  # of one bootstrap's forest: many small ones tell the spread, not one large one
_TOP, _TOP_TRIALS = 0.1, 5  # PED-ANOVA's own default, and what its authors want at least
_SHUFFLES = 3
_MOST = 200  # trials of one bootstrap: more would take minutes and change little


def importance(
    study: Records,
    metric: str = OBJECTIVE,
    *,
    methods: Sequence[str] = METHODS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int | None = None,
) -> pd.DataFrame:
    """Importance of every searched parameter for the rank of ``metric``, with its spread.

    PED-ANOVA (Watanabe, Bansal and Hutter, arXiv:2304.10255) and fANOVA (Hutter, Hoos and
    Leyton-Brown, ICML 2014) are Optuna's, on a study rebuilt from the tables; permutation is the
    error that shuffling a parameter adds to a random forest on the trials left out of its
    sample. Each runs on ``num_resamples`` bootstraps of trials (of at most 200 each),
    each with fresh random parameters. Trials are compared at one budget, see
    ``space_of``. A searcher that homes in, such as TPE, shows where it
    looked, not the whole space.

    Args:
        study: its records.
        metric: to explain; a column of the epochs.
        methods: of ``METHODS``.
        num_resamples: bootstraps of trials, at least 2.
        seed: of them; the study's own where None.

    Returns:
        One row a parameter and method, the most important parameter first: parameter (column of
        the trials), method, importance (mean over the bootstraps of its share of what all
        parameters, the random ones included, account for; in [0, 1]), low and high (5 % and 95 %
        of the bootstraps), noise (95 % quantile of the best random parameter's share),
        beats_random (share of bootstraps in which it beats every random parameter), important
        (beats_random >= 0.95), n (trials), num_parameters, epoch (the budget), metric, enough
        (n >= 10 a parameter and >= 30).

    Raises:
        BadInput: where nothing was searched, a method or the metric is unknown, or fewer than 12
            trials can be compared.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or num_resamples < 2:
        rule = f"methods are {', '.join(METHODS)}; at least 2 resamples"
        raise BadInput(Fault("importance", "", rule, value=unknown or num_resamples))
    space = space_of(study, metric)
    seed = study.seed if seed is None else seed
    drawn: dict[str, list[Floats]] = {method: [] for method in methods}
    for draw in range(num_resamples):
        for method, shares in _one_draw(study, space, methods, seed, draw).items():
            drawn[method].append(shares)
    rows = [row for m in methods for row in _rows(space, m, np.array(drawn[m]))]
    table = pd.DataFrame(rows).assign(metric=metric)
    means = table.groupby("parameter")["importance"].transform("mean")
    place = table["method"].map(METHODS.index)
    return table.iloc[
        np.lexsort([place, table["parameter"].map(space.columns.index), -means])
    ].reset_index(drop=True)


def _one_draw(
    study: Records, space: Space, methods: Sequence[str], seed: int, draw: int
) -> dict[str, Floats]:
    """Shares of the d parameters, then of d random ones, (2d,) for each method."""
    rng = numpy_generator(seed, "importance", draw)
    n = len(space.target)
    shuffles = [rng.permutation(n) for _ in space.columns]
    sample = rng.integers(0, n, min(n, _MOST))
    shadows = [space.codes[order, i] for i, order in enumerate(shuffles)]
    codes = np.column_stack([space.codes, *shadows])
    found: dict[str, Floats] = {}
    if PERMUTATION in methods:
        found[PERMUTATION] = _permutation(codes, space.cost, sample, rng)
    if PED_ANOVA in methods or FANOVA in methods:
        trials = _optuna_study(study, space, shuffles, sample)
        for method in (m for m in methods if m != PERMUTATION):
            shares = _by_optuna(trials, method, n, int(rng.integers(2**31)))
            found[method] = np.array([shares.get(str(i), 0.0) for i in range(codes.shape[1])])
    return {method: _shares(found[method]) for method in methods}


def _shares(values: Floats) -> Floats:
    values = np.maximum(np.nan_to_num(values), 0.0)
    total = values.sum()
    return values / total if total > 0 else values


def _permutation(
    codes: Floats, cost: Floats, sample: NDArray[np.int64], rng: np.random.Generator
) -> Floats:
    """Added squared error on the trials out of the sample, per column of ``codes``."""
    outside = np.setdiff1d(np.arange(len(cost)), sample)
    if len(outside) < 2:
        return np.zeros(codes.shape[1])
    forest = fit_forest(codes[sample], cost[sample], int(rng.integers(2**31)), _TREES)
    held, truth = codes[outside], cost[outside]
    batches = [held]
    for column in range(codes.shape[1]):
        for _ in range(_SHUFFLES):
            shuffled = held.copy()
            shuffled[:, column] = rng.permutation(held[:, column])
            batches.append(shuffled)
    predicted = forest.predict(np.concatenate(batches)).reshape(len(batches), -1)
    errors = ((predicted - truth) ** 2).mean(axis=1)
    return np.asarray((errors[1:].reshape(-1, _SHUFFLES) - errors[0]).mean(axis=1))


def _optuna_study(
    study: Records, space: Space, shuffles: list[NDArray[np.int64]], sample: NDArray[np.int64]
) -> Any:
    """The sampled trials as an Optuna study; parameters and random ones under their index."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = [_for_optuna(space.values[c], log=study.is_log(c)) for c in space.columns]
    d, cost = len(columns), space.cost
    distributions = {str(i): columns[i % d][1] for i in range(2 * d)}
    trials = [
        optuna.create_trial(
            params={str(i): values[row] for i, (values, _) in enumerate(columns)}
            | {str(d + i): v[shuffles[i][row]] for i, (v, _) in enumerate(columns)},
            distributions=distributions,
            value=float(cost[row]),
        )
        for row in sample
    ]
    rebuilt = optuna.create_study(direction="minimize")
    rebuilt.add_trials(trials)
    return rebuilt


def _for_optuna(values: pd.Series, *, log: bool) -> tuple[list[Any], Any]:
    if is_category(values) or values.isna().any():
        levels = as_levels(values)
        return levels, CategoricalDistribution(sorted(set(levels)))
    numbers = pd.to_numeric(values).astype("float64")
    return numbers.tolist(), FloatDistribution(float(numbers.min()), float(numbers.max()), log=log)


def _by_optuna(trials: Any, method: str, n: int, seed: int) -> dict[str, float]:
    if method == FANOVA:
        evaluator: Any = FanovaImportanceEvaluator(n_trees=_TREES, seed=seed)
    else:
        evaluator = PedAnovaImportanceEvaluator(
            target_quantile=min(0.5, max(_TOP, _TOP_TRIALS / n))
        )
    try:
        return {str(k): float(v) for k, v in evaluator.evaluate(trials).items()}
    except (RuntimeError, ValueError):
        return {}  # a sample without variance explains nothing


def _rows(space: Space, method: str, shares: Floats) -> list[dict[str, Any]]:
    d, n = len(space.columns), len(space.target)
    best_random = shares[:, d:].max(axis=1)
    rows = []
    for i, column in enumerate(space.columns):
        low, high = np.quantile(shares[:, i], [0.05, 0.95])
        beats = float((shares[:, i] > best_random).mean())
        rows.append(
            {
                "parameter": column,
                "method": method,
                "importance": float(shares[:, i].mean()),
                "low": float(low),
                "high": float(high),
                "noise": float(np.quantile(best_random, 0.95)),
                "beats_random": beats,
                "important": beats >= SURE,
                "n": n,
                "num_parameters": d,
                "epoch": space.epoch,
                "enough": n >= enough_trials(d),
            }
        )
    return rows


def importance_notes(table: pd.DataFrame) -> list[str]:
    """Sentences that belong beside the numbers: what was compared, what stands out, a warning."""
    first = table.iloc[0]
    n, d = int(first["n"]), int(first["num_parameters"])
    notes = []
    if not first["enough"]:
        notes.append(
            f"Too few trials: {n} for {d} parameters; the rule is 10 a parameter and at least 30, "
            f"here {enough_trials(d)}. Read the order as a hint, not as a finding."
        )
    both = table.groupby("parameter", sort=False)["important"].sum()
    sure = [parameter_label(str(name)) for name, count in both.items() if count >= 2]
    notes.append(
        f"Beyond noise by at least two methods: {', '.join(sure)}."
        if sure
        else "No parameter stands out from random ones by two methods."
    )
    notes.append(
        f"{counted(n, 'trial')}, each as it stood after epoch {first['epoch']}, by the rank of "
        f"{first['metric']}; brackets: 5 % to 95 % over bootstraps of trials. Noise: 95 % "
        "quantile of the best random parameter (each parameter's own values, shuffled)."
    )
    return notes
