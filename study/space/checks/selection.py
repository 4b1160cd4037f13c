"""The section ``select``: the metric, its floor, and images that are kept to confirm by."""

from __future__ import annotations

from collections.abc import Iterator

from study.scoring.measuring import OOD_METRICS
from study.scoring.metrics import METRICS
from study.scoring.objective import ID_ACCURACY
from study.space.checks.bases import replaced_by_a_file
from study.space.checks.case import Case, Check
from study.space.reading.places import Problem, nearest
from study.space.reading.sections import OWN_FLOOR

SELECTABLE: tuple[str, ...] = (
    ID_ACCURACY,
    *(f"val/{name}" for name in OOD_METRICS if METRICS[name].fraction),
)
"""Metrics that ``select.metric`` takes."""


def nearest_metric(name: str) -> str:
    """The way out for a name that no metric has."""
    return nearest(name if name.startswith("val/") else f"val/{name}", SELECTABLE)


def _metric(case: Case) -> Iterator[Problem]:
    metric = case.spec.select.metric
    if metric not in SELECTABLE:
        rule = "no metric to select by has this name"
        yield Problem(("select", "metric"), rule, nearest_metric(metric), metric)


def _floor(case: Case) -> Iterator[Problem]:
    path, floor = ("select", "floor"), case.spec.select.floor
    from_file = case.spec.params.base == "start" and replaced_by_a_file(case)
    of_base = floor is not None and floor.kind == "below_base"
    if floor is not None and of_base and not (case.own_base or from_file):
        rule = "below_base needs a base that this study trains (its accuracy is the reference)"
        way_out = "Write {id_accuracy: {at_least: 0.9}} with an accuracy of your own."
        yield Problem(path, rule, way_out, floor.plain())
    by_ood = case.spec.select.metric != ID_ACCURACY
    if floor is None and by_ood and not (case.faults.under(path) or case.init_faulty):
        rule = "selecting by an OOD metric needs a floor on ID accuracy"
        yield Problem(path, rule, OWN_FLOOR, case.given(case.spec.select, "floor"))


def _path(case: Case) -> Iterator[Problem]:
    """A path leads from the study's base to a network like it."""
    spec = case.spec
    if spec.select.path and not (spec.may_have_path or case.init_faulty):
        rule = "a path needs trials that start from the study's own base, by a recipe that keeps "
        rule += "its network, and no detectors"
        way_out = "Take it out: the trained weights alone are then scored."
        yield Problem(("select", "path"), rule, way_out, list(spec.select.path))


def _kept(case: Case) -> Iterator[Problem]:
    """An ablation compares its arms on all images."""
    fraction = case.spec.data.confirm_fraction
    if fraction and "ablate" in case.sections:
        rule = "this keeps validation images apart from a choice, and an ablation makes none"
        way_out = "Take it out: the effects of arms are measured on all images."
        yield Problem(("data", "confirm_fraction"), rule, way_out, fraction)


CHECKS: tuple[Check, ...] = (_metric, _floor, _path, _kept)
