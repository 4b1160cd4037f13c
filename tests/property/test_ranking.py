from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from study.scoring.measuring import OOD_METRICS, ood_metrics, weighted_metrics
from study.scoring.ranking import Ranking, Tally, Weights, bootstrap_counts

seeds = st.integers(0, 2**31)


@given(seeds, st.booleans(), st.booleans())
@settings(deadline=None)
def test_metrics_under_weights_equal_those_of_repeated_scores(
    seed: int, ties: bool, apart: bool
) -> None:
    rng = np.random.default_rng(seed)
    num_id, num_ood = (int(n) for n in rng.integers(1, 300, 2))
    id_scores, ood_scores = rng.normal(size=num_id), rng.normal(size=num_ood) + 9.0 * apart
    if ties:
        id_scores, ood_scores = id_scores.round(), ood_scores.round()
    id_counts = bootstrap_counts(np.arange(num_id) // 3, 7, rng)
    ood_counts = bootstrap_counts(np.arange(num_ood), 7, rng)
    fast = weighted_metrics(
        id_scores, ood_scores, Weights.of(id_counts), Weights.of(ood_counts), OOD_METRICS
    )
    for row in range(7):
        whole = ood_metrics(
            np.repeat(id_scores, id_counts[row]), np.repeat(ood_scores, ood_counts[row])
        )
        for name in OOD_METRICS:
            np.testing.assert_allclose(fast[name][row], whole[name], rtol=0, atol=1e-12)


def test_curve_has_the_weighted_shares_at_every_positive() -> None:
    # ID 0, 1, 1 against OOD 0.5, 1; in the second weighting the first ID image is there thrice.
    ranking = Ranking(np.array([0.0, 1.0, 1.0]), np.array([0.5, 1.0]))
    weights = Weights.of(np.array([[1, 1, 1], [3, 0, 1]])), Weights.of(np.array([[1, 1], [3, 1]]))
    accepted, accepted_ood = Tally(ranking, *weights).curve()
    np.testing.assert_allclose(accepted, [[1 / 3, 3 / 4], [1, 1], [1, 1]])
    np.testing.assert_allclose(accepted_ood, [[0, 0], [1, 1], [1, 1]])
