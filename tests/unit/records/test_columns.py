from __future__ import annotations

from study.records.columns import in_reading_order

COLUMNS = [
    "trial_id", "arm", "seed", "status", "reason", "epochs", "param/train.momentum",
    "param/train.lr", "val/aupr_in", "val/auroc", "val/fpr95", "val/id_accuracy", "time_s",
]  # fmt: skip


def test_order_of_a_search_is_how_it_ended_how_good_with_what() -> None:
    found = in_reading_order(COLUMNS, ["param/train.lr"], "val/auroc", arms=False)
    assert found == [
        "trial_id", "status", "reason", "val/id_accuracy", "val/fpr95", "val/auroc", "epochs",
        "param/train.lr", "time_s", "seed", "arm", "val/aupr_in", "param/train.momentum",
    ]  # fmt: skip


def test_order_of_an_ablation_has_arm_and_seed_beside_the_trial() -> None:
    found = in_reading_order(COLUMNS, [], "val/fpr95", arms=True)
    assert found[:5] == ["trial_id", "arm", "seed", "status", "reason"]


def test_order_keeps_every_column_once() -> None:
    found = in_reading_order(COLUMNS, ["param/train.lr"], "val/fpr95", arms=False)
    assert sorted(found) == sorted(COLUMNS)
