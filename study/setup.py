"""From a spec to everything that a search needs: data with roles, base, margins, floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from study.assignment import Assignment
from study.base_models import (
    BaseModel,
    BaseSpec,
    RecordedBase,
    copied_base,
    loaded_base,
    trained_base,
)
from study.data.decode import cache_folder
from study.data.leak_report import LeakReport
from study.data.leak_step import run_leak_check
from study.data.plan import DataPlan, missing_outliers
from study.data.roles import StudyData
from study.errors import BadInput, Fault
from study.margins import MeasuredMargin, parse_margin, resolve_margin
from study.models.weights import load_public_resnet, load_weights
from study.progress import Progress
from study.recipes.base import Recipe
from study.recipes.params import TrainParams
from study.recipes.registry import make_recipe
from study.space import flat, flatten, substitute
from study.spec import StudySpec
from study.spec_check import check_against_base, check_against_data
from study.tune.decisions import TrialRecord
from study.tune.sampler import Point

Flat = dict[str, Any]
_MARGINS = ("m_in", "m_out")


@dataclass(frozen=True, eq=False)
class Setup:
    """A study that is ready to search.

    Attributes:
        spec: what was asked for.
        plan: which source serves which role.
        data: the roles that training and search see, after the leak check.
        leaks: what the leak check found.
        base: the model that trials start from; None where they start from nothing.
        floor: least validation ID accuracy of a candidate; None without one.
        device: "cuda" or "cpu", of base and trials.
    """

    spec: StudySpec
    plan: DataPlan
    data: StudyData
    leaks: LeakReport
    base: BaseModel | None
    floor: float | None
    device: str

    def assign(self, record: TrialRecord) -> Assignment:
        """What a worker is told to do: all parameters, margins as numbers."""
        model, train = self._sections(record.params)
        return Assignment(record.number, record.seed, model, train | self.margins(train))

    def margins(self, train: Flat) -> dict[str, float]:
        """The margins of ``train`` in nats; empty where the recipe has none."""
        found = {name: parse_margin(train[name]) for name in _MARGINS if name in train}
        if not any(isinstance(margin, MeasuredMargin) for margin in found.values()):
            return {name: float(margin) for name, margin in found.items()}  # type: ignore[arg-type]
        stats = self.base.energy_stats(train["temperature"]) if self.base else None
        if stats is None:
            raise AssertionError("measured margins need a base and outliers")
        return {name: resolve_margin(margin, stats) for name, margin in found.items()}

    def params(self, record: TrialRecord) -> Flat:
        """Every parameter of a trial, dotted name -> scalar, for tables and TensorBoard.

        A margin appears as it is written in the YAML and, as ``train.m_in.value``, in nats.
        """
        model, train = self._sections(record.params)
        named = {f"train.{name}.value": nats for name, nats in self.margins(train).items()}
        return flatten(train, model) | named

    def some_train(self) -> Flat:
        """The section ``train:`` at some point of the search, margins as numbers: the base's."""
        _, train = self._sections(some_point(self.spec))
        return train | self.margins(train)

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
    recorded: RecordedBase | None = None,
) -> Setup:
    """Bring the base, measure it, and check margins and floor against it.

    Raises:
        BadInput: where margins cross on this base, or its file does not fit.
        TrialFailed: where the base's training diverges.
    """
    base = _base(spec, data, progress, device, recorded)
    accuracy = base.metrics["val/id_accuracy"] if base else None
    floor = spec.select.floor.accuracy(accuracy) if spec.select.floor else None
    setup = Setup(spec, plan, data, leaks, base, floor, device)
    for temperature in _temperatures(spec):
        stats = base.energy_stats(temperature) if base else None
        if stats is not None:
            check_against_base(spec, stats)
    return setup


def _temperatures(spec: StudySpec) -> list[float]:
    """The temperatures at which margins are measured: the fixed one, or the searched ends."""
    domain = flat(spec).get("train.temperature")
    ends = [spec.train.get("temperature")] if domain is None else domain.ends()
    return [float(value) for value in ends if value is not None]


def base_spec(spec: StudySpec) -> BaseSpec:
    """What the study's base is trained from, dropout and seed resolved."""
    if spec.base is None:
        return BaseSpec(spec.model.backbone, spec.model.dropout, TrainParams().model_dump(), 0)
    dropout = spec.base.dropout if spec.base.dropout is not None else spec.model.dropout
    params = spec.base.params().model_dump()
    return BaseSpec(spec.model.backbone, dropout, params, spec.base.seed)


def _base(
    spec: StudySpec,
    data: StudyData,
    progress: Progress,
    device: str,
    recorded: RecordedBase | None,
) -> BaseModel | None:
    """What trials start from: the run's own copy, a trained one, a file's; None for nothing."""
    if spec.base is None and spec.model.init == "random":
        return None
    torch_device = torch.device(device)
    train, _ = substitute(spec, some_point(spec))
    scored_by = make_recipe(spec.recipe, train)
    wanted = base_spec(spec)
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
        )
    return _base_from_file(spec, wanted, data, torch_device, scored_by)


def _base_from_file(
    spec: StudySpec, wanted: BaseSpec, data: StudyData, device: torch.device, scored_by: Recipe
) -> BaseModel:
    path = Path(spec.model.init)
    try:
        public = path.suffix in {".th", ".pth", ".pt"}
        weights = load_public_resnet(path) if public else load_weights(path)[0]
        return loaded_base(path, wanted, weights, data, device=device, scored_by=scored_by)
    except (BadInput, ValueError) as error:
        place, line = spec.places.of(("model", "init"))
        rule = f"the weights cannot be used for {wanted.backbone}: {error}"
        way_out = "Name a file of this backbone's weights, or the backbone of the file."
        key, value = "model.init", str(path)
        raise BadInput(Fault(place, key, rule, way_out, value, line)) from error


def some_point(spec: StudySpec) -> Point:
    """Some point of the search space: the base is scored before there is a trial."""
    return {name: domain.ends()[0] for name, domain in flat(spec).items()}
