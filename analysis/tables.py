"""The records of one run: what was asked, what ran, what each trial gave."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import yaml

from analysis.table_files import (
    check_folder,
    no_rows,
    read_epochs,
    read_mapping,
    read_table,
    without_broken,
)
from study.errors import BadInput, Fault
from study.records.columns import SEARCHED, in_reading_order
from study.records.files import KEPT, STATUSES, VAL_ID, RunFolder
from study.records.ledger import Lines, Record, read_ledger
from study.records.scores import ValidationScores, has_scores, read_scores
from study.records.sealed import Reached, changed_files, reached, score_seals
from study.records.shapes import OF_MANIFEST, OF_SPEC
from study.records.words import todays_words
from study.scoring.metrics import METRICS, metric_of
from study.scoring.objective import ALPHA, ID_ACCURACY, SHORTFALL
from study.terminal import visible

BASE = "base"
ANY_METRIC = "Name one of these, or val/<set>/<score>/<metric>."
Direction = Literal["min", "max"]


def direction_of(metric: str) -> Direction:
    """Whether a smaller or a larger value of ``val/...`` is better.

    Raises:
        BadInput: for a metric that nobody has defined.
    """
    try:
        return "min" if metric_of(metric).better == "lower" else "max"
    except KeyError:
        rule = f"no such metric; known: {', '.join(sorted(METRICS))}"
        fault = Fault("select.metric", "", rule, "Name one of them.", value=metric)
        raise BadInput(fault) from None


@dataclass(frozen=True)
class ResolvedFloor:
    """The ID accuracy that a candidate must reach.

    Attributes:
        value: fraction in [0, 1].
        reference: what it is relative to, in words ("base", "absolute").
        how: the sentence that says how it came about.
        confidence: with what probability each state must hold it; None where the measured
            accuracy must.
        of_choice: with what probability the choice is to, which is lower where it is among many.
    """

    value: float
    reference: str = ""
    how: str = ""
    confidence: float | None = None
    of_choice: float | None = None

    @property
    def sure(self) -> str:
        """With what probability it is held, for readers; empty without one."""
        if self.confidence is None:
            return ""
        told = f"held with a probability of {self.confidence:.4g}"
        if self.of_choice in (None, self.confidence):
            return told
        return f"{told} each, so that the choice among so many holds it with {self.of_choice:g}"


@dataclass(frozen=True)
class Records:
    """One run, read once.

    Attributes:
        folder: where its files are.
        trials: one row a trial, see ``read_table``; sorted by trial id.
        epochs: one row a trial and epoch; sorted by both.
        spec: the resolved spec as a plain dict.
        manifest: provenance as a plain dict.
        ledger: events in order.
        reached: how far the search had come, and what its files were then.
        faults: sentences about records that could not be read and were left out.
        confirming: rows of trials.parquet that train a candidate anew on a fresh seed; they are
            no candidates themselves, so ``trials`` and ``epochs`` go without them.
        tuning: rows that tuned an ablation's arms, which ``trials`` and ``epochs`` lack too.
        states: one row a state of a trial's path (trial_id, epoch, val/alpha and the summary
            metrics), sorted by these; empty where no trial has a path.
    """

    folder: RunFolder
    trials: pd.DataFrame
    epochs: pd.DataFrame
    spec: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    ledger: Lines = field(default_factory=Lines)
    reached: Reached = field(default_factory=lambda: reached(()))
    faults: tuple[str, ...] = ()
    confirming: pd.DataFrame = field(default_factory=pd.DataFrame)
    tuning: pd.DataFrame = field(default_factory=pd.DataFrame)
    states: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a run's folder.

        Raises:
            BadInput: if the folder or its trial table is missing or cannot be read.
        """
        folder = RunFolder(path)
        check_folder(folder)
        faults: list[str] = []
        trials = read_table(folder.trials)
        epochs = read_epochs(folder.epochs, faults) if len(trials) else no_rows()
        states = read_epochs(folder.states, faults) if folder.states.exists() else no_rows()
        trials = without_broken(trials, folder.trials, faults)
        trials, confirming = _apart(trials)
        tunes = trials["tunes"].fillna(False).astype(bool) if "tunes" in trials.columns else None
        tuning = trials.iloc[:0] if tunes is None else trials[tunes]
        trials = trials[~trials["trial_id"].isin(tuning["trial_id"])]
        spec = todays_words(read_mapping(folder.spec, "YAML", yaml.safe_load, OF_SPEC))
        trials, confirming, tuning = (_ordered(one, spec) for one in (trials, confirming, tuning))
        others = [*confirming["trial_id"], *tuning["trial_id"]]
        epochs, states = (one[~one["trial_id"].isin(others)] for one in (epochs, states))
        events, good = read_ledger(folder.ledger)
        if folder.ledger.exists() and good < folder.ledger.stat().st_size:
            faults.append(f"{folder.ledger.name}: the last line is half-written; left out.")
        found = reached(events)
        changed = changed_files(folder, found)
        faults += [f"{one} Nothing is chosen from it as it is." for one in changed]
        return cls(
            folder,
            trials.sort_values("trial_id", ignore_index=True),
            epochs.sort_values(["trial_id", "epoch"], ignore_index=True),
            spec=spec,
            manifest=read_mapping(folder.manifest, "JSON", json.loads, OF_MANIFEST),
            ledger=events,
            reached=found,
            faults=tuple(faults),
            confirming=confirming.sort_values("trial_id", ignore_index=True),
            tuning=tuning.sort_values("trial_id", ignore_index=True),
            states=states.sort_values(["trial_id", "epoch", ALPHA], ignore_index=True)
            if len(states)
            else states,
        )

    def events(self, *names: str) -> list[Record]:
        """The ledger's records of the named events, in order."""
        return self.ledger.of(*names)

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the spec; empty where it has none."""
        return self.spec.get(name) or {}

    @property
    def has_ood_test(self) -> bool:
        """Whether the study has an OOD test set; runs whose manifest does not tell have one."""
        plan = self.manifest.get("data", {}).get("plan", {})
        return bool(plan.get("ood_test", True))

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return visible(self.folder.path.resolve().name)

    @property
    def metric(self) -> str:
        """The metric that selection ranks by, such as ``val/fpr95``."""
        return str(self.section("select").get("metric", "val/fpr95"))

    @property
    def detection_metric(self) -> str:
        """What stands against ID accuracy in a trade: the metric, or FPR95 where that is it."""
        return "val/fpr95" if self.metric == ID_ACCURACY else self.metric

    @property
    def checkpoint_rule(self) -> str:
        """Which epoch of a trial counts: ``best`` (lowest val/objective) or ``last``."""
        return str(self.section("select").get("checkpoint", "best"))

    @property
    def seed(self) -> int:
        """The seed of the study, 0 where the spec has none."""
        return int(self.section("tune").get("seed") or 0)

    @property
    def design(self) -> str:
        """The ablation's design, as the space has it; empty for a search."""
        return str(self.section("ablate").get("design", ""))

    @property
    def base(self) -> Mapping[str, Any]:
        """What was measured on the base model before the search; empty where there is none."""
        return self.manifest.get("base") or {}

    @property
    def floor(self) -> ResolvedFloor | None:
        """The floor on ID accuracy, None where the study has none."""
        told = self.manifest.get("floor") or {}
        if told.get("value") is None:
            return None
        return ResolvedFloor(
            float(told["value"]),
            reference=str(told.get("reference") or ""),
            how=str(told.get("how") or ""),
            confidence=told.get("confidence"),
            of_choice=told.get("confidence_of_choice"),
        )

    @property
    def is_demo(self) -> bool:
        """Whether the study ran on the embedded demo set in place of real data."""
        return bool(self.manifest.get("data", {}).get("demo"))

    @cached_property
    def ood_sets(self) -> tuple[str, ...]:
        """Names of the OOD validation sets, in order of first appearance."""
        found = (c.split("/")[1] for c in self.trials.columns if c.count("/") == 3)
        return tuple(dict.fromkeys(name for name in found if name != VAL_ID))

    @cached_property
    def score_names(self) -> tuple[str, ...]:
        """Names of the OOD scores that every trial reports."""
        found = (c.split("/")[2] for c in self.trials.columns if c.count("/") == 3)
        return tuple(dict.fromkeys(found))

    @cached_property
    def own_score(self) -> str:
        """The score behind ``val/fpr95`` and its siblings: the recipe's own.

        Told by the manifest; a run without that entry shows it in its numbers, since the
        summary is the mean over the sets of exactly one score.

        Raises:
            BadInput: where neither tells.
        """
        told = self.manifest.get("own_score")
        if told:
            return str(told)
        rows = self.trials[self.trials["val/auroc"].notna()] if len(self.trials) else self.trials
        for score in self.score_names if len(rows) else ():
            mean = rows[[f"val/{s}/{score}/auroc" for s in self.ood_sets]].mean(axis=1)
            if (mean - rows["val/auroc"]).abs().max() < 1e-9:
                return score
        rule = "the records do not say which score the study's summary metrics stand for"
        raise BadInput(Fault(str(self.folder.manifest), "own_score", rule))

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Columns ``param/...`` of the searched parameters, in the order of the spec."""
        return tuple(_searched(self.trials, self.spec))

    def domain(self, column: str) -> Mapping[str, Any]:
        """How the space declares a parameter, a column ``param/...``; empty where it does not."""
        name = column.removeprefix("param/")
        for key, domain in self.section("search").items():
            if name == _full(key) or name.startswith(f"{_full(key)}."):
                return domain if isinstance(domain, Mapping) else {}
        return {}

    def has_domain(self, column: str, kind: str) -> bool:
        """Whether a parameter's domain, or the one of its distance, is of a kind."""
        domain = self.domain(column)
        return kind in {
            *domain,
            *(key for one in domain.values() if isinstance(one, Mapping) for key in one),
        }

    def is_log(self, column: str) -> bool:
        """Whether the parameter of a column ``param/...`` was searched on a log scale."""
        return self.has_domain(column, "loguniform")

    @property
    def told_metrics(self) -> list[str]:
        """Columns that stand beside every trial: the metric, ID accuracy, AUROC; as recorded."""
        names = dict.fromkeys([self.metric, ID_ACCURACY, "val/auroc"])
        return [name for name in names if name in self.trials.columns]

    @property
    def arm_columns(self) -> list[str]:
        """Columns that tell an ablation's trials apart; empty for a search."""
        names = ("arm", "seed") if self.section("ablate") else ()
        return [name for name in names if name in self.trials.columns]

    @property
    def has_path(self) -> bool:
        """Whether points between the base and the trained weights were scored too."""
        return len(self.states) > 0

    def scores(
        self,
        trial_id: str,
        *,
        kept: bool = False,
        epochs: Collection[int] | None = None,
        score: str = "",
    ) -> ValidationScores:
        """Per-image validation scores of a trial, or of the base under the name ``base``.

        Args:
            trial_id: whose.
            kept: on the part of validation that is kept apart.
            epochs: read these alone, and check no other; all where None.
            score: read this one of the OOD scores alone; all where empty.

        Raises:
            BadInput: if there is no such file or it cannot be read whole.
        """
        place = str(self.folder.epoch_scores(trial_id, kept=kept))
        if not has_scores(self.folder, trial_id, kept=kept):
            rule = f"the per-image scores of {trial_id} are missing"
            raise BadInput(Fault(place, "", rule, "Restore them, or run the trial again."))
        try:
            sealed = self._seals(trial_id, kept=kept)
            return read_scores(
                self.folder, trial_id, kept=kept, sealed=sealed, epochs=epochs, score=score
            )
        except Exception as error:
            # zipfile, numpy and zlib each have their own word for a torn file
            raise BadInput(Fault(place, "", f"no readable scores ({error})")) from error

    def has_scores(self, trial_id: str) -> bool:
        """Whether per-image scores of a trial (or of ``base``) were kept, or should have been."""
        return has_scores(self.folder, trial_id) or bool(self._seals(trial_id))

    def is_sealed(self, trial_id: str, epoch: float | None = None) -> bool:
        """Whether the ledger holds a hash of a trial's scores, of this epoch or of any."""
        seals = self._seals(trial_id)
        return bool(seals) if epoch is None else epoch in seals

    def _seals(self, trial_id: str, *, kept: bool = False) -> dict[int, str]:
        """Epoch -> the hash of its scores, of a trial; none of a base, whose file has its own."""
        if not trial_id.isdigit():
            return {}
        return (self._seals_of_kept if kept else self._seals_of_all).get(int(trial_id), {})

    @cached_property
    def _seals_of_all(self) -> Mapping[int, dict[int, str]]:
        return score_seals(self.ledger)

    @cached_property
    def _seals_of_kept(self) -> Mapping[int, dict[int, str]]:
        return score_seals(self.ledger, kept=True)

    def status_counts(self) -> dict[str, int]:
        """Number of trials in each status that occurs, in the order of the contract."""
        counts = {name: int((self.trials["status"] == name).sum()) for name in STATUSES}
        return {name: count for name, count in counts.items() if count}

    def counts_told(self) -> list[str]:
        """``status_counts`` as words: ``6 finished``."""
        return [f"{count} {status}" for status, count in self.status_counts().items()]


def alphas_of(trials: pd.DataFrame) -> pd.Series:
    """Place of each trial on its path, as it stands in trials.parquet; 1, as trained, without."""
    if ALPHA not in trials.columns:
        return pd.Series(1.0, trials.index)
    return trials[ALPHA].fillna(1.0)


def under_floor(study: Records, trials: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of some trials lie under the floor on ID accuracy, (N,); none where there is no floor.

    By what they told of their shortfall; those of older runs by their accuracy.

    Args:
        study: its records.
        trials: N rows of its trials.
    """
    if study.floor is None or ID_ACCURACY not in trials.columns:
        return np.zeros(len(trials), dtype=bool)
    under = trials[ID_ACCURACY] < study.floor.value
    if SHORTFALL in trials.columns:
        under = under.where(trials[SHORTFALL].isna(), trials[SHORTFALL] > 0)
    return under.to_numpy(dtype=bool)


def require_metrics(
    study: Records, columns: Sequence[str], way_out: str = ANY_METRIC, prefix: str = ""
) -> None:
    """Every column must be among those of the trials.

    Args:
        study: its records.
        columns: metrics, and what else is needed beside them.
        way_out: what to do about it.
        prefix: how the names of those that count begin.

    Raises:
        BadInput: naming each that is not there, and the summary metrics that are.
    """
    have = [c for c in study.trials.columns if c.startswith("val/") and c.count("/") == 1]
    rule = f"this metric was not recorded; the table has {', '.join(have) or 'none'}"
    there = {column for column in study.trials.columns if column.startswith(prefix)}
    missing = [column for column in columns if column not in there]
    if missing:
        place = str(study.folder.trials)
        raise BadInput([Fault(place, column, rule, way_out) for column in missing])


def _searched(trials: pd.DataFrame, spec: Mapping[str, Any]) -> list[str]:
    columns = set(trials.columns)
    found = (_search_column(f"param/{_full(key)}", columns) for key in spec.get("search") or {})
    return list(dict.fromkeys(column for column in found if column))


def _ordered(trials: pd.DataFrame, spec: Mapping[str, Any]) -> pd.DataFrame:
    """A table of trials with its columns in the order in which people read them."""
    searched = _searched(trials, spec)
    metric = str((spec.get("select") or {}).get("metric", "val/fpr95"))
    arms = bool(spec.get("ablate"))
    ordered = trials[in_reading_order(trials.columns, searched, metric, arms=arms)]
    ordered.attrs[SEARCHED] = searched
    return ordered


def _full(key: str) -> str:
    """A key of ``search`` with its section: what names none is of ``train``."""
    return key if "." in key else f"train.{key}"


def _search_column(name: str, columns: set[str]) -> str | None:
    """A margin is searched in standard deviations or as such; the record keeps both forms."""
    forms = (name, f"{name}.sd", f"{name}.absolute", f"{name}.value")
    return next((form for form in forms if form in columns), None)


def _apart(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trials of search or ablation, and those that confirm."""
    if "confirms" not in trials.columns:
        return trials, trials.iloc[:0]
    confirms = trials["confirms"].fillna("") != ""
    searched = trials[~confirms]
    # Without a confirmation every trial was scored on the part kept apart; with one, none was.
    unseen = [name for name in trials.columns if name.startswith(f"{KEPT}/")]
    unseen = [name for name in unseen if searched[name].isna().all()]
    return searched.drop(columns=unseen), trials[confirms]
