"""What a point of the space truly gives, and what a search that measures it sees.

The truth is a Gaussian process over the space for each metric, fitted to what both halves of
validation gave at every epoch and alpha of the recorded trials (one kernel for all of these, on
the scale of log-odds). Trials that diverged, ending below `DIVERGED` of the base's accuracy, would
bend it everywhere: it is fitted to the others. Where a Gaussian process classifier says that a
point diverges, it gives what the nearest that did gave.

A searcher that is a Gaussian process itself has an easy time with that truth. `trees` is another
one, of randomised trees, to hold such a searcher against.

A search sees half of validation: the truth plus how far one resample of the sources lies from that
half. The resample is the same for all points of a search, so that differences between them are
paired as they are in a study. A point has the deviation of one of the three recorded trials
nearest to it, drawn by trial.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from replay.cube import Floats, Point, in_unit_cube
from replay.table import METRICS, Table
from study.seeding import numpy_generator

NEAREST = 3
FOLDS = 8
DIVERGED = 0.5
_NUM_TREES = 100
_LEAST, _MOST = 1e-3, 1 - 1e-3  # log-odds need numbers inside


@dataclass(frozen=True)
class States:
    """What points give at epochs and alphas, each array (..., E, A).

    Attributes:
        accuracy: of ID, as seen or as it is.
        fpr95: likewise.
        error: standard error of the accuracy's difference from the base's, on half of validation.
    """

    accuracy: Floats
    fpr95: Floats
    error: Floats

    def part(self, *place: int | slice | list[int]) -> States:
        """Some points, epochs, alphas alone."""
        return States(self.accuracy[place], self.fpr95[place], self.error[place])


@dataclass(frozen=True)
class LeftOut:
    """How well the surrogate foretells trials that it was not fitted to and that did not diverge.

    At the last epoch, on average over the path.

    Attributes:
        error: root mean squared, a fraction.
        spread: standard deviation of the recorded trials.
    """

    error: float
    spread: float


class Truth:
    """The surrogate of one table."""

    def __init__(self, table: Table, *, trees: bool = False) -> None:
        """Fit it; ``trees`` in place of the Gaussian processes."""
        self.table = table
        self._fit = _trees if trees else _process
        self._cube = in_unit_cube(table.points, table.distributions)
        last = table.truth["accuracy"][:, -1]
        self._diverged: NDArray[np.bool_] = last.min(axis=1) < DIVERGED * table.base["accuracy"]
        whole = ~self._diverged
        cube, truth = self._cube[whole], {name: table.truth[name][whole] for name in METRICS}
        self._fitted = {name: self._fit(cube, truth[name]) for name in METRICS}
        accuracy = _process(cube, truth["accuracy"]) if trees else self._fitted["accuracy"]
        self._lengths: Floats = accuracy.kernel_.k1.k2.length_scale
        self._diverges = _classifier(self._cube, self._diverged)

    def at(self, points: Sequence[Point]) -> States:
        """P points as they are, (P, E, A); alpha 0 is the base's own."""
        cube = in_unit_cube(points, self.table.distributions)
        whole, diverged = np.flatnonzero(~self._diverged), np.flatnonzero(self._diverged)
        like = whole[self._order(cube, whole)[:, 0]]
        told = {name: self._predicted(name, cube) for name in METRICS}
        if self._diverges is not None:
            off = self._diverges.predict(cube)
            like[off] = diverged[self._order(cube[off], diverged)[:, 0]]
            for name in METRICS:
                told[name][off] = self.table.truth[name][like[off]]
        return States(**told, error=self._errors[like])

    def _predicted(self, name: str, cube: Floats) -> Floats:
        tuned = expit(self._fitted[name].predict(cube))
        tuned = tuned.reshape(len(cube), self.table.num_epochs, -1)
        base = np.full((*tuned.shape[:2], 1), self.table.base[name])
        return np.concatenate([base, tuned], axis=2)

    def like(self, point: Point) -> NDArray[np.intp]:
        """The recorded trials that are most like a point."""
        cube = in_unit_cube([point], self.table.distributions)
        off = self._diverges is not None and self._diverges.predict(cube)[0]
        among = np.flatnonzero(self._diverged == off)
        return among[self._order(cube, among)[0, :NEAREST]]

    def _order(self, cube: Floats, among: NDArray[np.intp]) -> NDArray[np.intp]:
        """Some recorded trials, the nearest first, by the lengths over which accuracy changes."""
        apart: Floats = (cube[:, None, :] - self._cube[among]) / self._lengths
        return np.argsort(np.square(apart).sum(axis=2), axis=1)

    @cached_property
    def _errors(self) -> Floats:
        """(N, E, A) of the recorded trials."""
        noise = self.table.noise["accuracy"]
        errors: Floats = (noise - noise[0, 0, 0]).std(axis=-1, ddof=1)
        return errors

    def seen(self, true: States, trial: int, resample: int) -> States:
        """One point, (E, A), as a resample shows it, with the deviation of a recorded trial."""
        seen = {
            name: np.clip(getattr(true, name) + one[trial, ..., resample], 0, 1)
            for name, one in self.table.noise.items()
        }
        return States(**seen, error=self._errors[trial])

    def left_out(self) -> dict[str, LeftOut]:
        """Of each metric, by cross-validation over trials."""
        return {name: self._left_out(self.table.truth[name][~self._diverged]) for name in METRICS}

    def _left_out(self, truth: Floats) -> LeftOut:
        cube, last = self._cube[~self._diverged], truth[:, -1, 1:]
        guessed = np.empty_like(last)
        for rest in _folds(len(truth)):
            fitted = self._fit(cube[rest], truth[rest])
            guessed[~rest] = expit(fitted.predict(cube[~rest]))[:, -last.shape[1] :]
        error = float(np.sqrt(np.mean(np.square(guessed - last))))
        return LeftOut(error, float(np.sqrt(last.var(axis=0, ddof=1).mean())))

    def divergence_left_out(self) -> tuple[int, int]:
        """How many left-out trials are wrongly told to diverge or not, and how many diverged."""
        wrong = 0
        for rest in _folds(len(self._cube)):
            told = _classifier(self._cube[rest], self._diverged[rest])
            guess = False if told is None else told.predict(self._cube[~rest])
            wrong += int(np.sum(guess != self._diverged[~rest]))
        return wrong, int(self._diverged.sum())


def _folds(number: int) -> Iterator[NDArray[np.bool_]]:
    """What is fitted to, `FOLDS` times."""
    fold = numpy_generator(0, "folds").permutation(number) % FOLDS
    yield from (fold != one for one in range(FOLDS))


def _classifier(cube: Floats, diverged: NDArray[np.bool_]) -> GaussianProcessClassifier | None:
    """Whether points diverge; None where none of these did."""
    if not diverged.any():
        return None
    kernel = ConstantKernel(1.0) * RBF(np.ones(cube.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcessClassifier(kernel).fit(cube, diverged)


def _process(cube: Floats, truth: Floats) -> GaussianProcessRegressor:
    """(N, columns) and (N, E, A) to a process of E (A - 1) outputs."""
    smooth = Matern(np.full(cube.shape[1], 1.0), (0.1, 30), nu=2.5)
    kernel = ConstantKernel(1.0, (0.1, 100)) * smooth + WhiteKernel(0.05, (1e-4, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: no effect
        return GaussianProcessRegressor(kernel, normalize_y=True).fit(cube, _log_odds(truth))


def _trees(cube: Floats, truth: Floats) -> ExtraTreesRegressor:
    """Likewise; of each tree a leaf is one trial."""
    return ExtraTreesRegressor(_NUM_TREES, random_state=0).fit(cube, _log_odds(truth))


def _log_odds(truth: Floats) -> Floats:
    told: Floats = logit(np.clip(truth[:, :, 1:], _LEAST, _MOST)).reshape(len(truth), -1)
    return told


class Seen:
    """Half of validation, as one search sees it.

    Attributes:
        base_accuracy: of the base, as seen.
    """

    def __init__(self, truth: Truth, seed: int) -> None:
        """The resample is drawn by ``seed``."""
        self._truth, self._seed = truth, seed
        noise = truth.table.noise["accuracy"][0, 0, 0]
        self._resample = seed % len(noise)
        self.base_accuracy = truth.table.base["accuracy"] + float(noise[self._resample])

    def at(self, point: Point, number: int) -> tuple[States, States]:
        """The point of trial ``number``, (E, A), as seen and as it is."""
        true = self._truth.at([point]).part(0)
        generator = numpy_generator(self._seed, "noise", number)
        like = int(generator.choice(self._truth.like(point)))
        return self._truth.seen(true, like, self._resample), true
