"""FPR at 95 % recall and AUROC on data with ties, where public codes disagree.

The numbers are from the table of definitions that the project settled on: what OpenOOD and
pytorch-ood 0.4 give for OOD positive, and roc_auc_score for the area. The two columns of
energy_ood, which takes the recall nearest to .95, are computed here from its rule, to show that
ours is another one.

Versions: numpy 2.4, scikit-learn 1.9, pytorch-ood 0.4. Tolerance: exact counts, so 1e-12.
Regenerate: the inputs and answers are small enough to count by hand; nothing generates them.
"""

import numpy as np
import pytest

from study.scoring.measuring import fpr_at_recall, ood_metric, ood_metrics, threshold_at_recall

# ID confidences and OOD confidences; scores are their negatives.
TINY = ([9] * 6 + [8] * 5 + [7] * 4 + [6] * 2 + [5] * 2 + [3], [8, 7, 6, 5, 5, 4, 3, 3, 2, 1])
JUMP = ([2] * 94 + [1] * 3 + [0] * 3, [2] * 10 + [1] * 40 + [0] * 50)


def scores(confidences):
    return tuple(-np.asarray(values, dtype=np.float64) for values in confidences)


def nearest_recall_threshold(positives, negatives, recall=0.95):
    """energy_ood's rule: of all scores the one with the nearest recall, the highest of equals."""
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    recalls = np.array([(positives <= t).mean() for t in thresholds])
    return thresholds[np.argmin(np.abs(recalls - recall))]


def nearest_recall_fpr(positives, negatives):
    """FPR of the negatives there."""
    return (negatives <= nearest_recall_threshold(positives, negatives)).mean()


@pytest.mark.parametrize(
    ("confidences", "fpr95", "fpr95_ood_positive", "auroc"),
    [(TINY, 0.50, 0.70, 0.8575), (JUMP, 0.50, 1.00, 0.9215)],
    ids=["tiny", "jump"],
)
def test_ood_metrics_on_golden_table_gives_its_numbers(
    confidences, fpr95, fpr95_ood_positive, auroc
):
    metrics = ood_metrics(*scores(confidences))
    assert metrics["fpr95"] == pytest.approx(fpr95, abs=1e-12)
    assert metrics["fpr95_ood_positive"] == pytest.approx(fpr95_ood_positive, abs=1e-12)
    assert metrics["auroc"] == pytest.approx(auroc, abs=1e-12)


@pytest.mark.parametrize(("confidences", "threshold"), [(TINY, -5.0), (JUMP, -1.0)])
def test_threshold_at_recall_on_golden_table_is_first_that_reaches_it(confidences, threshold):
    id_scores, ood_scores = scores(confidences)
    assert threshold_at_recall(id_scores) == threshold
    assert (id_scores <= threshold).mean() >= 0.95
    assert fpr_at_recall(id_scores, ood_scores) == (ood_scores <= threshold).mean()


@pytest.mark.parametrize(
    ("confidences", "id_positive", "ood_positive"), [(TINY, 0.60, 0.45), (JUMP, 0.10, 0.06)]
)
def test_nearest_recall_rule_gives_other_numbers_than_ours(confidences, id_positive, ood_positive):
    id_scores, ood_scores = scores(confidences)
    assert nearest_recall_fpr(id_scores, ood_scores) == pytest.approx(id_positive)
    assert nearest_recall_fpr(-ood_scores, -id_scores) == pytest.approx(ood_positive)


def test_nearest_recall_on_jump_lies_below_the_recall_that_was_asked_for():
    id_scores, ood_scores = scores(JUMP)
    threshold = nearest_recall_threshold(id_scores, ood_scores)
    assert (id_scores <= threshold).mean() == pytest.approx(0.94)
    assert (id_scores <= threshold_at_recall(id_scores)).mean() == pytest.approx(0.97)


def test_average_precision_on_golden_table_is_the_step_sum():
    # jump, ID positive, by hand: precision 94/104 for 94 of 100, 97/147 for 3, 100/200 for 3.
    expected = (94 * 94 / 104 + 3 * 97 / 147 + 3 * 100 / 200) / 100
    assert ood_metric("aupr_in", *scores(JUMP)) == pytest.approx(expected, abs=1e-12)
    # OOD positive: 50/53 for 50 of 100, 90/96 for 40, 100/200 for 10.
    expected = (50 * 50 / 53 + 40 * 90 / 96 + 10 * 100 / 200) / 100
    assert ood_metric("aupr_out", *scores(JUMP)) == pytest.approx(expected, abs=1e-12)
