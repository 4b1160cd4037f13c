from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.weighted import Weights, ood_metric
from study.scoring.metrics import OOD_METRICS, bootstrap_counts, resampled_metrics

seeds = st.integers(0, 2**31)


@given(seeds, st.booleans(), st.booleans())
@settings(deadline=None)
def test_metrics_under_weights_equal_those_of_resamples(
    seed: int, ties: bool, apart: bool
) -> None:
    rng = np.random.default_rng(seed)
    num_id, num_ood = (int(n) for n in rng.integers(1, 300, 2))
    id_scores, ood_scores = rng.normal(size=num_id), rng.normal(size=num_ood) + 9.0 * apart
    if ties:
        id_scores, ood_scores = id_scores.round(), ood_scores.round()
    id_counts = bootstrap_counts(np.arange(num_id) // 3, 7, rng)
    ood_counts = bootstrap_counts(np.arange(num_ood), 7, rng)
    slow = resampled_metrics(id_scores, ood_scores, id_counts, ood_counts, OOD_METRICS)
    weights = Weights.of(id_counts), Weights.of(ood_counts)
    for name in OOD_METRICS:
        fast = ood_metric(name, id_scores, ood_scores, *weights)
        np.testing.assert_allclose(fast, slow[name], rtol=0, atol=1e-12, err_msg=name)
