"""A validated study: what a space says, with every default written out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from study.data.section import DataSection, HoldOut
from study.recipes.params import TrialParams
from study.section import Section
from study.space.ablation.section import Ablation
from study.space.reading.fields import plain_field
from study.space.reading.places import Places
from study.space.reading.sections import BaseSection, ModelSection, SelectSection, TuneSection
from study.space.reading.yamlfile import KeyPath, dump
from study.space.search.search import Searched, split_name

_OF_A_SEARCH = {"searcher", "num_trials", "seed"}  # keys of `tune` that an ablation goes without


@dataclass(frozen=True)
class StudySpec:
    """A validated study; while it is read, what is good of one.

    Attributes:
        recipe: name of the recipe.
        data: section ``data``.
        model: section ``model``.
        own_base: section ``base`` as it would be; see ``base``.
        params: section ``train``; what is searched has its default.
        search: searched parameters as the YAML names them (``lr``, ``model.dropout``); none in
            an ablation.
        tune: section ``tune``.
        select: section ``select``.
        ablate: section ``ablate``; None where parameters are searched.
        trains_base: whether some trial starts from a base of the study's own, or looks at it.
        places: where each value came from, for the messages of later checks.
    """

    recipe: str
    data: DataSection
    model: ModelSection
    own_base: BaseSection
    params: TrialParams
    search: dict[str, Searched]
    tune: TuneSection
    select: SelectSection
    ablate: Ablation | None = None
    trains_base: bool = False
    places: Places = field(compare=False, repr=False, default_factory=lambda: Places("spec.yaml"))

    @property
    def base(self) -> BaseSection | None:
        """Section ``base``; None where no base is trained."""
        return self.own_base if self.trains_base else None

    @cached_property
    def train(self) -> dict[str, Any]:
        """Every parameter of the recipe that is fixed, in the YAML's form, defaults included."""
        fields = type(self.params).model_fields
        unwritten = self.params.unwritten
        left_out = {n for n in unwritten if getattr(self.params, n) == fields[n].default}
        return self.params.model_dump(exclude=left_out | self.search.keys())

    @property
    def may_have_path(self) -> bool:
        """Whether trials are paths: each starts from a base of its own network."""
        starts = self.trains_base and self.values_of("model.init") == ["base"]
        return starts and self.params.has_path

    @property
    def hold_outs(self) -> tuple[HoldOut, ...]:
        """What an ablation is run under, each a study of its own; none where it is one study."""
        if self.ablate is None or not self.ablate.hold_outs:
            return ()
        own = self.data.hold_out
        return (*([own] if own else []), *self.ablate.hold_outs)

    def under(self, hold_out: HoldOut) -> StudySpec:
        """The study of one of `hold_outs`."""
        data = self.data.model_copy(update={"hold_out": hold_out})
        ablate = self.ablate and replace(self.ablate, hold_outs=())
        return replace(self, data=data, ablate=ablate)

    @property
    def own_score(self) -> str:
        """The OOD score that means over OOD sets, and so the selection, are of."""
        return self.params.selected_score

    def section_of(self, name: str) -> tuple[Section, str]:
        """The section that has a parameter, named as the YAML's ``search`` names it, and field."""
        section, field_name = split_name(name)
        sections = {"train": self.params, "model": self.model, "base": self.own_base}
        return sections[section], field_name

    def fixed(self, name: str) -> Any:
        """What a parameter is where it is not searched and no arm sets it, in the YAML's form."""
        return plain_field(*self.section_of(name))

    def own_values(self, name: str) -> list[Any]:
        """Values of a parameter between which all others lie, but for an ablation's arms.

        The fixed one, or the ends of its search and, where it does not always exist, its default.
        The name is that of the YAML: ``lr``, ``model.backbone``.
        """
        entry = self.search.get(name)
        if entry is not None and entry.when is None:
            return list(entry.ends())
        section, field_name = self.section_of(name)
        fixed = [self.fixed(name)] if field_name in type(section).model_fields else []
        return fixed if entry is None else [*entry.ends(), *fixed]

    def values_of(self, name: str) -> list[Any]:
        """The same with those of the arms."""
        return self.own_values(name) + (self.ablate.values(name) if self.ablate else [])

    def path_of(self, name: str) -> KeyPath:
        """Where a parameter's values stand: in the search, or where it is fixed."""
        return ("search", name) if name in self.search else split_name(name)

    def with_settings(self, settings: Mapping[str, Any]) -> StudySpec:
        """A study of one arm: these parameters in place, nothing searched."""
        changed: dict[str, dict[str, Any]] = {"train": {}, "model": {}, "base": {}}
        for name, value in settings.items():
            section, field_name = split_name(name)
            changed[section][field_name] = value
        return replace(
            self,
            params=self.params.model_copy(update=changed["train"]),
            model=self.model.model_copy(update=changed["model"]),
            own_base=self.own_base.model_copy(update=changed["base"]),
            ablate=None,
        )

    def resolved(self) -> dict[str, Any]:
        """Plain data with every default written out; ``load_resolved`` of its dump equals this."""
        searched = {name.removeprefix("model.") for name in self.search if "." in name}
        plain: dict[str, Any] = {
            "recipe": self.recipe,
            "data": self.data.model_dump(),
            "model": self.model.model_dump(exclude=searched),
            "base": None if self.base is None else self.base.model_dump(),
            "train": copy.deepcopy(self.train),
            "search": {name: one.plain() for name, one in self.search.items()},
            "ablate": None if self.ablate is None else self.ablate.plain(),
            "tune": self.tune.model_dump(exclude=_OF_A_SEARCH if self.ablate else None),
            "select": self.select.model_dump(),
        }
        if self.ablate is not None:
            del plain["search"]
        return {key: value for key, value in plain.items() if value is not None}

    def dump(self) -> str:
        """The resolved spec as YAML."""
        return dump(self.resolved())
