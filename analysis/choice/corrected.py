"""The chosen trial's value, corrected for its having been the best of many.

The best of N looks better than it is: its errors helped it to win. So the whole selection is
repeated on bootstrap resamples of the images, by source group, ID and OOD apart (and of the seeds
where a configuration has several): the epoch of every trial is picked again, then the trial, by
the stated rule; the floor moves with the base where it hangs on it. In each resample the winner
is also judged on the images (and seeds) that the resample left out, which had no part in its
winning (as in BBC-CV, Tsamardinos, Greasidou and Borboudakis 2018, arXiv:1708.07180). What it
loses there is the optimism of a selection on a resample. A resample varies around data that vary
around the truth, so its errors are sqrt(2) times those of the data, and optimism grows with the
errors: the data's own optimism is the mean loss over sqrt(2), less what any fixed cell loses there
(FPR95 rises a little with fewer images).

    corrected value = value + optimism
    interval        = [value + 3/4 optimism - z sd, value + optimism + z sd]

on the scale asin(sqrt(cost)), where fractions have errors of even size. sd is that of the
resampled winners' errors, each cell's its own (root mean square; the winner's own is too small
where it won by a narrow luck), z the 97 % quantile of the normal distribution for an interval of
90 %; of Student's t by Satterthwaite's degrees of freedom where seeds are few. The lower end takes
3/4 of the optimism because a winner that is truly better owes less of its value to luck than one
that is not, and the data cannot always tell them apart.

Chosen in simulation: 20 trials x 3 epochs, 1,000 ID and two sets of 500 OOD images, 400 resamples,
FPR95, 100 studies a line (60 for BBC-CV); share of the 90 % intervals that cover the true FPR95 of
the selected trial, and their mean width over that of a percentile bootstrap of the same trial on
fresh images. tests/unit/analysis/test_corrected.py repeats four of the lines.

                                          corrected       not corrected    BBC-CV, out of bag
    all equal, independent scores       1.00    1.33      .11     .93      1.00     1.53
    all equal, correlated scores         .94    1.31      .48     .93      1.00     1.46
    one better by 18 points              .98    1.20      .86     .97      1.00     1.42
    one better, correlated               .94    1.19      .89     .96      1.00     1.31
    one better by 6 points               .97    1.30      .55     .93       .98     1.62
    one better by 4 points, correlated   .95    1.32      .61     .97       .97     1.46
    evenly spread, correlated            .98    1.28      .51     .92      1.00     1.46
    FPR95 of .03, correlated             .99    1.28      .27     .76      1.00     1.45
    ten crops a source, correlated       .95    1.26      .54     .96      1.00     1.40
    a single trial                       .96    1.17      .93     .98       .95     1.23
    32 trials x 4 epochs, all equal     1.00    1.42

Percentiles of the out-of-bag values judge the rule, not the trial it chose, and are too wide;
the bootstrap's own pivot covers .73 to .98; simultaneous intervals over the plausible winners
(Zrnic and Fithian 2024, arXiv:2212.09009) cover .82 to 1.00 at a width of 1.2 to 1.5, since the
winner's own sd comes out too small.

Under ASHA the rungs are played again in each resample with all trials of the search
(`analysis.choice.replayed`); of the candidates alone the corrected value would be too good, since
who came to the end was lucky too. Bias in points and coverage, 60 studies a line, 4 epochs,
reduction 3 (`benchmarks/coverage.py chosen`; all lines stand in docs/numbers.md):

                                         not corrected    candidates     rungs again
    all equal, independent scores        -3.7      .63    -1.3    .98    -0.1    .98
    all equal, correlated scores         -2.8      .78    -1.1    .95    +0.6   1.00
    all equal, 143 ID, 2 x 100 OOD      -10.7      .67    -3.7    .90    -1.2    .93
    traded for accuracy, a floor         -1.2      .92    -0.4    .92    -0.4    .95
    the same, 143 ID, 2 x 100 OOD        -4.8      .85    -2.1    .93    -1.8    .98

With few images the correction itself falls short: -1.7 without ASHA in the third line. What the
searcher proposed after it had seen the same images cannot be repeated without training, and is not
corrected for; nor is what other schedulers stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.choice.cells import (
    Cells,
    CostAt,
    Floats,
    NoScores,
    Picks,
    Rows,
    Values,
    all_images,
    even,
    mean_over_trials,
    pick,
    set_costs,
    taken,
    weighed,
)
from analysis.choice.replayed import Search
from analysis.statistics.bootstrap import NUM_RESAMPLES, Resampler
from analysis.statistics.paired import student
from study.counted import counted
from study.records.files import VAL_ID
from study.scoring.intervals import Interval
from study.scoring.metrics import METRICS
from study.scoring.ranking import Weights
from study.seeding import numpy_generator

LEVEL = 0.90
# AUROC and average precision take many times longer; means and deviations need no more.
SLOW_RESAMPLES = 250
_LEAST_RESAMPLES = 200
_MOST_VALUES = 300_000  # cells times resamples: some 20 s on 7,000 images
_NOISE_OF_RESAMPLE = 2**0.5
_SHARE_BELOW = 0.75


@dataclass(frozen=True)
class Correction:
    """A value that is not the best of N's any more.

    Attributes:
        value: what the selection saw, a fraction.
        corrected: the same without the optimism of having won.
        interval: of ``corrected``, at its level; it is about the chosen trial at its epoch, or
            about the chosen configuration's mean over seeds.
        trial_ids: of the chosen configuration.
        num_candidates: configurations that were compared.
        num_cells: states of trials that were compared: epochs, or points of their paths.
        num_resamples: of the selection.
        wins: trial_id (a configuration's first), wins (share of the resamples that it won); by
            falling share.
        of_paths: whether trials were compared at points of their paths too.
        played: what of the search itself was repeated, as a sentence; empty for nothing.
        left_out: what is not corrected for, as a sentence; empty for nothing.
        num_read: states that took part in the resamples; None for all.
    """

    value: float
    corrected: float
    interval: Interval
    trial_ids: tuple[str, ...]
    num_candidates: int
    num_cells: int
    num_resamples: int
    wins: pd.DataFrame
    of_paths: bool = False
    played: str = ""
    left_out: str = ""
    num_read: int | None = None

    @property
    def num_seeds(self) -> int:
        """Trials of the chosen configuration."""
        return len(self.trial_ids)

    @property
    def optimism(self) -> float:
        """Corrected minus seen: what having been chosen was worth, a fraction."""
        return self.corrected - self.value

    @property
    def how(self) -> str:
        """How it was obtained, as a sentence for a paper."""
        also = "; the seeds were drawn anew too" if self.num_seeds > 1 else ""
        told = (
            f"The selection ({counted(self.num_candidates, 'candidate')}, "
            f"{counted(self.num_cells, 'state' if self.of_paths else 'epoch')}) was "
            f"repeated on {self.num_resamples:,} bootstrap resamples of the validation images, by "
            f"source group, ID and OOD apart{also}; what each resample's winner loses on images "
            "left out of it, over the square root of 2, is the optimism that was taken off."
        )
        part = ""
        if self.num_read is not None:
            part = (
                f"The {self.num_read:,} that come nearest to the choice, by what was recorded of "
                "them on all images, took part; the scores of the others were not read."
            )
        return " ".join(one for one in (told, part, self.played, self.left_out) if one)


@dataclass(frozen=True)
class _Resampled:
    """The selection under every resample.

    Attributes:
        inside: worth of the cells on the resamples, (C, B).
        outside: on the images that they left out.
        seeds: how often each trial is drawn, (T, B); None where each stands alone.
        picks: what the rule takes in each resample.
        judged: whether it left out images to judge its winner by, (B,).
    """

    inside: Values
    outside: Values
    seeds: Floats | None
    picks: Picks
    judged: NDArray[np.bool_]


def correct(
    cells: Cells, *, search: Search | None = None, num_resamples: int | None = None, seed: int = 0
) -> Correction:
    """Correct the value of the configuration that the rule chooses among ``cells``.

    Args:
        cells: the candidates with their scores.
        search: all trials of the search that they come from, where its rungs are to be played
            again in each resample.
        num_resamples: of the selection; see ``enough_resamples`` for the default.
        seed: of the draws.

    Raises:
        NoScores: where a set has a single source.
    """
    if num_resamples is None:
        num_resamples = enough_resamples(cells if search is None else search.cells)
    for name, group in cells.groups.items():
        if len(np.unique(group)) < 2:
            raise NoScores(f"{name} has a single source, so no resample leaves images out")
    chosen = pick_on_all(cells)
    winner = int(chosen.winner[0])
    if search is None:
        again = _resample(cells, num_resamples, seed)
        optimism = _optimism(cells, again)
        spread, freedom = _spread(cells, again, chosen, winner)
    else:
        again = _resample(search.cells, num_resamples, seed, search)
        optimism = _optimism(search.cells, again)
        spread, freedom = _spread_of_won(again), np.inf
    reach = student(1 - 0.3 * (1 - LEVEL), freedom) * spread
    value = float(chosen.cost[winner, 0])
    steps = (_SHARE_BELOW * optimism - reach, optimism, optimism + reach)
    low, middle, high = _moved(cells, value, steps)
    return Correction(
        as_metric(cells, value),
        middle,
        Interval(min(low, high), max(low, high), LEVEL),
        tuple(cells.trial_ids[trial] for trial in cells.trials_of(winner)),
        cells.num_configs,
        len(cells.trial),
        num_resamples,
        _wins(cells if search is None else search.cells, again.picks),
        bool((cells.alpha != 1).any()),
        "" if search is None else search.how,
    )


def enough_resamples(cells: Cells) -> int:
    """1,000, or 250 where the metric is slow; fewer, but 200, of very many cells."""
    if not METRICS[cells.metric].quick:
        return SLOW_RESAMPLES
    return max(_LEAST_RESAMPLES, min(NUM_RESAMPLES, _MOST_VALUES // len(cells.trial)))


def _moved(cells: Cells, cost: float, steps: Sequence[float]) -> list[float]:
    """A cost moved by steps on the even scale, as values of the metric."""
    start = even(np.array(cost))
    ends = [np.clip(start + step, 0.0, np.pi / 2) for step in steps]
    return [as_metric(cells, float(np.sin(one) ** 2)) for one in ends]


def as_metric(cells: Cells, cost: float) -> float:
    """A cost as a value of the metric to select by."""
    return cost if cells.sign() > 0 else 1.0 - cost


def pick_on_all(cells: Cells) -> Picks:
    """What the rule takes on all images, each once."""
    whole = all_images(cells)
    ties = tie_costs(cells, lambda: iter([whole])) if cells.ood_sets else None
    return pick(cells, weighed(cells, iter([whole])), tie_cost=ties)


def mean_interval(cells: Cells, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Interval:
    """95 % interval of one configuration's mean over its seeds, its epochs as they are.

    Images are drawn by source group and seeds as ``correct`` draws them; Student's t on the even
    scale, by Satterthwaite's degrees of freedom.

    Args:
        cells: one cell a trial, all trials of one configuration.
        num_resamples: of images and seeds.
        seed: of the draws.
    """
    if not METRICS[cells.metric].quick:
        num_resamples = min(num_resamples, SLOW_RESAMPLES)
    chosen = pick_on_all(cells)
    inside = weighed(cells, resamples(cells, num_resamples, seed))
    seeds = _draw_seeds(cells, num_resamples, seed)
    picks = pick(cells, inside, seed_weights=seeds)
    again = _Resampled(inside, inside, seeds, picks, np.ones(num_resamples, dtype=np.bool_))
    spread, freedom = _spread(cells, again, chosen, 0)
    reach = student(0.975, freedom) * spread
    low, high = sorted(_moved(cells, float(chosen.cost[0, 0]), (-reach, reach)))
    return Interval(low, high)


def resamples(
    cells: Cells, num: int, seed: int, *, outside: bool = False
) -> Iterator[dict[str, Weights]]:
    """The bootstrap resamples in blocks, or the images that each of them left out."""
    resampler = Resampler(cells.groups, num, seed)
    for counts in resampler.chunks(list(cells.groups)):
        yield {
            name: Weights.of(_left_out_of(one) if outside else one) for name, one in counts.items()
        }


def _left_out_of(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """The images that resamples (B, N) left out; all of them where one left out none."""
    left = (counts == 0).astype(np.int32)
    return np.where(left.any(axis=1, keepdims=True), left, 1).astype(np.int32)


def _left_any(cells: Cells, num: int, seed: int) -> NDArray[np.bool_]:
    """Which resamples left out images of every set, (B,)."""
    blocks = Resampler(cells.groups, num, seed).chunks(list(cells.groups))
    each = [
        np.all([(one == 0).any(axis=1) for one in counts.values()], axis=0) for counts in blocks
    ]
    return np.concatenate(each)


def tie_costs(cells: Cells, draws: Callable[[], Iterator[Mapping[str, Weights]]]) -> CostAt:
    """What decides among equals: AUROC, for the asked cells and weightings alone."""

    def cost(which: Rows, columns: Rows) -> Floats:
        costs, start = np.zeros(len(which)), 0
        for weights in draws():
            end = start + weights[VAL_ID].num
            here = np.flatnonzero((start <= columns) & (columns < end))
            for cell in np.unique(which[here]):
                own = here[which[here] == cell]
                some = {name: one.at(columns[own] - start) for name, one in weights.items()}
                per_set = [set_costs(cells, n, some, "auroc", [cell])[0] for n in cells.ood_sets]
                costs[own] = np.mean(per_set, axis=0)
            start = end
        return costs

    return cost


def _resample(cells: Cells, num: int, seed: int, search: Search | None = None) -> _Resampled:
    inside = weighed(cells, resamples(cells, num, seed))
    outside = weighed(cells, resamples(cells, num, seed, outside=True))
    seeds = _draw_seeds(cells, num, seed)
    ties = tie_costs(cells, lambda: resamples(cells, num, seed)) if cells.ood_sets else None
    among = None
    if search is not None:
        inside, among = search.ended(inside)
        outside = search.at_end(outside)
    picks = pick(cells, inside, seed_weights=seeds, tie_cost=ties, among=among)
    return _Resampled(inside, outside, seeds, picks, _left_any(cells, num, seed))


def _draw_seeds(cells: Cells, num: int, seed: int) -> Floats | None:
    """How often each trial counts in each resample, (T, B).

    Of n seeds n - 1 are drawn, with replacement: the mean then varies as much as the mean of n
    does (Rao and Wu 1988), and some seed is always left out. Configurations of equally many
    trials share the draws, since they share the seeds.
    """
    if cells.num_configs == len(cells.trial_ids):
        return None
    weights = np.ones((len(cells.trial_ids), num))
    for config in range(cells.num_configs):
        own = cells.trials_of(config)
        if len(own) > 1:
            rng = numpy_generator(seed, "bootstrap-seeds", len(own))
            chances = np.full(len(own), 1 / len(own))
            weights[own] = rng.multinomial(len(own) - 1, chances, size=num).T
    return weights


def _left_out(cells: Cells, seeds: Floats | None) -> Floats | None:
    """The seeds that a resample left out; a trial that stands alone judges itself."""
    if seeds is None:
        return None
    alone = np.bincount(cells.config)[cells.config] == 1
    return np.where(alone[:, None], 1.0, seeds == 0)


def _optimism(cells: Cells, again: _Resampled) -> float:
    """What the data's winner owes to having won, on the even scale."""
    cell, winner = again.picks.cell, again.picks.winner
    inside, outside = even(again.inside.cost), even(again.outside.cost)
    # Small samples shift a metric even where nothing is chosen: FPR95 rises with fewer images.
    usual = (outside - inside)[:, again.judged].mean(axis=1, keepdims=True)
    usual_of = taken(np.broadcast_to(usual, inside.shape), cell)
    before = mean_over_trials(cells, taken(inside, cell) + usual_of, again.seeds)
    after = mean_over_trials(cells, taken(outside, cell), _left_out(cells, again.seeds))
    lost = (after - before)[winner, np.arange(len(winner))][again.judged]
    return float(lost.mean()) / _NOISE_OF_RESAMPLE


def _spread(cells: Cells, again: _Resampled, chosen: Picks, winner: int) -> tuple[float, float]:
    """Standard deviation of a winner's error on the even scale, and its degrees of freedom."""
    if again.seeds is None:
        return _spread_of_won(again), np.inf
    errors = even(again.inside.cost)
    picked = np.broadcast_to(chosen.cell, again.picks.cell.shape)
    own = mean_over_trials(cells, taken(errors, picked), again.seeds).var(axis=1)
    images = mean_over_trials(cells, taken(errors, picked)).var(axis=1)
    variance = float(own[again.picks.winner].mean())
    between = max(0.0, 1.0 - float(images[winner]) / max(float(own[winner]), 1e-300))
    num = len(cells.trials_of(winner))
    freedom = (num - 1) / between**2 if between > 0 and num > 1 else np.inf
    return variance**0.5, freedom


def _spread_of_won(again: _Resampled) -> float:
    """Root mean square of the cells' own standard deviations, over the resamples they won."""
    errors = even(again.inside.cost)
    variances = np.broadcast_to(errors.var(axis=1)[:, None], errors.shape)
    won = taken(variances, again.picks.cell)[again.picks.winner, np.arange(errors.shape[1])]
    return float(np.sqrt(won.mean()))


def _wins(cells: Cells, picks: Picks) -> pd.DataFrame:
    shares = np.bincount(picks.winner, minlength=cells.num_configs) / len(picks.winner)
    first = [cells.trial_ids[cells.trials_of(config)[0]] for config in range(cells.num_configs)]
    table = pd.DataFrame({"trial_id": first, "wins": shares})
    return table.sort_values(["wins", "trial_id"], ascending=[False, True], ignore_index=True)
