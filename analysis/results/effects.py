"""What an ablation's arms change: paired differences over the seeds that all arms share.

Trials of one seed share split, initialisation, order and augmentation as far as the arms let
them, so the differences within a seed are what the arm did; the seeds are the sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.paired import NUM_RESAMPLES, holm, paired, t_interval
from analysis.tables import Records, direction_of, require_metrics
from study.errors import BadInput, Fault
from study.scoring.objective import ID_ACCURACY

BASELINE = "baseline"
ARM, MAIN, STEP = "arm", "main effect", "step"  # kinds of effects
JOINT, _IS = " + ", "="
_COLUMNS = ["metric", "kind", "effect", "method", "n", "p_floor", "num_missing"]  # of no effects
_FACTORIAL = ("factorial", "fractional_factorial")


@dataclass(frozen=True)
class Contrast:
    """One side against the other: at each seed the difference of the two means.

    Attributes:
        kind: "arm" against the baseline, "main effect" of a level in a factorial design, or
            "step" of a path against the arm before it.
        effect: the arm's name, or ``factor=level``.
        reference: what it is against.
        plus: arms of the one side.
        minus: arms of the other.
        whole: whether the arms that have begun are all that the contrast needs; without, a
            main effect would be mixed up with those of other factors.
    """

    kind: str
    effect: str
    reference: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    whole: bool = True


def effects(
    study: Records | Sequence[Records],
    metrics: str | Sequence[str] | None = None,
    *,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
) -> pd.DataFrame:
    """The effect of every arm of an ablation, for each metric of the chosen checkpoints.

    A seed is a pair where all trials that a contrast needs finished and have the metric. Others
    are counted, as failed (of the arm, of the reference), as stopped (not run, since the rule
    ablate.stop had ended the arm) or as missing (pruned, paused, running, not begun, or finished
    without the metric). The differences of a stopped arm are biased away from zero, and its
    interval, which knows nothing of the looks, covers less than it says.

    Args:
        study: records of an ablation, or of one ablation under several hold-outs: then a pair is
            a hold-out and a seed.
        metrics: columns ``val/...`` of the trials; by default the metric that the study detects
            by (val/fpr95) and val/id_accuracy.
        level: coverage of the intervals.
        num_resamples: of the bootstrap, which is used from 10 pairs on.

    Returns:
        One row a metric, kind and effect, in the order of the design; without a row where there
        is the baseline alone. Columns: metric; kind, one
        of "arm" (against the baseline), "main effect" (factorial designs: a level against the
        baseline's, averaged over all combinations of the other factors) and "step" (of a path,
        against the arm before); effect; reference; num_seeds; n (pairs); num_failed,
        num_failed_reference, num_stopped, num_missing (trials); reference_mean (over the pairs),
        mean, sd (ddof 1), low, high (of the paired difference, in the metric's unit: fractions);
        method ("t" below 10 pairs, "bootstrap" from 10 on, missing below 2); standardised (mean
        over sd); p (exact sign-flip, two-sided), p_floor (2 / 2^n, which p cannot fall below),
        p_holm (corrected over the effects of one kind and metric); direction ("min" or "max",
        the better one; missing where nobody has said). Of several hold-outs num_seeds counts the
        pairs of the design, and two columns more: among_low and among_high, Student's interval
        of the mean difference over hold-outs, each of which counts once, as a sample of others
        like them (missing below two).

    Raises:
        BadInput: where the study is no ablation, has no trials, or a metric was not recorded.
    """
    studies = [study] if isinstance(study, Records) else list(study)
    names = [metrics] if isinstance(metrics, str) else list(metrics or ())
    names = names or list(dict.fromkeys([studies[0].detection_metric, ID_ACCURACY]))
    contrasts = _contrasts(studies[0])
    for one in studies:
        require_metrics(one, names, prefix="val/")
    statuses = _by_seed_and_arm(studies, "status")
    rows: list[dict[str, Any]] = []
    for metric in names:
        values = _values(studies, metric)
        for contrast in contrasts:
            plus, minus = values[list(contrast.plus)], values[list(contrast.minus)]
            whole = contrast.whole & plus.notna().all(axis=1) & minus.notna().all(axis=1)
            reference = minus[whole].mean(axis=1)
            found = plus[whole].mean(axis=1).astype("float64") - reference
            pairs = found.to_numpy(dtype=np.float64)
            told = asdict(paired(pairs, level=level, num_resamples=num_resamples))
            row: dict[str, Any] = {"metric": metric, "kind": contrast.kind}
            row |= {"effect": contrast.effect, "reference": contrast.reference}
            row |= {"num_seeds": len(values), "n": told.pop("n")}
            row |= _counts(statuses, values, contrast)
            row |= {"reference_mean": reference.mean(), **told, "direction": _direction(metric)}
            if not isinstance(study, Records):
                row |= _among(found, level)
            rows.append(row)
    return _corrected(pd.DataFrame(rows, columns=None if rows else _COLUMNS))


def arm_means(study: Records, metric: str | None = None) -> pd.DataFrame:
    """Every arm over its seeds.

    Args:
        study: records of an ablation.
        metric: of the chosen checkpoints; the one that the study detects by where None.

    Returns:
        arm, n (finished trials with the metric), num_failed, mean and sd (ddof 1) of the metric.

    Raises:
        BadInput: as ``effects``.
    """
    arms, metric = arm_names(study), metric or study.detection_metric
    require_metrics(study, [metric], prefix="val/")
    values = _values([study], metric)
    failed = (_by_seed_and_arm([study], "status") == "failed").sum()
    table = pd.DataFrame({"n": values.notna().sum(), "num_failed": failed})
    table = table.assign(mean=values.mean(), sd=values.std()).loc[arms]
    return table.rename_axis("arm").reset_index()


def arm_names(study: Records) -> list[str]:
    """Arms that have a trial, in the order of the design.

    Raises:
        BadInput: where the study is no ablation or has no trials.
    """
    place = str(study.folder.path)
    if not study.section("ablate"):
        rule = "this study searched parameters and has no arms, so there are no effects to tell"
        way = "Give the folder of a study whose space has `ablate:` in place of `search:`."
        raise BadInput(Fault(place, "", rule, way))
    if not len(study.trials) or "arm" not in study.trials.columns:
        rule = "no trial of this ablation has begun, so there are no effects to tell"
        raise BadInput(Fault(place, "", rule, "Go on with it: run_study.py --resume."))
    return list(dict.fromkeys(study.trials["arm"].astype(str)))


def arm_levels(arm: str) -> dict[str, str]:
    """``a=x + b=y`` as {a: x, b: y}; the baseline has none."""
    if arm == BASELINE:
        return {}
    pairs = [part.partition(_IS) for part in arm.split(JOINT)]
    return {factor: level for factor, _, level in pairs}


def _contrasts(study: Records) -> list[Contrast]:
    arms = arm_names(study)
    others = [arm for arm in arms if arm != BASELINE]
    found = [Contrast(ARM, arm, BASELINE, (arm,), (BASELINE,)) for arm in others]
    if study.design in _FACTORIAL:
        found += _main_effects(arms, list(study.section("ablate").get("factors") or ()))
    if study.design == "path":
        pairs = zip([BASELINE, *others], others, strict=False)
        found += [Contrast(STEP, arm, former, (arm,), (former,)) for former, arm in pairs]
    return found


def _main_effects(arms: Iterable[str], factors: Sequence[str]) -> list[Contrast]:
    """Each level against the baseline's level of its factor, all else balanced by the design."""
    levels = {arm: arm_levels(arm) for arm in arms}
    found = []
    for factor in factors:
        own = dict.fromkeys(one[factor] for one in levels.values() if factor in one)
        minus = tuple(arm for arm, one in levels.items() if factor not in one)
        for level in own:
            plus = tuple(arm for arm, one in levels.items() if one.get(factor) == level)
            others = [other for other in factors if other != factor]
            whole = all(
                _shares(levels, plus, other) == _shares(levels, minus, other) for other in others
            )
            name, reference = f"{factor}{_IS}{level}", f"{factor} of the baseline"
            found.append(Contrast(MAIN, name, reference, plus, minus, whole))
    return found


def _shares(
    levels: Mapping[str, Mapping[str, str]], arms: Sequence[str], factor: str
) -> dict[str, Fraction]:
    """Which share of some arms has each level of a factor."""
    counts = Counter(levels[arm].get(factor, BASELINE) for arm in arms)
    return {level: Fraction(count, len(arms)) for level, count in counts.items()}


def _seeds(study: Records) -> list[int]:
    told = study.section("ablate").get("seeds")
    return [int(seed) for seed in told or study.trials["seed"].dropna().unique()]


def _by_seed_and_arm(studies: Sequence[Records], column: str) -> pd.DataFrame:
    """A column of the trials, a column an arm of the first study.

    One row a study, by its name, and seed of its design.
    """
    tables = {}
    for study in studies:
        trials = study.trials.astype({"arm": "str", column: "object"})
        wide = trials.pivot(index="seed", columns="arm", values=column)
        tables[study.name] = wide.reindex(index=_seeds(study), columns=arm_names(studies[0]))
    return pd.concat(tables)


def _values(studies: Sequence[Records], metric: str) -> pd.DataFrame:
    """The same of a metric: of finished trials that have one, else NaN."""
    values = _by_seed_and_arm(studies, metric).astype("float64")
    return values.where(_by_seed_and_arm(studies, "status") == "finished")


def _among(differences: pd.Series, level: float) -> dict[str, float]:
    """Student's interval over the means of hold-outs; NaN below two."""
    means = differences.groupby(level=0).mean().to_numpy(dtype=np.float64)
    if len(means) < 2:
        return {"among_low": np.nan, "among_high": np.nan}
    found = t_interval(means, level)
    return {"among_low": found.low, "among_high": found.high}


def _counts(statuses: pd.DataFrame, values: pd.DataFrame, contrast: Contrast) -> dict[str, int]:
    plus, minus = list(contrast.plus), list(contrast.minus)
    failed, stopped = statuses == "failed", statuses == "stopped"
    missing = ~(failed | stopped | values.notna())
    return {
        "num_failed": int(failed[plus].to_numpy().sum()),
        "num_failed_reference": int(failed[minus].to_numpy().sum()),
        "num_stopped": int(stopped[plus + minus].to_numpy().sum()),
        "num_missing": int(missing[plus + minus].to_numpy().sum()),
    }


def _direction(metric: str) -> str | None:
    try:
        return direction_of(metric)
    except BadInput:
        return None  # a recipe's own metric, such as a sentinel: neither way is better


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With Holm's p over the effects of one kind and metric, beside p's floor."""
    if table.empty:
        return table
    corrected = pd.Series(np.nan, index=table.index)
    for _, family in table.groupby(["metric", "kind"]):
        corrected[family.index] = holm(family["p"].to_numpy(dtype=np.float64))
    table.insert(list(table.columns).index("p_floor") + 1, "p_holm", corrected)
    return table
