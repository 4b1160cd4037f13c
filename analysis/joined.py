"""Several studies as one table, and whether their numbers may stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.comparing import choices, differences, trade
from analysis.study import Study
from analysis.tables import Records
from study.errors import BadInput, Fault


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
        """What each study's own rule chooses, see ``analysis.comparing.choices``."""
        return choices(self.studies)

    def differences(self) -> pd.DataFrame:
        """The studies' choices on the same images, see ``analysis.comparing.differences``.

        Raises:
            BadInput: where the studies were validated on different images.
        """
        if not self.comparable:
            told = " ".join(self.faults)
            rule = f"the studies cannot be compared. {told}"
            raise BadInput(Fault("studies", "", rule, "Compare studies of the same data."))
        return differences(self.studies)

    def plot_trade(self) -> Figure:
        """All finished trials and the choices, see ``analysis.comparing.trade``."""
        return trade(self.studies)


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
