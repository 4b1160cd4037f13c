"""Every metric that a study reports, each declared where it is defined.

Scores are higher for more OOD, everywhere. A metric is one function under `metric`: it gets a
`Tally`, where images of the positive class come first, and gives a value for each weighting of the
images (`study.scoring.ranking`). The declaration is all that the rest of the project knows of it:
directions, labels, columns, TensorBoard's tags and what ``select.metric`` takes follow from it.

A threshold is the first that reaches the recall, over all points. Public code differs: energy_ood
takes the recall that is nearest to .95 and may lie below it, OpenOOD drops points of the curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from study.errors import BadInput, Fault
from study.plugins import METRIC, import_plugins
from study.scoring.ranking import RECALL, Floats, Tally


@dataclass(frozen=True)
class Metric:
    """A metric and how it is told.

    Attributes:
        name: in columns, tags and a YAML.
        title: for people, without the class that is positive.
        better: whether a lower or a higher value is.
        positive: the class that counts as positive, "error" for misclassified ID images; None
            where the metric is the same for both, or has none.
        fraction: whether it lies in [0, 1]: told in percent, and fit to select by.
        source: of the formula.
        compute: the values, (B,), of a tally whose positives are the positive class (ID where
            there is none); None where it is no metric of an ID and an OOD set's scores.
        quick: whether thousands of weightings cost no more than hundreds of the others.
        area: whether it is an area under a curve, whose errors are skewed.
    """

    name: str
    title: str
    better: Literal["lower", "higher"]
    positive: Literal["id", "ood", "error"] | None = None
    fraction: bool = True
    source: str = ""
    compute: Callable[[Tally], Floats] | None = None
    quick: bool = False
    area: bool = False

    @property
    def label(self) -> str:
        """For people, with the positive class."""
        if self.positive == "error":
            return f"{self.title}, misclassified ID positive"
        return f"{self.title}, {self.positive.upper()} positive" if self.positive else self.title

    @property
    def short_label(self) -> str:
        """The same where ID goes without saying."""
        return self.title if self.positive == "id" else self.label


METRICS: Final[dict[str, Metric]] = {
    one.name: one
    for one in (
        Metric("id_accuracy", "ID accuracy", "higher", quick=True),
        # Of ID images alone, but for OSCR: study.scoring.selective.
        Metric("error_auroc", "Error AUROC", "higher", "error", area=True),
        Metric("aurc", "AURC", "lower", "error"),
        Metric("augrc", "AUGRC", "lower", "error"),
        Metric("oscr", "OSCR", "higher", area=True),
        Metric("ece", "ECE", "lower"),
        # What the search minimises (`study.scoring.objective`): above 1 under the floor.
        Metric("objective", "Objective", "lower", fraction=False),
    )
}
"""By name; the functions below add theirs."""


def metric_text(name: str, value: float | None) -> str:
    """A metric for people: ``FPR95 26.4 %``, ``Objective 1.042``; a dash where there is no value.

    Args:
        name: such as ``val/fpr95``.
        value: as it is stored.
    """
    one = metric_of(name)
    if value is None:
        return f"{one.short_label} –"
    return f"{one.short_label} {f'{100 * value:.1f} %' if one.fraction else f'{value:.4g}'}"


def metric_of(name: str) -> Metric:
    """The metric of a reported name, such as ``val/<set>/<score>/fpr95``.

    Raises:
        KeyError: where none is declared.
    """
    return METRICS[name.rsplit("/", 1)[-1]]


def metric(
    title: str, better: Literal["lower", "higher"], **more: Any
) -> Callable[[Callable[[Tally], Floats]], Callable[[Tally], Floats]]:
    """Declare the function below as the metric of its name; ``more`` are fields of `Metric`."""

    def declare(compute: Callable[[Tally], Floats]) -> Callable[[Tally], Floats]:
        name = compute.__name__
        if name in METRICS:
            rule = "a metric of this name is declared already"
            place = compute.__code__.co_filename
            raise BadInput(Fault(place, name, rule, "Give one of the two another name."))
        METRICS[name] = Metric(name, title, better, compute=compute, **more)
        return compute

    return declare


@metric("FPR95", "lower", positive="id", source="Liu et al. 2020, arXiv:2010.03759", quick=True)
def fpr95(tally: Tally) -> Floats:
    """Share of OOD accepted as ID where 95 % of ID is accepted."""
    return tally.fpr(RECALL)


@metric("FPR95", "lower", positive="ood", source="OpenOOD, arXiv:2306.09301", quick=True)
def fpr95_ood_positive(tally: Tally) -> Floats:
    """Share of ID rejected where 95 % of OOD is rejected."""
    return tally.fpr(RECALL)


@metric("AUROC", "higher", area=True)
def auroc(tally: Tally) -> Floats:
    """P(OOD score > ID score) + half of P(equal); the same for both positives."""
    return tally.auroc()


@metric("AUPR", "higher", positive="id", area=True)
def aupr_in(tally: Tally) -> Floats:
    """Average precision, sum of (R_n - R_(n-1)) P_n, not a trapezoidal area.

    It depends on the sizes of the two sets, so report the sizes beside it.
    """
    return tally.average_precision()


@metric("AUPR", "higher", positive="ood", area=True)
def aupr_out(tally: Tally) -> Floats:
    """Average precision with OOD as the positive class."""
    return tally.average_precision()


import_plugins(METRIC)  # the user's own, which import `metric` from here
