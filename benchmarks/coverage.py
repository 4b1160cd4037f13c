"""What each number covers: studies are simulated whose truth is known.

    python benchmarks/coverage.py chosen      the choice, corrected for having been the best
    python benchmarks/coverage.py confirmed   the confirmed winner's mean, corrected likewise
    python benchmarks/coverage.py areas       intervals over few sources
    python benchmarks/coverage.py seeds       a mean over seeds, on few sources
    python benchmarks/coverage.py stop        arms that `ablate.stop` ends

Each prints the share of intervals that cover the truth and the bias, estimate less truth, with
its standard error. `--studies N` simulates so many a line, `--only WORD` the lines with a word.
docs/numbers.md has what it printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import print_table, say_how
from scipy.stats import norm
from simulated.studies import make_cells, plain_interval, trained, true_fpr95

from analysis.choice.cells import Cells
from analysis.choice.confirmation import corrected_mean, seed_interval
from analysis.choice.corrected import correct, pick_on_all
from analysis.choice.replayed import Search
from analysis.statistics.bootstrap import interval_of
from analysis.statistics.compare import over_seeds, seed_deviations
from study.scoring.intervals import Interval, percentile_interval
from study.scoring.measuring import weighted_metrics
from study.scoring.ranking import Weights, bootstrap_counts
from study.space.ablation.stop import StopRule
from study.tune.stopping import judged

EPOCHS, GAIN = 4, 0.25
Rng = np.random.Generator


@dataclass(frozen=True)
class Line:
    """One kind of study.

    Attributes:
        name: what is told of it.
        separations: of ID and OOD in sd, one each trial.
        correlated: share of a score's variance that all trials share.
        more: for ``make_cells``.
        floor: on ID accuracy.
    """

    name: str
    separations: tuple[float, ...]
    correlated: float
    more: dict[str, Any]
    floor: float | None = None


EQUAL, FEW = (1.8,) * 20, {"num_id": 143, "num_ood": 100}
SPREAD = tuple(np.linspace(1.3, 2.3, 20))
TRADE = tuple(np.linspace(1.0, 2.6, 20))
ACCURACIES = {"accuracies": tuple(np.linspace(0.84, 0.76, 20))}
LINES = (
    Line("all equal, independent scores", EQUAL, 0.0, {}),
    Line("all equal, correlated scores", EQUAL, 0.7, {}),
    Line("one better by 18 points", (*EQUAL[:-1], 2.3), 0.0, {}),
    Line("evenly spread, correlated", SPREAD, 0.7, {}),
    Line("all equal, 143 ID, 2 x 100 OOD", EQUAL[:16], 0.0, FEW),
    Line("traded for accuracy, a floor", TRADE, 0.7, ACCURACIES, 0.80),
    Line("the same, 143 ID, 2 x 100 OOD", TRADE, 0.7, ACCURACIES | FEW, 0.80),
)


class Tally:
    """Errors of estimates, and how often intervals cover."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.errors: list[float] = []
        self.covered: list[bool] = []
        self.widths: list[float] = []

    def add(self, estimate: float, interval: Sequence[float] | Interval, truth: float) -> None:
        """One study."""
        low, high = interval
        self.errors.append(estimate - truth)
        self.covered.append(low <= truth <= high)
        self.widths.append(high - low)

    def texts(self, unit: float = 100.0) -> list[str]:
        """Bias with its standard error, coverage, mean width."""
        error = np.std(self.errors, ddof=1) / len(self.errors) ** 0.5
        return [
            f"{unit * np.mean(self.errors):+.2f} ± {unit * error:.2f}",
            f"{np.mean(self.covered):.2f}",
            f"{unit * np.mean(self.widths):.1f}",
        ]


def chosen(studies: int, only: str) -> None:
    """FPR95 of the chosen trial in points: 90 % intervals, ASHA with eta 3 and grace 1."""
    rows = [["trials", "ASHA", "way", "bias, points", "coverage", "width"]]
    for line in LINES:
        for asha in (False, True):
            if only not in f"{line.name}{', ASHA' if asha else ''}":
                continue
            told: dict[str, Tally] = {}
            for study in range(studies):
                rng = np.random.default_rng([study, len(line.separations)])
                _choose(rng, line, asha, study, told)
            where = [line.name, "yes" if asha else "no"]
            rows += [[*where, way, *tally.texts()] for way, tally in told.items()]
            print_table([rows[0], *rows[-len(told) :]])
            sys.stdout.flush()
    print("\nTogether\n")
    print_table(rows)


def _choose(rng: Rng, line: Line, asha: bool, study: int, told: dict[str, Tally]) -> None:
    order = rng.permutation(len(line.separations))
    separations = np.asarray(line.separations)[order]
    more = dict(line.more)
    if "accuracies" in more:
        more["accuracies"] = tuple(np.asarray(more["accuracies"])[order])
    cells = make_cells(
        rng, list(separations), correlated=line.correlated, epochs=EPOCHS, gain=GAIN,
        floor=line.floor, **more,
    )  # fmt: skip
    search, candidates = None, cells
    if asha:
        every = Search(cells, np.full(len(separations), EPOCHS), 1, 3, 2)
        search, candidates = trained(every)
    picks = pick_on_all(candidates)
    if not picks.eligible[picks.winner[0], 0]:
        return
    cell = int(picks.cell[picks.winner[0], 0])
    trial = int(candidates.trial_ids[int(candidates.trial[cell])])
    truth = true_fpr95(separations[trial] + GAIN * (candidates.epoch[cell] - EPOCHS))
    plain = plain_interval(candidates, cell, 400, study)
    ways: dict[str, Callable[[], tuple[float, Any]]] = {
        "not corrected": lambda: (_seen(candidates), plain),
        "candidates alone": lambda: _corrected(candidates, None, study),
    }
    if search is not None:
        ways["rungs played again"] = lambda: _corrected(candidates, search, study)
    for way, found in ways.items():
        told.setdefault(way, Tally()).add(*found(), truth)


def _seen(cells: Cells) -> float:
    picks = pick_on_all(cells)
    return float(picks.cost[picks.winner[0], 0])


def _corrected(cells: Cells, search: Search | None, study: int) -> tuple[float, Interval]:
    found = correct(cells, search=search, num_resamples=400, seed=study)
    return found.corrected, found.interval


def confirmed(studies: int, only: str) -> None:
    """Mean of the best of k candidates over n fresh seeds, in sd of a seed: 95 % intervals."""
    rows = [["candidates", "way", "bias, sd", "coverage", "width"]]
    for top, seeds in ((3, 3), (5, 3), (3, 5), (10, 3)):
        for apart in (0.0, 0.5, 1.0, 3.0):
            name = f"{top} x {seeds} seeds, {apart:g} sd apart"
            if only not in name:
                continue
            told = {"not corrected": Tally(), "corrected": Tally()}
            for study in range(20 * studies):
                rng = np.random.default_rng([study, top, seeds])
                truth = 0.5 + 0.02 * apart * np.arange(top)
                values = truth[:, None] + 0.02 * rng.normal(size=(top, seeds))
                best = int(np.argmin(values.mean(axis=1)))
                raw = seed_interval(values[best])
                assert raw is not None
                told["not corrected"].add(float(values[best].mean()), raw, truth[best])
                mean, interval = corrected_mean(list(values), best, sign=1.0)
                told["corrected"].add(mean, interval, truth[best])
            rows += [[name, way, *tally.texts(50.0)] for way, tally in told.items()]
    print_table(rows)


def areas(studies: int, only: str) -> None:
    """AUROC and FPR95 on g sources of 24 crops, 1,000 ID images: 95 % intervals."""
    rows = [["sources", "alike", "metric", "percentiles", "interval_of"]]
    for sources in (5, 10, 20, 30, 50):
        for alike in (0.3, 0.7):
            for separation in (1.0, 1.8, 2.8):
                name = f"{sources} sources, {alike:g} alike, {separation:g} sd"
                if only not in name:
                    continue
                hits = _areas(sources, alike, separation, studies)
                rows += [
                    [str(sources), f"{alike:g}", f"{metric} of {truth:.3f}", *map(_share, found)]
                    for (metric, truth), found in hits.items()
                ]
    print_table(rows)


def _share(hits: list[bool]) -> str:
    return f"{np.mean(hits):.3f}"


def _areas(
    sources: int, alike: float, separation: float, studies: int
) -> dict[tuple[str, float], tuple[list[bool], list[bool]]]:
    truth = {"auroc": float(norm.cdf(separation / 2**0.5)), "fpr95": true_fpr95(separation)}
    hits: dict[tuple[str, float], tuple[list[bool], list[bool]]] = {
        (name, value): ([], []) for name, value in truth.items()
    }
    group, num_id = np.arange(sources).repeat(24), 1000
    for study in range(studies):
        rng = np.random.default_rng([study, sources])
        id_scores = rng.normal(size=num_id)
        shared, own = rng.normal(size=sources)[group], rng.normal(size=len(group))
        ood = separation + alike**0.5 * shared + (1 - alike) ** 0.5 * own
        draws = [Weights.of(bootstrap_counts(one, 400, rng)) for one in (np.arange(num_id), group)]
        once = Weights.once(num_id), Weights.once(len(group))
        drawn = weighted_metrics(id_scores, ood, draws[0], draws[1], list(truth))
        point = weighted_metrics(id_scores, ood, *once, list(truth))
        for (name, value), (plain, ours) in hits.items():
            low, high = percentile_interval(drawn[name])
            plain.append(low <= value <= high)
            low, high = interval_of(name, float(point[name][0]), drawn[name], sources)
            ours.append(low <= value <= high)
    return hits


def seeds(studies: int, only: str) -> None:
    """Mean over S seeds on g test sources of 24 crops, 1,000 ID images: 95 % intervals."""
    rows = [["seeds", "sources", "seeds' sd", "metric", "percentiles", "interval_of"]]
    for num in (2, 3, 5):
        for sources in (5, 20):
            for spread in (0.0, 0.1, 0.3):
                if only not in f"{num} seeds, {sources} sources, {spread:g} sd":
                    continue
                hits = _seeds(num, sources, spread, studies)
                rows += [
                    [str(num), str(sources), f"{spread:g}", name, *map(_share, found)]
                    for name, found in hits.items()
                ]
    print_table(rows)


def _seeds(
    num: int, sources: int, spread: float, studies: int, separation: float = 1.8
) -> dict[str, tuple[list[bool], list[bool]]]:
    """A model's scores share .7 of their variance with the others', its separation varies."""
    apart = separation + spread * norm.ppf((np.arange(999) + 0.5) / 999)
    truth = {
        "auroc": float(norm.cdf(apart / 2**0.5).mean()),
        "fpr95": float(np.mean([true_fpr95(one) for one in apart])),
    }
    hits: dict[str, tuple[list[bool], list[bool]]] = {name: ([], []) for name in truth}
    group, num_id = np.arange(sources).repeat(24), 1000
    once = Weights.once(num_id), Weights.once(len(group))
    for study in range(studies):
        rng = np.random.default_rng([study, num, sources])
        id_shared = rng.normal(size=num_id)
        ood_shared = 0.3**0.5 * rng.normal(size=sources)[group]
        ood_shared += 0.4**0.5 * rng.normal(size=len(group))
        draws = [Weights.of(bootstrap_counts(one, 400, rng)) for one in (np.arange(num_id), group)]
        drawn, points = [], []
        for _ in range(num):
            ids = 0.7**0.5 * id_shared + 0.3**0.5 * rng.normal(size=num_id)
            ood = separation + spread * rng.normal() + ood_shared
            ood += 0.3**0.5 * rng.normal(size=len(group))
            drawn.append(weighted_metrics(ids, ood, draws[0], draws[1], list(truth)))
            points.append(weighted_metrics(ids, ood, *once, list(truth)))
        for name, value in truth.items():
            of_seeds = [one[name] for one in drawn]
            values = over_seeds(of_seeds, study)
            ours = interval_of(
                name,
                float(np.mean([one[name] for one in points])),
                values,
                sources,
                num_seeds=num,
                deviations=seed_deviations(of_seeds, study),
            )
            both = percentile_interval(values), ours
            for found, (low, high) in zip(hits[name], both, strict=True):
                found.append(low <= value <= high)
    return hits


def stop(studies: int, only: str) -> None:
    """How often `ablate.stop` ends an arm that is no worse, at alpha .05, 10 seeds."""
    rows = [["differences", "arms ended", "of"]]
    kinds: dict[str, Callable[[Rng], np.ndarray]] = {
        "normal": lambda rng: rng.normal(size=10),
        "uniform": lambda rng: rng.uniform(-1, 1, size=10),
        "t with 3 degrees of freedom": lambda rng: rng.standard_t(3, size=10),
        "exponential, tail towards better": lambda rng: 1 - rng.exponential(size=10),
        "exponential, tail towards worse": lambda rng: rng.exponential(size=10) - 1,
    }
    rule = StopRule(alpha=0.05, min_seeds=3, margin=0.0)
    for name, draw in kinds.items():
        if only in name:
            rng, num = np.random.default_rng(0), 100 * studies
            ended = sum(_ends(draw(rng), rule) for _ in range(num))
            rows.append([name, f"{ended / num:.3f}", f"{num:,}"])
    print_table(rows)


def _ends(differences: np.ndarray, rule: StopRule) -> bool:
    looks: Iterator[int] = iter(range(rule.min_seeds, len(differences)))
    level = rule.level(len(differences))
    return any(judged(list(differences[:seeds]), rule, level)["stopped"] for seeds in looks)


PARTS = {"chosen": chosen, "confirmed": confirmed, "areas": areas, "seeds": seeds, "stop": stop}


def main() -> None:
    """Simulate one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--studies", type=int, default=100, help="a line")
    parser.add_argument("--only", default="", help="lines whose name has this in it")
    given = parser.parse_args()
    say_how(["numpy", "scipy"], f"{given.part}: {PARTS[given.part].__doc__}")
    PARTS[given.part](given.studies, given.only)


if __name__ == "__main__":
    main()
