"""From a spec to everything that a search needs: data with roles, base, margins, floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from study.data.decode import cache_folder
from study.data.leak_report import LeakReport
from study.data.leak_step import run_leak_check
from study.data.plan import DataPlan, missing_outliers
from study.data.roles import StudyData
from study.errors import BadInput, Fault
from study.losses.margins import MeasuredMargin, parse_margin, resolve_margin
from study.recipes.base import Recipe
from study.recipes.params import TrainParams
from study.recipes.registry import make_recipe
from study.space.points import (
    absent,
    flat,
    flatten,
    grid,
    is_under,
    point_with,
    substitute,
    values_of,
)
from study.space.spec import StudySpec
from study.space.spec_check import check_against_base, check_against_data
from study.training.assignment import Assignment
from study.tune.decisions import TrialRecord
from study.tune.sampler import Point
from study.watch.progress import Progress
from study.weights.base_models import (
    BASE_RECIPE,
    BaseModel,
    BaseSpec,
    RecordedBase,
    copied_base,
    loaded_base,
    trained_base,
)
from study.weights.declared import declared
from study.weights.initial import Initial, bring_initial, classifier_in
from study.weights.starting import Arrays, BaseWeights, Starting, network_of

Flat = dict[str, Any]
_MARGINS = ("m_in", "m_out")


@dataclass(frozen=True)
class Recorded:
    """What a run's folder holds of what its trials start from."""

    base: RecordedBase | None
    initial: tuple[Initial, ...]


@dataclass(frozen=True, eq=False)
class Setup:
    """A study that is ready to search.

    Attributes:
        spec: what was asked for.
        plan: which source serves which role.
        data: the roles that training and search see, after the leak check.
        leaks: what the leak check found.
        base: the model that trials start from; None where they start from nothing.
        initial: pretrained weights that trials start from, by backbone.
        floor: least validation ID accuracy of a candidate; None without one.
        device: "cuda" or "cpu", of base and trials.
    """

    spec: StudySpec
    plan: DataPlan
    data: StudyData
    leaks: LeakReport
    base: BaseModel | None
    initial: tuple[Initial, ...]
    floor: float | None
    device: str

    def assign(self, record: TrialRecord) -> Assignment:
        """What a worker is told to do: all parameters, margins as numbers."""
        model, train = self._sections(record.params)
        return Assignment(record.number, record.seed, model, train | self.margins(train))

    def margins(self, train: Flat) -> dict[str, float]:
        """The margins of ``train`` in nats; empty where the recipe or its loss has none."""
        if not self.spec.info.uses_margins(train):
            return {}
        found = {name: parse_margin(train[name]) for name in _MARGINS if name in train}
        if not any(isinstance(margin, MeasuredMargin) for margin in found.values()):
            return {name: float(margin) for name, margin in found.items()}  # type: ignore[arg-type]
        stats = self.base.energy_stats(train["temperature"]) if self.base else None
        if stats is None:
            raise ValueError(
                "measured margins need a trained base and outliers; give the margins in nats, or "
                "set model.init: cifar10"
            )
        return {name: resolve_margin(margin, stats) for name, margin in found.items()}

    def params(self, record: TrialRecord) -> Flat:
        """Every parameter of a trial, dotted name -> scalar, for tables and TensorBoard.

        A margin appears as it is written in the YAML and, as ``train.m_in.value``, in nats.
        """
        model, train = self._sections(record.params)
        named = {f"train.{name}.value": nats for name, nats in self.margins(train).items()}
        gone = absent(self.spec, record.params)  # has its default in training, not in a table
        every = flatten(train, model) | named
        return {name: None if is_under(name, gone) else value for name, value in every.items()}

    def base_recipe(self) -> tuple[str, Flat]:
        """Name and parameters of the recipe that scores the base.

        The study's own where every trial starts from the base, at some point of the search and
        with margins as numbers; else the base's.
        """
        if self.spec.info.base != "start" or not self.spec.info.trains:
            return BASE_RECIPE, base_spec(self.spec).train
        _, train = self._sections(point_with(self.spec))
        return self.spec.recipe, train | self.margins(train)

    def starting(self) -> Starting:
        """What trials start from."""
        weights = {one.backbone: one.weights for one in self.initial}
        if self.base is None:
            return Starting(weights=weights)
        wanted = base_spec(self.spec)
        if self.spec.info.base == "start" or self.spec.model.init == "cifar10":
            weights[wanted.backbone] = self.base.weights
        size = _image_size(self.data)
        base = BaseWeights(
            wanted.backbone,
            wanted.dropout,
            self.data.num_classes,
            size,
            self.base.weights,
            wanted.network,
        )
        return Starting(base, weights)

    def num_epochs(self, point: Point) -> int:
        """Epochs of a trial with these searched parameters."""
        return int(self._sections(point)[1]["epochs"])

    def _sections(self, point: Point) -> tuple[Flat, Flat]:
        train, model = substitute(self.spec, point)
        return model, train


def prepare_data(
    spec: StudySpec, plan: DataPlan, progress: Progress
) -> tuple[StudyData, LeakReport]:
    """Read the roles, check them for leaks and the spec against them.

    Raises:
        BadInput: for unusable files, collisions of roles, or a spec that asks for more than
            there is.
    """
    if spec.info.needs_outliers and not plan.outliers:
        raise BadInput(missing_outliers(spec.recipe))
    with progress.stage("Data: read"):
        data = plan.load_study(spec.data)
    for note in data.notes:
        progress.warning(note)
    with progress.stage("Data: leak check over all roles"):
        data, leaks = run_leak_check(plan, data, spec.data)
    for line in leaks.lines():
        progress.note(line)
    num_outliers = len(data.outliers.images) if data.outliers else None
    check_against_data(spec, len(data.train.images), num_outliers)
    return data, leaks


def prepare(
    spec: StudySpec,
    plan: DataPlan,
    data: StudyData,
    leaks: LeakReport,
    *,
    progress: Progress,
    device: str,
    recorded: Recorded | None = None,
) -> Setup:
    """Bring what trials start from, measure the base, and check the spec against it.

    Raises:
        BadInput: where margins cross on this base, weights do not fit or are not to be had, or a
            perceptual layer is not there.
        TrialFailed: where the base's training diverges.
    """
    if recorded is not None and recorded.base is None:
        base = None
    else:
        base = _base(spec, data, progress, device, recorded.base if recorded else None)
    initial = recorded.initial if recorded else _initial(spec, data, progress, base)
    for role, sources in declared(spec.model.pretrained_on, plan, data)["overlaps"].items():
        progress.warning(f"{role}: the initialisation was trained on {', '.join(sources)}")
    accuracy = base.metrics["val/id_accuracy"] if base else None
    floor = spec.select.floor.accuracy(accuracy) if spec.select.floor else None
    setup = Setup(spec, plan, data, leaks, base, initial, floor, device)
    _check_recipes(setup)
    for temperature in _temperatures(spec):
        stats = base.energy_stats(temperature) if base else None
        if stats is not None:
            check_against_base(spec, stats, temperature)
    return setup


def _check_recipes(setup: Setup) -> None:
    """Each recipe that trials will have is asked whether it can train on this data and base."""
    spec, starting = setup.spec, setup.starting()
    names: tuple[str, ...] = ("perceptual_network", "same_class_share", "max_outliers")
    if not spec.info.trains:
        names = tuple(spec.search)
    points = grid(spec) if spec.ablate else [point_with(spec)]
    for name, domain in flat(spec).items():
        if name.removeprefix("train.") in names:
            points += [point_with(spec, {name: value}) for value in domain.ends()]
    frozen = starting.base.build if starting.base else None
    for point in points:
        try:
            train, _ = substitute(spec, point)
            make_recipe(spec.recipe, train | setup.margins(train), frozen).check(setup.data)
        except ValueError as error:
            place, line = spec.places.of(("train",))
            raise BadInput(Fault(place, "train", str(error), line=line)) from error


def _temperatures(spec: StudySpec) -> list[float]:
    """The temperatures at which margins are measured: the fixed one, searched ends, or arms'."""
    return [float(value) for value in values_of(spec, "temperature") if value is not None]


def base_spec(spec: StudySpec) -> BaseSpec:
    """What the study's base is trained from, backbone, dropout and seed resolved."""
    network = network_of(spec.model.model_dump())
    if spec.base is None:
        train = TrainParams().model_dump()
        return BaseSpec(spec.model.backbone, spec.model.dropout, train, 0, network)
    dropout = spec.base.dropout if spec.base.dropout is not None else spec.model.dropout
    backbone = spec.base.backbone or spec.model.backbone
    train, init = spec.base.params().model_dump(), spec.base.init
    return BaseSpec(backbone, dropout, train, spec.base.seed, network, init)


def _base(
    spec: StudySpec,
    data: StudyData,
    progress: Progress,
    device: str,
    recorded: RecordedBase | None,
) -> BaseModel | None:
    """The base: the run's own copy, a trained one, a file's; None where there is none."""
    named = spec.model.init not in ("random", "imagenet")
    if recorded is None and spec.base is None and (spec.info.base != "start" or not named):
        return None
    torch_device = torch.device(device)
    wanted = base_spec(spec)
    if spec.info.base == "start" and spec.info.trains:
        scored_by = make_recipe(spec.recipe, substitute(spec, point_with(spec))[0])
    else:
        scored_by = make_recipe(BASE_RECIPE, wanted.train)
    if recorded is not None:
        return copied_base(recorded, wanted, data, device=torch_device, scored_by=scored_by)
    if spec.base is not None:
        return trained_base(
            wanted,
            data,
            cache=cache_folder() / "bases",
            device=torch_device,
            progress=progress,
            scored_by=scored_by,
            start=_start_of_base(spec, wanted, data, progress),
        )
    return _base_from_file(spec, wanted, data, torch_device, scored_by)


def _start_of_base(
    spec: StudySpec, wanted: BaseSpec, data: StudyData, progress: Progress
) -> Arrays | None:
    """The weights that the base's training starts from; None for fresh ones."""
    if wanted.init == "random":
        return None
    found = _brought(spec, data, progress, [wanted.backbone], ("base", "init"), wanted.init)
    return found[0].weights


def _initial(
    spec: StudySpec, data: StudyData, progress: Progress, base: BaseModel | None
) -> tuple[Initial, ...]:
    """Pretrained weights of every backbone that trials have; none where a base is all."""
    init = spec.model.init
    if init in ("random", "cifar10") or (spec.info.base == "start" and base is not None):
        return ()
    backbones = list(dict.fromkeys(values_of(spec, "model.backbone")))
    return _brought(spec, data, progress, backbones, ("model", "init"), init)


def _brought(
    spec: StudySpec,
    data: StudyData,
    progress: Progress,
    backbones: list[str],
    path: tuple[str, str],
    init: str,
) -> tuple[Initial, ...]:
    network, dropout = base_spec(spec).network, spec.model.dropout
    file = None if init == "imagenet" else Path(init)
    try:
        with progress.stage("Pretrained weights"):
            found = bring_initial(
                backbones,
                _image_size(data),
                dropout=dropout,
                file=file,
                seed=0,
                network=network,
            )
    except ValueError as error:
        place, line = spec.places.of(path)
        way_out = "Name a file of this backbone's weights, or choose another init."
        fault = Fault(place, ".".join(path), f"no weights: {error}", way_out, init, line)
        raise BadInput(fault) from error
    for one in found:
        if one.reinitialised:
            names = ", ".join(one.reinitialised)
            progress.warning(f"{one.backbone}: not taken from {one.source}: {names}")
        if one.layout:
            progress.note(f"{one.backbone}: from {one.layout} of {one.source}")
    return tuple(found)


def _image_size(data: StudyData) -> int:
    return int(data.train.images.pixels.shape[1])


def _base_from_file(
    spec: StudySpec, wanted: BaseSpec, data: StudyData, device: torch.device, scored_by: Recipe
) -> BaseModel | None:
    """The classifier that a file holds; None where the file holds a network without a head."""
    path = Path(spec.model.init)
    try:
        weights = classifier_in(path)
        if weights is None:
            return None
        return loaded_base(path, wanted, weights, data, device=device, scored_by=scored_by)
    except (BadInput, ValueError) as error:
        place, line = spec.places.of(("model", "init"))
        rule = f"the weights cannot be used for {wanted.backbone}: {error}"
        way_out = "Name a file of this backbone's weights, or the backbone of the file."
        key, value = "model.init", str(path)
        raise BadInput(Fault(place, key, rule, way_out, value, line)) from error
