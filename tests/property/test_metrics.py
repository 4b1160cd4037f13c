import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from study.scoring.measuring import (
    OOD_METRICS,
    fpr_at_recall,
    ood_metric,
    ood_metrics,
    resampled_metrics,
    threshold_at_recall,
)

# Few distinct values, so that ties are the rule; wide ones, so that float32 would not do.
tied = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=60)
wide = st.lists(
    st.floats(-1e12, 1e12, allow_nan=False, allow_infinity=False), min_size=1, max_size=60
)
sets = st.one_of(st.tuples(tied, tied), st.tuples(wide, wide))


def reference(id_scores, ood_scores):
    """Every metric by its definition, in O(n m)."""
    id_scores, ood_scores = np.asarray(id_scores), np.asarray(ood_scores)
    return {
        "fpr95": reference_fpr(id_scores, ood_scores),
        "fpr95_ood_positive": reference_fpr(-ood_scores, -id_scores),
        "auroc": np.mean(
            [[float(o > i) + 0.5 * float(o == i) for o in ood_scores] for i in id_scores]
        ),
        "aupr_in": reference_average_precision(id_scores, ood_scores),
        "aupr_out": reference_average_precision(-ood_scores, -id_scores),
    }


def reference_fpr(positives, negatives):
    for threshold in np.unique(positives):
        if (positives <= threshold).mean() >= 0.95:
            return (negatives <= threshold).mean()
    raise AssertionError


def reference_average_precision(positives, negatives):
    total, before = 0.0, 0.0
    for threshold in np.unique(positives):
        hits, alarms = (positives <= threshold).sum(), (negatives <= threshold).sum()
        recall = hits / len(positives)
        total += (recall - before) * hits / (hits + alarms)
        before = recall
    return total


@given(sets)
def test_ood_metrics_equal_the_definitions(pair):
    metrics, expected = ood_metrics(*pair), reference(*pair)
    assert set(metrics) == set(OOD_METRICS)
    for name, value in metrics.items():
        assert value == pytest.approx(expected[name], abs=1e-12), name
        assert 0.0 <= value <= 1.0


@given(sets)
def test_ood_metrics_agree_with_scikit_learn(pair):
    id_scores, ood_scores = pair
    is_ood = np.r_[np.zeros(len(id_scores)), np.ones(len(ood_scores))]
    scores = np.r_[id_scores, ood_scores]
    metrics = ood_metrics(id_scores, ood_scores)
    assert metrics["auroc"] == pytest.approx(roc_auc_score(is_ood, scores), abs=1e-12)
    precision_out = average_precision_score(is_ood, scores)
    precision_in = average_precision_score(1 - is_ood, -scores)
    assert metrics["aupr_out"] == pytest.approx(precision_out, abs=1e-12)
    assert metrics["aupr_in"] == pytest.approx(precision_in, abs=1e-12)
    for ood_positive, name in ((True, "fpr95_ood_positive"), (False, "fpr95")):
        labels, values = (is_ood, scores) if ood_positive else (1 - is_ood, -scores)
        fpr, tpr, _ = roc_curve(labels, values, drop_intermediate=False)
        assert metrics[name] == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)


@given(st.tuples(tied, tied))
def test_ood_metrics_agree_with_pytorch_ood(pair):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("pytorch_ood.metrics")
    id_scores, ood_scores = pair
    area, fpr = oracle.AUROC(), oracle.FPRAtTPR(0.95)
    # It marks OOD by a negative label. Its AUPR is an area of trapezoids, so another number.
    labels = torch.tensor([0] * len(id_scores) + [-1] * len(ood_scores))
    for metric in (area, fpr):
        metric.update(torch.tensor([*id_scores, *ood_scores]), labels)
    ours = ood_metrics(id_scores, ood_scores)
    assert ours["auroc"] == pytest.approx(float(area.compute()["AUROC"]), abs=1e-6)
    assert ours["fpr95_ood_positive"] == pytest.approx(float(fpr.compute()["FPR95TPR"]), abs=1e-6)


@given(sets)
def test_auroc_of_negated_scores_is_one_minus(pair):
    id_scores, ood_scores = (np.asarray(one) for one in pair)
    assert ood_metric("auroc", -id_scores, -ood_scores) == pytest.approx(
        1 - ood_metric("auroc", id_scores, ood_scores)
    )
    assert ood_metric("auroc", ood_scores, id_scores) == pytest.approx(
        1 - ood_metric("auroc", id_scores, ood_scores)
    )


@given(st.tuples(tied, tied))
def test_ood_metrics_under_monotone_map_do_not_change(pair):
    id_scores, ood_scores = (np.asarray(one) for one in pair)
    mapped = ood_metrics(np.exp(id_scores) - 7, np.exp(ood_scores) - 7)
    assert mapped == ood_metrics(id_scores, ood_scores)


@given(sets, st.randoms(use_true_random=False))
def test_ood_metrics_do_not_depend_on_order(pair, random):
    shuffled = [random.sample(one, len(one)) for one in pair]
    assert ood_metrics(*shuffled) == ood_metrics(*pair)


@given(sets, st.floats(0.01, 1.0))
def test_threshold_at_recall_reaches_it_and_no_lower_score_does(pair, recall):
    id_scores, ood_scores = (np.asarray(one) for one in pair)
    threshold = threshold_at_recall(id_scores, recall)
    assert (id_scores <= threshold).mean() >= recall
    below = id_scores[id_scores < threshold]
    assert below.size / id_scores.size < recall
    assert fpr_at_recall(id_scores, ood_scores, recall) == (ood_scores <= threshold).mean()


@given(st.data())
def test_resampled_metrics_equal_metrics_of_repeated_scores(data):
    id_scores, ood_scores = (np.asarray(one) for one in data.draw(sets))
    rows = data.draw(st.integers(1, 4))
    id_counts, ood_counts = (
        np.array(
            [
                data.draw(
                    st.lists(st.integers(0, 3), min_size=len(one), max_size=len(one)).filter(any)
                )
                for _ in range(rows)
            ]
        )
        for one in (id_scores, ood_scores)
    )
    fast = resampled_metrics(id_scores, ood_scores, id_counts, ood_counts, OOD_METRICS)
    for row in range(rows):
        repeated = ood_metrics(
            np.repeat(id_scores, id_counts[row]), np.repeat(ood_scores, ood_counts[row])
        )
        for name in OOD_METRICS:
            assert fast[name][row] == pytest.approx(repeated[name], abs=1e-12), name
