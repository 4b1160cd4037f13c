"""The defaults of a space that depend on its other parts, all in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from study.scoring.path import ALPHAS
from study.section import Section
from study.space.reading.sections import FloorRule
from study.space.study_spec import StudySpec

S = TypeVar("S", bound=Section)
_FINISH_ONE_IN = 8
"""Of so many trials one is brought to its end, whatever the rungs let through: only what finished
may be selected, and a short search may promote nobody so far."""
DEFAULT_FLOOR = FloorRule("below_base", 0.01, confidence=0.8)
"""Of 100 replayed searches each, of 8, 16, 32 and 64 trials, the choice truly stood above the
floor in 79 to 80, of linear fine-tuning in 81 to 90; .9 costs two to three points of FPR95
(docs/search.md)."""


def with_defaults(spec: StudySpec, *, ablates: bool) -> StudySpec:
    """The spec with what its other parts decide, where the YAML does not.

    Args:
        spec: with the defaults of each section by itself.
        ablates: whether the space has a section ``ablate``, be it a faulty one.
    """
    model = _where_missing(spec.model, init="random" if spec.params.base == "none" else "base")
    spec = replace(spec, model=model)
    trains_base = _trains_base(spec)
    base, tune, select = spec.own_base, spec.tune, spec.select
    # Equal budgets: a pair of trials of which one was stopped is no pair; and of several
    # objectives none alone tells which trial is the worse.
    if ablates or tune.objectives is not None:
        tune = _where_missing(tune, scheduler="none")
    if tune.scheduler == "asha":
        finish = 0 if ablates else max(1, tune.num_trials // _FINISH_ONE_IN)
        tune = _where_missing(tune, grace_epochs=_grace(spec), finish=finish)
    if spec.ablate is not None:  # its trials are enumerated like a grid's points
        changed = {"searcher": "grid", "num_trials": spec.ablate.num_trials}
        tune = tune.model_copy(update=changed)
    if base.dropout is None and "model.dropout" not in spec.search:
        base = base.model_copy(update={"dropout": model.dropout})
    one_base = not (spec.ablate and spec.ablate.of_base())
    if trains_base and model.init == "base" and one_base:
        select = _where_missing(select, floor=DEFAULT_FLOOR)
    spec = replace(spec, own_base=base, tune=tune, select=select, trains_base=trains_base)
    if spec.may_have_path and not ablates:  # an arm is measured as it was trained
        spec = replace(spec, select=_where_missing(select, path=ALPHAS))
    return spec


def _grace(spec: StudySpec) -> int:
    """Half of a trial's epochs: early in a schedule the rate is high, and accuracy dips.

    Of the ten best of 164 recorded trials of nine epochs a first rung at epoch 1 let none through,
    one at epoch 4 five or six. With paths, in 100 replayed searches of 24 trials of four epochs, a
    rung at epoch 1 cost 2.8 points of FPR95 and one at epoch 3 gained 0.3 (docs/search.md).
    """
    return max(1, min(int(value) for value in spec.own_values("epochs")) // 2)


def _where_missing(section: S, **defaults: object) -> S:
    """A section with these values in place of the defaults of its class."""
    missing = {k: value for k, value in defaults.items() if k not in section.model_fields_set}
    return section.model_copy(update=missing)


def _trains_base(spec: StudySpec) -> bool:
    """Whether some trial starts from a base of the study's own, or looks at it."""
    params = spec.params
    if params.base == "none" or spec.model.init == "base":
        return params.base != "none"
    return bool(params.base_parameter) and "base" in spec.values_of(params.base_parameter)
