"""Several studies side by side: one table, what each chose, and whether that compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.choice.selection import NoSelection, scores_at, select
from analysis.statistics.compare import DIFFERENCE, WINNER, compare
from analysis.study import Lent, Pictures, Study
from analysis.tables import BASE, Records
from study.errors import BadInput, Fault
from study.scoring.objective import ID_ACCURACY


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

    @property
    def comparable(self) -> bool:
        """Whether all studies were validated on the very same images."""
        first, *others = self.studies.values()
        return not any(_differences(first, one) for one in others)

    def choices(self) -> pd.DataFrame:
        """What each study's own rule chooses.

        Returns:
            One row a study: study, recipe, metric, trial_id, epoch, value, low, high (fractions,
            95 % over images; of several seeds their mean, over both), id_accuracy (likewise),
            num_candidates, problem (why nothing was chosen; empty where something was).
        """
        rows: list[dict[str, Any]] = []
        for name, study in self.studies.items():
            row = {"study": name, "recipe": study.spec.get("recipe", ""), "metric": study.metric}
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
        columns += ["id_accuracy", "num_candidates", "problem"]
        return pd.DataFrame(rows, columns=columns)

    def differences(self) -> pd.DataFrame:
        """The choices of every two studies on the same images, the first minus the second.

        Returns:
            One row a pair, score that both have, and OOD set ("mean" over them last): pair, then
            the columns of ``compare`` without model; paired 95 % intervals over images.

        Raises:
            NoSelection: where a study chose nothing.
            BadInput: where the studies were validated on different images, a chosen trial's
                scores are missing, or no score is in both.
        """
        if not self.comparable:
            told = " ".join(self.faults)
            rule = f"the studies cannot be compared. {told}"
            raise BadInput(Fault("studies", "", rule, "Compare studies of the same data."))
        sets = {}
        for name, study in self.studies.items():
            found = select(study, 1)
            sets[name] = scores_at(study, *found.place)
        parts = []
        for one, two in combinations(sets, 2):
            table = compare({WINNER: sets[one], BASE: sets[two]})
            if table.empty:
                rule = f"{one} and {two} have no score in common"
                raise BadInput(
                    Fault("scores", "", rule, "Compare studies whose recipes share one.")
                )
            table = table[table["model"] == DIFFERENCE].drop(columns="model")
            table.insert(0, "pair", f"{one} − {two}")
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    @property
    def plots(self) -> JoinedPlots:
        """Pictures of all: ``joined.plots.trade()``."""
        return JoinedPlots(self.studies)


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
    plain = [path.resolve().name for path in paths]
    names = [
        f"{path.resolve().parent.name}/{name}" if plain.count(name) > 1 else name
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
