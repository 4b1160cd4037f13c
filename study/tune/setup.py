"""From a spec to everything that a search needs: data with roles, base, margins, floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from study.bases.base_models import BaseModel, RecordedBase
from study.bases.bringing import Bringer
from study.bases.initial import Initial
from study.bases.needed import Base, bases_of, of_bases
from study.bases.provenance import declared, sources_declared, trained_on
from study.bases.training import BASE_RECIPE
from study.data.classes import names_of
from study.data.enough import told_of_few
from study.data.leaks.report import LeakReport
from study.data.leaks.step import run_leak_check
from study.data.plan import DataPlan, missing_outliers
from study.data.roles import StudyData
from study.errors import BadInput, Fault
from study.losses.margins import MeasuredMargin, parse_margin, resolve_margin
from study.recipes.detector_params import FIELDS
from study.recipes.params import TrialParams
from study.recipes.registry import make_recipe
from study.records.files import BASE
from study.scoring.floor import Floor
from study.scoring.path import PathPlan
from study.space.ablation.section import ARM
from study.space.checks.against import (
    check_against_base,
    check_against_data,
    check_detectors_on_data,
    check_outlier_weights,
)
from study.space.points import (
    absent,
    base_at,
    first_points,
    flat,
    flatten,
    grid,
    is_under,
    point_with,
    substitute,
)
from study.space.search.conditions import Point
from study.space.study_spec import StudySpec
from study.training.assignment import Assignment
from study.training.loop import Goal
from study.training.starting import BaseWeights, Starting
from study.training.trial import TrialSetting
from study.tune.floors import asked_by, floor_of, told_of_asked, too_fine
from study.tune.record import Flat, TrialRecord
from study.watch.progress import Progress

_MARGINS = ("m_in", "m_out")


@dataclass(frozen=True)
class Recorded:
    """What a run's folder holds of what its trials start from.

    Attributes:
        bases: by name; none where trials start from nothing.
        initial: pretrained weights.
        confidence: with which each state must hold the floor; None where its accuracy must.
    """

    bases: Mapping[str, RecordedBase]
    initial: tuple[Initial, ...]
    confidence: float | None


@dataclass(frozen=True, eq=False)
class CheckedStudy:
    """A study whose data were read and checked.

    Attributes:
        spec: what was asked for.
        plan: which source serves which role.
        data: the roles that training and search see, after the leak check.
        leaks: what the leak check found.
    """

    spec: StudySpec
    plan: DataPlan
    data: StudyData
    leaks: LeakReport


@dataclass(frozen=True, eq=False)
class Setup(CheckedStudy):
    """A study that is ready to search.

    Attributes:
        models: what trials start from, by the names of `wanted`; none where it is nothing.
        initial: pretrained weights that trials start from, by backbone.
        floor: on the validation ID accuracy of a candidate; None without one.
        device: "cuda" or "cpu", of bases and trials.
    """

    models: Mapping[str, BaseModel]
    initial: tuple[Initial, ...]
    floor: Floor | None
    device: str

    @property
    def base(self) -> BaseModel | None:
        """The study's base, where arms have several that of the baseline; None without one."""
        return self.models.get(BASE)

    @cached_property
    def wanted(self) -> dict[str, Base]:
        """What every base is the base of, by name; `base` alone where arms do not differ in it."""
        return bases_of(self.spec)

    def base_name(self, point: Mapping[str, Any]) -> str:
        """Name of the base that a trial starts from."""
        arm = str(point.get(ARM))
        return next((name for name, one in self.wanted.items() if arm in one.arms), BASE)

    def assign(self, record: TrialRecord) -> Assignment:
        """What a worker is told to do: all parameters, margins as numbers."""
        train, model = substitute(self.spec, record.params)
        train |= self.margins(train, record.params)
        base = self.base_name(record.params)
        alone = self.spec.select.confirm is None or record.confirms is not None
        kept = alone and self.data.kept is not None
        path = bool(self.spec.select.path)
        return Assignment(
            record.number, record.seed, model, train, kept=kept, base=base, path=path
        )

    def margins(self, train: Flat, point: Mapping[str, Any]) -> dict[str, float]:
        """The margins of ``train`` in nats, as measured on the base of the trial at ``point``.

        Empty where the recipe or its loss has none.
        """
        if not self._checked(train).uses_margins:
            return {}
        found = {name: parse_margin(train[name]) for name in _MARGINS if name in train}
        if not any(isinstance(margin, MeasuredMargin) for margin in found.values()):
            return {name: float(margin) for name, margin in found.items()}  # type: ignore[arg-type]
        base = self.models.get(self.base_name(point))
        stats = base.energy_stats(train["temperature"]) if base else None
        if stats is None:
            raise ValueError(
                "measured margins need a trained base and outliers; give the margins in nats, or "
                "set model.init: base"
            )
        return {name: resolve_margin(margin, stats) for name, margin in found.items()}

    def first_points(self) -> tuple[list[Point], list[str]]:
        """The points of `tune.first` on this base, and what to tell of them."""
        base = self.base
        return first_points(self.spec, lambda at: base.energy_stats(at) if base else None)

    def params(self, record: TrialRecord) -> Flat:
        """Every parameter of a trial, dotted name -> scalar, for tables and TensorBoard.

        A margin appears as it is written in the YAML and, as ``train.m_in.value``, in nats.
        """
        point = record.params
        train, model = substitute(self.spec, point)
        margins = self.margins(train, point)
        named: Flat = {f"train.{name}.value": nats for name, nats in margins.items()}
        base = base_at(self.spec, point)
        model["pretrained_on"] = trained_on(model, base.init if self.spec.base else "")
        named |= {name: getattr(base, key) for name, key in of_bases(self.spec)}
        gone = absent(self.spec, record.params)  # has its default in training, not in a table
        every = flatten(train, model) | named
        return {
            name: None if is_under(name, gone) else value
            for name, value in every.items()
            if name not in self._never
        }

    @cached_property
    def _never(self) -> frozenset[str]:
        """Settings of detectors that no trial of the study has."""
        if "detectors" not in type(self.spec.params).model_fields:
            return frozenset()
        lists = self.spec.values_of("detectors")
        used = {self.spec.own_score, *(one for names in lists for one in names or ())}
        fields = FIELDS.items()
        return frozenset(f"train.{field}" for field, (owner, _) in fields if owner not in used)

    def base_recipe(self, name: str) -> tuple[str, Flat]:
        """Name and parameters of the recipe that scores a base.

        The study's own where every trial starts from a base, at some point of the search and
        with margins as numbers; else the base's.
        """
        one = self.wanted[name]
        if not self.spec.params.measures_base:
            return BASE_RECIPE, one.spec.train
        train, _ = substitute(self.spec, one.point)
        return self.spec.recipe, train | self.margins(train, one.point)

    def starting(self) -> Starting:
        """What trials start from."""
        weights = {one.backbone: one.weights for one in self.initial}
        bases = {name: self._weights(name, one) for name, one in self.models.items()}
        base = bases.pop(BASE, None)
        starts = self.spec.params.base == "start" or self.spec.model.init == "base"
        if base is not None and starts:
            weights[base.backbone] = base.weights
        return Starting(base, weights, bases)

    def _weights(self, name: str, base: BaseModel) -> BaseWeights:
        one, data = self.wanted[name].spec, self.data
        size, network = data.image_size, one.network
        return BaseWeights(
            one.backbone, one.dropout, data.num_classes, size, base.weights, network
        )

    def trial_setting(self, run: Path, *, threads: int, device: str) -> TrialSetting:
        """What every trial shares, to keep its files in the folder ``run``."""
        select = self.spec.select
        return TrialSetting(
            recipe=self.spec.recipe,
            data=self.data,
            starting=self.starting(),
            run=run,
            goal=Goal(select.metric, self.floor, select.penalty),
            path=path_plan(self.spec, self.data),
            checkpoint_rule=select.checkpoint,
            threads=threads,
            device=device,
        )

    def num_epochs(self, point: Point) -> int:
        """Epochs of a trial with these searched parameters; one where it trains nothing."""
        train, _ = substitute(self.spec, point)
        return int(train["epochs"]) if self._checked(train).trains else 1

    def _checked(self, train: Flat) -> TrialParams:
        return type(self.spec.params).model_validate(train)


def path_plan(spec: StudySpec, data: StudyData) -> PathPlan | None:
    """Which points of a trial's path are scored, and when; None where trials have no path."""
    select = spec.select
    if not select.path:
        return None
    if spec.values_of("fine_tune") == ["linear"]:  # on features that are there already
        return PathPlan(select.path, select.path_halvings)
    most = max(spec.values_of("epochs"))
    sizes = [one or len(data.train.images) for one in spec.values_of("epoch_images")]
    outliers = min(spec.values_of("outlier_batch_size"), default=0)
    return PathPlan.within_cost(
        select.path,
        select.path_halvings,
        trained=min(sizes) * (1 + outliers / max(spec.values_of("batch_size"))),
        validated=len(data.val_id.images) + sum(map(len, data.ood_val.sets.values())),
        rungs=frozenset(spec.tune.rungs(most)),
    )


def prepare_data(spec: StudySpec, plan: DataPlan, progress: Progress) -> CheckedStudy:
    """Read the roles, check them for leaks and the spec against them.

    Raises:
        BadInput: for unusable files, collisions of roles, or a spec that asks for more than
            there is.
    """
    if spec.params.needs_outliers and not plan.outliers:
        raise BadInput(missing_outliers(spec.recipe))
    with progress.stage("Data: read"):
        data = plan.load_study(spec.data)
        plan = replace(plan, classes=names_of(data.train.images))
    for note in data.notes:
        progress.warning(note)
    num_told = len(data.notes)
    with progress.stage("Data: leak check over all roles"):
        data, leaks = run_leak_check(plan, data, spec.data)
    for note in data.notes[num_told:]:
        progress.warning(note)
    for line in leaks.lines():
        progress.note(line)
    small = told_of_few(
        {"validation ID": data.val_id.images},
        {f"OOD validation {name}": one for name, one in data.ood_val.sets.items()},
    )
    for note in small:
        progress.warning(note)
    data = replace(data, notes=(*data.notes, *small))
    if data.kept is not None:
        parts = {"validation ID": data.kept.id, **data.kept.ood}
        told = ", ".join(f"{name} {len(images):,}" for name, images in parts.items())
        why = "for confirmation alone" if spec.select.confirm else "apart, nothing goes by them"
        progress.note(f"kept {why}: {told} images")
    num_outliers = len(data.outliers.images) if data.outliers else None
    check_against_data(spec, len(data.train.images), num_outliers)
    check_detectors_on_data(spec, len(data.train.images), data.num_classes)
    check_outlier_weights(spec, [one.name for one in plan.outliers])
    return CheckedStudy(spec, plan, data, leaks)


def prepare(
    study: CheckedStudy, *, progress: Progress, device: str, recorded: Recorded | None = None
) -> Setup:
    """Bring what trials start from, measure the bases, and check the spec against them.

    Raises:
        BadInput: where margins cross on this base, weights do not fit or are not to be had, or a
            perceptual layer is not there.
        TrialFailed: where the base's training diverges.
    """
    spec, data = study.spec, study.data
    bringer = Bringer(spec, data, progress, device)
    models = _models(bringer, recorded)
    base = models.get(BASE)
    initial = recorded.initial if recorded else bringer.initial(base)
    for role, sources in declared(sources_declared(spec), study.plan, data)["overlaps"].items():
        progress.warning(f"{role}: the initialisation was trained on {', '.join(sources)}")
    asked = asked_by(spec)
    confidence = recorded.confidence if recorded else asked
    floor = floor_of(spec, data, base, confidence)
    for note in told_of_asked(spec, confidence, asked):
        progress.note(note)
    if floor is not None and (told := too_fine(spec, data, floor)):
        progress.warning(told)
    setup = Setup(spec, study.plan, data, study.leaks, models, initial, floor, device)
    # At which margins are measured: the fixed one, the ends of a search's, or those of arms.
    temperatures = [float(one) for one in spec.values_of("temperature") if one is not None]
    for name, model in models.items():
        for temperature in temperatures:
            stats = model.energy_stats(temperature)
            if stats is not None:
                arms = setup.wanted[name].arms or None
                check_against_base(spec, stats, temperature, arms)
    for text in setup.first_points()[1]:
        progress.warning(text)
    _check_recipes(setup)  # their parameters need margins that do not cross
    return setup


def _models(bringer: Bringer, recorded: Recorded | None) -> dict[str, BaseModel]:
    """Every base by its name; none where trials start from nothing."""
    if recorded is not None and not recorded.bases:
        return {}
    found = {
        name: bringer.base(one, recorded.bases[name] if recorded else None)
        for name, one in bases_of(bringer.spec).items()
    }
    return {name: base for name, base in found.items() if base is not None}


def _check_recipes(setup: Setup) -> None:
    """Each recipe that trials will have is asked whether it can train on this data and base."""
    spec, starting = setup.spec, setup.starting()
    points = grid(spec) if spec.ablate else [point_with(spec)]
    for name, domain in flat(spec).items():
        if name.removeprefix("train.") in spec.params.asked_of_data:
            points += [point_with(spec, {name: value}) for value in domain.ends()]
    for point in points:
        base = starting.base_of(setup.base_name(point))
        try:
            train, _ = substitute(spec, point)
            train |= setup.margins(train, point)
            make_recipe(spec.recipe, train, base.build if base else None).check(setup.data)
        except ValueError as error:
            place, line = spec.places.of(("train",))
            raise BadInput(Fault(place, "train", str(error), line=line)) from error
