from __future__ import annotations

import pytest

from analysis.results.margins import reached_energies
from analysis.study import Study


def test_reached_energies_are_means_over_the_validation_images(study: Study) -> None:
    row = reached_energies(study).iloc[0]
    at = int(study.trials.set_index("trial_id").loc[row["trial_id"], "checkpoint_epoch"])
    energies = study.scores(row["trial_id"]).sets["val_id"].scores["energy"][at - 1]
    assert row["id_energy"] == pytest.approx(energies.mean())
    assert row["id_above"] == pytest.approx((energies > row["m_in"]).mean())
