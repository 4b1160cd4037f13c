from __future__ import annotations

import pytest

from study.tune.record import TrialRecord, checkpoint_epoch


@pytest.mark.parametrize(
    ("objectives", "rule", "epoch"),
    [
        ((), "best", 0),
        ((0.5,), "best", 1),
        ((0.5, 0.2, 0.2, 0.4), "best", 2),
        ((0.5, 0.2, 0.4), "last", 3),
    ],
)
def test_checkpoint_epoch_follows_the_rule(
    objectives: tuple[float, ...], rule: str, epoch: int
) -> None:
    assert checkpoint_epoch(objectives, rule) == epoch


def test_metrics_of_a_trial_are_those_of_the_chosen_epoch() -> None:
    epochs = [{"val/objective": 0.5}, {"val/objective": 0.2}, {"val/objective": 0.4}]
    record = TrialRecord(0, 0, {}, epochs=epochs)
    assert [record.chosen_metrics(rule) for rule in ("best", "last")] == epochs[1:]
    assert TrialRecord(1, 0, {}).chosen_metrics("best") == {}
