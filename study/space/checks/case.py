"""What a check sees, and how checks are run: each yields its problems, one driver tells them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import NO_VALUE
from study.section import Section
from study.space.reading.fields import plain_field
from study.space.reading.places import FaultList, Problem
from study.space.study_spec import StudySpec

DEFAULT_ROOT = Path("data")  # as `study.data.plan` has it


@dataclass(frozen=True)
class Case:
    """A spec that is being checked.

    Attributes:
        spec: what is good of it.
        faults: those told so far; a check leaves alone what has a fault of its own, since what
            was meant there is not known.
        sections: that the YAML has.
        root: the data folder; its sets are known by their file names.
        begins: whether the study is about to begin: files that the space names must exist, and
            what is set must have an effect. Where a run's own spec is read, its files may be
            gone, and what had no effect may have had another default.
    """

    spec: StudySpec
    faults: FaultList
    sections: Collection[str] = ()
    root: Path = DEFAULT_ROOT
    begins: bool = True

    @property
    def init_faulty(self) -> bool:
        """Whether it is not known what trials start from."""
        return self.faults.under(("model", "init"))

    @property
    def own_base(self) -> bool:
        """Whether the study trains a base, or may mean to."""
        return self.spec.params.base != "none" if self.init_faulty else self.spec.trains_base

    def faulty(self, section: str, names: Iterable[str]) -> bool:
        """Whether a field has a fault, in its section, in the search, or as a whole."""
        whole = any(fault.key in (section, "search") for fault in self.faults.faults)
        paths = [(where, name) for where in (section, "search") for name in names]
        return whole or self.faults.under(*paths)

    def given(self, section: Section, name: str) -> Any:
        """The value of a field where the YAML has it, else `NO_VALUE`."""
        return plain_field(section, name) if name in section.model_fields_set else NO_VALUE


Check = Callable[[Case], Iterator[Problem]]


def run(checks: Iterable[Check], case: Case) -> None:
    """Tell the problems that each check yields, in their order."""
    for check in checks:
        case.faults.take(check(case))


def is_file(name: str) -> bool:
    """Whether there is a file of this name, however odd the name is."""
    return "\0" not in name and len(name) < 4096 and Path(name).is_file()
