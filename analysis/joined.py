"""Several studies side by side: one table, what each chose, and whether that compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choice.selection import NoSelection, scores_at, select
from analysis.statistics.compare import DIFFERENCE, WINNER, compare
from analysis.study import Lent, Pictures, Study
from analysis.tables import BASE, Records
from study.errors import BadInput, Fault
from study.records.files import VAL_ID
from study.records.scores import SetScores
from study.scoring.objective import ID_ACCURACY
from study.terminal import visible


class JoinedPlots(Pictures):
    """The pictures of several studies."""

    trade = Lent("plots.joined:trade_of_all")


@dataclass(frozen=True)
class Joined:
    """Several studies, read together.

    Attributes:
        studies: name -> study, in the order given. Of equal names each takes its parent's folder
            in front.
        trials: all trials; the columns of the contract after ``study`` (name). A column that a
            study lacks is missing there.
        epochs: all epochs, the same way.
        faults: each study's own, its name in front; then a sentence for every pair of studies
            whose numbers are of different images.
    """

    studies: dict[str, Study]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    faults: tuple[str, ...]

    def choices(self) -> pd.DataFrame:
        """What each study's own rule chooses.

        Returns:
            One row a study: study, recipe, metric, trial_id, epoch, value, low, high (fractions,
            95 % over images; of several seeds their mean, over both), id_accuracy (likewise),
            floor (on ID accuracy, a fraction), num_candidates, problem (why nothing was chosen;
            empty where something was).
        """
        rows: list[dict[str, Any]] = []
        for name, study in self.studies.items():
            row = {"study": name, "recipe": study.spec.get("recipe", ""), "metric": study.metric}
            row["floor"] = study.floor.value if study.floor else float("nan")
            try:
                found = select(study)
            except NoSelection as error:
                rows.append(row | {"problem": str(error)})
                continue
            low, high = found.interval or (float("nan"), float("nan"))
            accuracy = float(found.candidates[ID_ACCURACY].iloc[0])
            row |= {"trial_id": found.trial_id, "epoch": found.epoch, "value": found.value}
            row |= {"low": low, "high": high, "id_accuracy": accuracy}
            rows.append(row | {"num_candidates": len(found.candidates), "problem": ""})
        columns = ["study", "recipe", "metric", "trial_id", "epoch", "value", "low", "high"]
        columns += ["id_accuracy", "floor", "num_candidates", "problem"]
        return pd.DataFrame(rows, columns=columns)

    def pairs(self) -> pd.DataFrame:
        """What of every two studies can be compared, and what cannot.

        Returns:
            One row a pair: pair, compares (whether anything does), sets (OOD validation sets of
            the same images), why (what does not compare, as a sentence; empty where all does).
        """
        rows = [
            {"pair": one.pair, "compares": one.table is not None, "sets": one.sets, "why": one.why}
            for one in self._compared
        ]
        return pd.DataFrame(rows, columns=["pair", "compares", "sets", "why"])

    def differences(self) -> pd.DataFrame:
        """The choices of every two studies on the images that both have, first minus second.

        Returns:
            One row a pair that compares, score that both have, and OOD set of the same images
            ("mean" over them last): pair, then the columns of ``compare`` without model; paired
            95 % intervals over images.

        Raises:
            BadInput: where no two of them compare; ``pairs`` says why.
        """
        tables = [one.table for one in self._compared if one.table is not None]
        if not tables:
            told = " ".join(f"{one.pair}: {one.why}." for one in self._compared)
            rule = f"the studies cannot be compared. {told}"
            raise BadInput(Fault("studies", "", rule, "Compare studies of the same data."))
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def _compared(self) -> tuple[_Pair, ...]:
        return tuple(_pair(one, two) for one, two in combinations(self.studies.items(), 2))

    @property
    def plots(self) -> JoinedPlots:
        """Pictures of all: ``joined.plots.trade()``."""
        return JoinedPlots(self.studies)


@dataclass(frozen=True)
class _Pair:
    """Two studies beside each other."""

    pair: str
    sets: list[str]
    why: str
    table: pd.DataFrame | None


def _pair(first: tuple[str, Study], second: tuple[str, Study]) -> _Pair:
    """The choices of two studies on the images that both were validated on."""
    (one, ours), (two, theirs) = first, second
    name = f"{one} − {two}"
    sets, why = _common(ours, theirs)
    if not sets:
        return _Pair(name, sets, why, None)
    try:
        mine, other = (_scores_of_choice(study, {VAL_ID, *sets}) for study in (ours, theirs))
        table = compare({WINNER: mine, BASE: other})
    except NoSelection as error:
        return _Pair(name, sets, f"nothing was chosen in one of them ({error})", None)
    except BadInput as error:
        return _Pair(name, sets, error.faults[0].rule, None)
    if table.empty:
        return _Pair(name, sets, "they have no score in common", None)
    table = table[table["model"] == DIFFERENCE].drop(columns="model")
    table.insert(0, "pair", name)
    return _Pair(name, sets, why, table)


def _scores_of_choice(study: Study, sets: set[str]) -> dict[str, SetScores]:
    """Scores of what a study's own rule chooses, on some sets."""
    found = scores_at(study, *select(study, 1).place)
    return {name: one for name, one in found.items() if name in sets}


def _common(one: Records, two: Records) -> tuple[list[str], str]:
    """OOD validation sets of the same images, and what is not the same."""
    first, second = _fingerprints(one), _fingerprints(two)
    if not first or not second:
        return [], "a manifest has no fingerprints of the images"
    if first.get(VAL_ID) != second.get(VAL_ID):
        return [], "the validation ID images are not the same"
    names = [name for name in dict.fromkeys([*first, *second]) if name != VAL_ID]
    same = [name for name in names if first.get(name) == second.get(name)]
    others = [name.removeprefix("ood_val/") for name in names if name not in same]
    why = f"not on {', '.join(others)}, whose images differ or are in one alone" if others else ""
    if not same:
        why = "they have no OOD validation set in common"
    return [name.removeprefix("ood_val/") for name in same], why


def join(studies: Sequence[Study]) -> Joined:
    """Put studies side by side; what keeps them from being compared is in ``faults``."""
    named = dict(zip(_names([one.folder.path for one in studies]), studies, strict=True))
    faults = [f"{name}: {fault}" for name, one in named.items() for fault in one.faults]
    first_name, first = next(iter(named.items()))
    for name, one in list(named.items())[1:]:
        different = _differences(first, one)
        if different:
            faults.append(
                f"{first_name} and {name} were validated on different data "
                f"({', '.join(different)}): their metrics cannot be compared."
            )
    return Joined(
        named,
        _stacked({name: one.trials for name, one in named.items()}),
        _stacked({name: one.epochs for name, one in named.items()}),
        tuple(faults),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    plain = [visible(path.resolve().name) for path in paths]
    names = [
        f"{visible(path.resolve().parent.name)}/{name}" if plain.count(name) > 1 else name
        for path, name in zip(paths, plain, strict=True)
    ]
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _differences(one: Records, two: Records) -> list[str]:
    """Validation roles whose images differ, or which only one of two studies has."""
    first, second = _fingerprints(one), _fingerprints(two)
    if not first or not second:
        return ["a manifest without fingerprints"]
    return [
        role for role in dict.fromkeys([*first, *second]) if first.get(role) != second.get(role)
    ]


def _fingerprints(study: Records) -> dict[str, str]:
    roles = (study.manifest.get("data") or {}).get("roles") or {}
    return {
        name: str(role.get("fingerprint"))
        for name, role in roles.items()
        if name == "val_id" or name.startswith("ood_val/")
    }


def _stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for name, table in tables.items():
        part = table.copy()
        part.insert(0, "study", pd.Series(name, index=table.index, dtype="str"))
        parts.append(part)
    some = [part.dropna(axis="columns", how="all") for part in parts if len(part)]
    if not some:
        return parts[0]
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    stacked = pd.concat(some, ignore_index=True).reindex(columns=columns)
    if "status" in stacked.columns:
        stacked["status"] = pd.Categorical(
            stacked["status"], categories=parts[0]["status"].cat.categories
        )
    return stacked
