import pytest

from analysis.statistics.compare import SELECTIVE
from study.scoring.measuring import OOD_METRICS
from study.scoring.metrics import METRICS, metric_of


def test_metrics_are_of_two_sets_or_told_by_the_study():
    assert OOD_METRICS == ("fpr95", "fpr95_ood_positive", "auroc", "aupr_in", "aupr_out")
    assert set(METRICS) == {*OOD_METRICS, "id_accuracy", "objective", *SELECTIVE}


@pytest.mark.parametrize(
    ("name", "label", "short", "better"),
    [
        ("val/fpr95", "FPR95, ID positive", "FPR95", "lower"),
        ("val/far/msp/fpr95_ood_positive", "FPR95, OOD positive", "FPR95, OOD positive", "lower"),
        ("auroc", "AUROC", "AUROC", "higher"),
        ("val/aupr_in", "AUPR, ID positive", "AUPR", "higher"),
        ("val/objective", "Objective", "Objective", "lower"),
    ],
)
def test_metric_of_a_reported_name_says_label_and_direction(name, label, short, better):
    told = metric_of(name)
    assert (told.label, told.short_label, told.better) == (label, short, better)


def test_every_metric_but_the_objective_is_a_fraction():
    assert [name for name, one in METRICS.items() if not one.fraction] == ["objective"]


def test_metric_that_nobody_declared_is_unknown():
    with pytest.raises(KeyError):
        metric_of("val/far/msp/fpr42")
