"""A spec against its data and its base, once they are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from study.losses.margins import EnergyStats
from study.models.names import NUM_FEATURES
from study.space.ablation.designs import BASELINE
from study.space.checks import together
from study.space.checks.arms import at_each_point, in_each_arm
from study.space.checks.case import Case, Check, run
from study.space.checks.detectors import too_large
from study.space.reading.places import FaultList, Problem
from study.space.study_spec import StudySpec


def check_against_base(
    spec: StudySpec,
    stats: EnergyStats,
    temperature: float | None = None,
    arms: Collection[str] | None = None,
) -> None:
    """The margins of a spec once the base is measured.

    Args:
        spec: the study.
        stats: energies of the base on validation ID images and on outliers.
        temperature: of ``stats``; arms of an ablation with another one are not looked at.
        arms: those that start from this base; None for all.

    Raises:
        BadInput: if margins can cross anywhere in their ranges.
    """

    def margins(case: Case) -> Iterator[Problem]:
        own = getattr(case.spec.params, "temperature", None)
        if temperature is None or own in (None, temperature):
            yield from together.margins(case, stats)

    _check(spec, margins, arms)


def check_detectors_on_data(spec: StudySpec, num_train: int, num_classes: int) -> None:
    """Parameters of detectors once the sizes of the data are known.

    Raises:
        BadInput: with every parameter that is too large for the data.
    """

    def sizes(case: Case) -> Iterator[Problem]:
        width = NUM_FEATURES.get(case.spec.model.backbone)
        known = {"num_train": num_train, "num_classes": num_classes, "num_features": width}
        yield from too_large(case.spec, known)

    _check(spec, sizes)


def check_against_data(spec: StudySpec, num_train: int, num_outliers: int | None = None) -> None:
    """Batches against the sizes of the sets that they are drawn from.

    Args:
        spec: the study.
        num_train: ID training images.
        num_outliers: auxiliary outliers; None where there are none.

    Raises:
        BadInput: with every batch that is larger than its set.
    """
    _tell(_batches(spec, num_train, num_outliers or 0), spec)


def _batches(spec: StudySpec, num_train: int, num_outliers: int) -> Iterator[Problem]:
    sizes = {"batch_size": num_train} if "batch_size" in type(spec.params).model_fields else {}
    if spec.params.needs_outliers:
        sizes["outlier_batch_size"] = num_outliers
    if spec.base is not None:
        sizes["base.batch_size"] = num_train
    for name, size in sizes.items():
        own = [(value, spec.path_of(name)) for value in spec.own_values(name)]
        of_arms = spec.ablate.set_at(name) if spec.ablate else []
        most, path = max(own + of_arms, key=lambda pair: pair[0])
        if most > size:
            outliers = name == "outlier_batch_size"
            what = f"{size:,} {'outliers' if outliers else 'training images'}"
            way_out = f"Lower it to {size} or less{'' if '.' in name else ', or give more data'}."
            rule = f"a batch must not be larger than the data ({what})"
            yield Problem(path, rule, way_out, most)


def check_outlier_weights(spec: StudySpec, names: Sequence[str]) -> None:
    """Every ``outlier_weights`` of a study against the outlier sets that were found.

    Args:
        spec: the study.
        names: of the sets, in order.

    Raises:
        BadInput: where the weights do not name each of several sets once.
    """
    _tell(_weights(spec, names), spec)


def _weights(spec: StudySpec, names: Sequence[str]) -> Iterator[Problem]:
    key = "outlier_weights"
    given = [(spec.train.get(key), spec.path_of(key))]
    given += spec.ablate.set_at(key) if spec.ablate else []
    told = f"the sets are {', '.join(names)}" if len(names) > 1 else "there is one set alone"
    rule = f"each of several outlier sets has one weight, and {told}"
    for weights, path in given:
        if weights is not None and (len(names) < 2 or set(weights) != set(names)):
            way_out = "Name each of them once, or take outlier_weights out."
            yield Problem(path, rule, way_out, weights)


def _check(spec: StudySpec, check: Check, arms: Collection[str] | None = None) -> None:
    """Run a check on the baseline, on every arm and at every tuning point."""
    case = Case(spec, FaultList(spec.places))
    if arms is None or BASELINE in arms:
        run((check,), case)
    in_each_arm((check,), case, arms)
    at_each_point((check,), case, arms)
    case.faults.stop()


def _tell(problems: Iterator[Problem], spec: StudySpec) -> None:
    faults = FaultList(spec.places)
    faults.take(problems)
    faults.stop()
