"""Thousands of drawn cases, most with ties, against scikit-learn and pytorch-ood.

test_metrics.py looks for the odd case; this file asks whether all is well in the ordinary ones:
sets of very different sizes, few to many distinct scores, little to full separation.
"""

import time
from functools import cache

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from study.scoring.measuring import OOD_METRICS, fpr_at_recall, ood_metric, ood_metrics

NUM_CASES = 2500
# The quick suite takes every fifth case.
EVERY = pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])


@cache
def cases(every=1):
    """(ID scores, OOD scores, ours), one in ``every``; multiples of 1/8, exact in float32."""
    drawn = []
    for number in range(0, NUM_CASES, every):
        generator = np.random.default_rng([7, number])
        num_id, num_ood = np.ceil(10 ** generator.uniform(0, 2.3, 2)).astype(int)
        # Steps from an eighth (few ties) to the whole range (nearly all tied).
        step, shift = 2.0 ** generator.integers(-3, 5), generator.uniform(0, 24)
        pair = tuple(
            np.clip(np.round(generator.normal(mean, 8, count) / step) * step, -1000, 1000)
            for mean, count in ((0, num_id), (shift, num_ood))
        )
        drawn.append((*pair, ood_metrics(*pair)))
    return drawn


def labelled(id_scores, ood_scores):
    """1 for OOD, and the scores, as the libraries take them."""
    return np.repeat([0, 1], [len(id_scores), len(ood_scores)]), np.r_[id_scores, ood_scores]


def assert_agree(theirs, every, *, abs_=1e-12):
    """``theirs``: (ID, OOD) -> metrics; every case must agree, the worst is told."""
    with config_context(assume_finite=True, skip_parameter_validation=True):
        differences = [
            (abs(ours[name] - value), name, number)
            for number, (id_scores, ood_scores, ours) in enumerate(cases(every))
            for name, value in theirs(id_scores, ood_scores).items()
        ]
    assert len(differences) >= NUM_CASES / every
    assert max(differences)[0] <= abs_, max(differences)


def test_cases_are_mostly_tied_and_of_many_kinds():
    tied = [
        np.intersect1d(id_scores, ood_scores).size > 0 for id_scores, ood_scores, _ in cases(5)
    ]
    assert 0.5 < np.mean(tied) < 1
    for name in OOD_METRICS:
        assert len({round(ours[name], 3) for _, _, ours in cases(5)}) > 100, name


@EVERY
def test_auroc_and_average_precision_are_scikit_learns(every):
    def theirs(id_scores, ood_scores):
        is_ood, scores = labelled(id_scores, ood_scores)
        return {
            "auroc": roc_auc_score(is_ood, scores),
            "aupr_out": average_precision_score(is_ood, scores),
            "aupr_in": average_precision_score(1 - is_ood, -scores),
        }

    assert_agree(theirs, every)


@EVERY
def test_fpr_is_the_first_point_of_scikit_learns_full_curve(every):
    def first(labels, scores):
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        return fpr[np.argmax(tpr >= 0.95)]

    def theirs(id_scores, ood_scores):
        is_ood, scores = labelled(id_scores, ood_scores)
        return {
            "fpr95": first(1 - is_ood, -scores),
            "fpr95_ood_positive": first(is_ood, scores),
        }

    assert_agree(theirs, every)


@EVERY
def test_auroc_and_fpr_are_pytorch_oods(every):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_ood.metrics")

    def theirs(id_scores, ood_scores):
        is_ood, scores = labelled(id_scores, ood_scores)
        area, fpr = library.AUROC(), library.FPRAtTPR(0.95)
        for metric in (area, fpr):
            metric.update(torch.from_numpy(scores).float(), torch.from_numpy(-is_ood))
        return {
            "auroc": float(area.compute()["AUROC"]),
            "fpr95_ood_positive": float(fpr.compute()["FPR95TPR"]),
        }

    # It counts in float32.
    assert_agree(theirs, every, abs_=1e-6)


def test_fpr_of_pytorch_ood_with_id_positive_is_ours():
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_ood.metrics")
    for id_scores, ood_scores, ours in cases(5)[::2]:
        is_ood, scores = labelled(id_scores, ood_scores)
        # The other class as its positive one: negated scores, exchanged labels.
        fpr = library.FPRAtTPR(0.95)
        fpr.update(torch.from_numpy(-scores).float(), torch.from_numpy(is_ood - 1))
        assert ours["fpr95"] == pytest.approx(float(fpr.compute()["FPR95TPR"]), abs=1e-6)
        assert ours["fpr95"] == fpr_at_recall(id_scores, ood_scores, 0.95)


def test_average_precision_on_ties_is_not_pytorch_oods_area_of_trapezoids():
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_ood.metrics")
    id_scores, ood_scores = [0.0, 1.0, 1.0], [1.0, 2.0]
    # OOD positive by hand: precision 1 for one of two, 2/4 for the other.
    assert ood_metric("aupr_out", id_scores, ood_scores) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    # ID positive: precision 1 for one of three, 3/4 for the other two.
    assert ood_metric("aupr_in", id_scores, ood_scores) == pytest.approx((1 + 2 * 3 / 4) / 3)
    metric = library.AUPR(positive="ood")
    metric.update(torch.tensor([*id_scores, *ood_scores]), torch.tensor([0, 0, 0, -1, -1]))
    (area,) = metric.compute().values()
    assert abs(float(area) - 0.75) > 0.01


def test_ood_metrics_of_10000_against_26000_scores_take_under_50_ms():
    generator = np.random.default_rng(0)
    id_scores, ood_scores = generator.normal(0, 1, 10_000), generator.normal(1, 1, 26_000)
    spent = []
    for _ in range(7):
        begun = time.process_time()  # of this process: what else the machine does is not in it
        ood_metrics(id_scores, ood_scores)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05, spent
