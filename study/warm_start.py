"""``--warm-start DIR``: finished trials of another study as the searcher's history.

They are no trials of this study. What is needed of them goes into the ledger's first line, so
that the study resumes without DIR; what their epochs were worth is worked out anew under this
study's floor on ID accuracy and its rule for the epoch that counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import run_folder
from study.counted import counted
from study.data.roles import StudyData
from study.errors import BadInput, Fault
from study.records.files import RunFolder, write_json
from study.records.ledger import Record, RecordedLedger
from study.records.manifest import read_manifest
from study.scoring.objective import ID_ACCURACY
from study.searchers.catalog import searchers
from study.space.loading import load_resolved
from study.space.points import conditions, flat, flatten
from study.space.reading.yamlfile import dotted
from study.space.search.conditions import existing
from study.space.search.domains import Choice, Domain
from study.space.search.search import Searched
from study.space.study_spec import StudySpec

OPTION = "--warm-start"


@dataclass(frozen=True)
class WarmStart:
    """What another study left that this one's searcher can learn from.

    Attributes:
        source: its folder, as it was named.
        data_sha256: of its data.
        trials: ``trial`` (its number there), ``params`` and ``epochs`` of each, in their order;
            of the metrics of an epoch those that decide.
        left_out: finished trials with a value outside this study's domains.
        fixed: parameters that are fixed in both studies and differ, in words.
    """

    source: str
    data_sha256: str
    trials: tuple[dict[str, Any], ...]
    left_out: int
    fixed: tuple[str, ...]

    def event(self) -> dict[str, Any]:
        """What the ledger's line ``started`` has under ``warm_start``."""
        return {**self.note(), "trials": list(self.trials)}

    def note(self) -> dict[str, Any]:
        """What the manifest has under ``warm_start``."""
        return {
            "source": self.source,
            "num_trials": len(self.trials),
            "left_out": self.left_out,
            "fixed_otherwise": list(self.fixed),
        }

    def lines(self) -> Iterator[str]:
        """What the user is told."""
        known = counted(len(self.trials), "trial")
        yield f"Warm start: the searcher knows {known} of {self.source}"
        if self.left_out:
            yield f"Warm start: {counted(self.left_out, 'trial')} left out: outside this space"
        if self.fixed:
            yield f"Warm start: not as in this study: {'; '.join(self.fixed)}"

    def check_data(self, data: StudyData) -> None:
        """The other study must have run on this data.

        Raises:
            BadInput: where it has not.
        """
        if self.data_sha256 != data.fingerprint:
            rule = "ran on other data or another split, so its numbers say nothing here"
            way_out = "Give the --data and --data-root that it had, or leave the option out."
            raise BadInput(Fault(OPTION, "data", rule, way_out, self.source))

    def tell_manifest(self, run: RunFolder) -> None:
        """Write ``warm_start`` into manifest.json."""
        write_json(run.manifest, read_manifest(run) | {"warm_start": self.note()})


def read_warm_start(folder: Path, spec: StudySpec) -> WarmStart:
    """The finished trials of a study of the same space.

    Args:
        folder: of its run; may be running, is only read.
        spec: of this study.

    Raises:
        BadInput: where the folder holds no study that can be read, with every way in which it
            differs, or where nothing of it is of use to the searcher.
    """
    run = RunFolder(folder)
    run_folder.refuse_missing(run)
    theirs = load_resolved(run.spec)
    ledger = RecordedLedger(run.ledger)
    faults = list(_differences(spec, theirs, str(folder)))
    started = ledger.events("started")
    if not started:
        rule = "the ledger does not say how the study started"
        faults.append(Fault(str(run.ledger), "", rule, "Name another run."))
    faults += _unrecorded(ledger, spec, str(folder))
    if faults:
        raise BadInput(faults)
    finished = _finished(ledger, spec)
    kept = [one for one in finished if _inside(spec, one["params"])]
    least = spec.tune.declared.least_history
    if len(kept) < least:
        rule = (
            f"has {len(finished)} finished trials, {len(kept)} of them within this space; "
            f"{spec.tune.searcher} needs {least}"
        )
        way_out = "Name a study with more of them, or leave the option out."
        raise BadInput(Fault(OPTION, "", rule, way_out, str(folder)))
    return WarmStart(
        source=str(folder),
        data_sha256=str(started[0]["data_sha256"]),
        trials=tuple(kept),
        left_out=len(finished) - len(kept),
        fixed=tuple(_fixed_otherwise(spec, theirs)),
    )


def _differences(spec: StudySpec, theirs: StudySpec, folder: str) -> Iterator[Fault]:
    """Every reason for which the other study is none of this space."""
    way_out = "Name a study of this space, or leave the option out."
    if spec.ablate is not None or theirs.ablate is not None:
        rule = "an ablation runs every arm and searches nothing"
        yield Fault(OPTION, "ablate", rule, way_out, folder)
        return
    if not spec.tune.declared.learns:
        learning = ", ".join(name for name, one in searchers().items() if one.learns)
        rule = f"searcher: {spec.tune.searcher} learns nothing from other trials"
        yield Fault(OPTION, "tune.searcher", rule, f"Choose one of {learning}.", folder)
    pairs = {
        "recipe": (spec.recipe, theirs.recipe),
        "select.metric": (spec.select.metric, theirs.select.metric),
    }
    for key, (ours, other) in pairs.items():
        if ours != other:
            yield Fault(OPTION, key, f"is {other} there and {ours} here", way_out, folder)
    for name in dict.fromkeys([*spec.search, *theirs.search]):
        rule = _search_difference(spec.search.get(name), theirs.search.get(name))
        if rule:
            yield Fault(OPTION, dotted(("search", name)), rule, way_out, folder)


def _search_difference(ours: Searched | None, theirs: Searched | None) -> str:
    """Why the values of one parameter there mean nothing here; empty where they do."""
    if ours is None:
        return "is searched there and not here"
    if theirs is None:
        return "is searched here and not there"
    if ours.when != theirs.when:
        return "exists under another condition there (`when`)"
    if (ours.relation, ours.reference) != (theirs.relation, theirs.reference):
        return "is measured otherwise there"
    choices = isinstance(theirs.domain, Choice), isinstance(ours.domain, Choice)
    if choices[0] != choices[1]:
        there, here = ("a choice" if choice else "a range" for choice in choices)
        return f"is {there} there and {here} here"
    return ""


def _unrecorded(ledger: RecordedLedger, spec: StudySpec, folder: str) -> Iterator[Fault]:
    """Every objective of this study that the other one did not record."""
    for result in ledger.events("result")[:1]:
        for name in spec.tune.objectives or ():
            if name not in result["metrics"]:
                rule = f"{name} is an objective here and not on record there"
                way_out = "Name a study that recorded it, or leave the option out."
                yield Fault(OPTION, "tune.objectives", rule, way_out, folder)


def _finished(ledger: RecordedLedger, spec: StudySpec) -> list[dict[str, Any]]:
    """Parameters and deciding metrics of every trial of the search that trained to its end."""
    asked = {one["number"]: one for one in ledger.events("ask") if one.get("confirms") is None}
    epochs: dict[int, list[Record]] = {}
    for result in ledger.events("result"):
        epochs.setdefault(result["number"], []).append(result)
    names = dict.fromkeys([spec.select.metric, ID_ACCURACY, *(spec.tune.objectives or ())])
    only_last = spec.select.checkpoint == "last"
    return [
        {
            "trial": number,
            "params": ask["params"],
            "epochs": [
                {name: one["metrics"][name] for name in names}
                for one in epochs[number][-1 if only_last else 0 :]
            ],
        }
        for number, ask in asked.items()
        if number in epochs and epochs[number][-1]["decision"] == "finished"
    ]


def _inside(spec: StudySpec, params: dict[str, Any]) -> bool:
    domains: dict[str, Domain] = flat(spec)
    if not all(name in domains and v in domains[name] for name, v in params.items()):
        return False
    known = conditions(spec)
    there = {name for name in domains if name not in known or known[name].holds(params)}
    return params.keys() == there and existing(params, known).keys() == there


def _fixed_otherwise(spec: StudySpec, theirs: StudySpec) -> Iterator[str]:
    searched = set(spec.search) | {name.removeprefix("model.") for name in spec.search}
    ours = flatten(spec.train, spec.model.model_dump())
    other = flatten(theirs.train, theirs.model.model_dump())
    for name, value in ours.items():
        if name.split(".")[1] not in searched and name in other and other[name] != value:
            yield f"{name} is {other[name]} there and {value} here"
