from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.statistics.compare import DIFFERENCE, MEAN, WINNER, compare
from analysis.tables import BASE
from study.errors import BadInput
from study.scoring.measuring import ood_metrics
from tests.fake_run import Fake, make_scores


def _models() -> dict[str, dict]:
    fake = Fake()
    course = {WINNER: (0.8, 2.3), BASE: (0.8, 1.3)}
    return {m: make_scores(fake, m, [c], test=True).sets for m, c in course.items()}


def test_compare_gives_the_points_of_the_metrics_and_brackets_them() -> None:
    models = _models()
    table = compare(models, id_name="test_id")
    rows = table.set_index(["model", "dataset", "score"])
    row = rows.loc[(WINNER, "objects", "energy")]
    sets = models[WINNER]
    point = ood_metrics(sets["test_id"].scores["energy"][0], sets["objects"].scores["energy"][0])
    for name, value in point.items():
        assert row[name] == pytest.approx(value, abs=1e-12)
        assert row[f"{name}_low"] <= value <= row[f"{name}_high"]
    assert (row["n_id"], row["n_ood"], row["num_ood_groups"]) == (400, 240, 30)
    mean = rows.loc[(WINNER, MEAN, "energy"), "auroc"]
    both = [rows.loc[(WINNER, name, "energy"), "auroc"] for name in ("objects", "textures")]
    assert mean == pytest.approx(sum(both) / 2)
    sizes = rows.loc[(WINNER, MEAN, "energy"), ["n_id", "n_ood", "num_ood_groups"]]
    assert sizes.tolist() == [400, 360, 150]


def test_compare_pairs_the_difference() -> None:
    rows = compare(_models(), id_name="test_id").set_index(["model", "dataset", "score"])
    keys = [(m, "objects", "energy") for m in (WINNER, BASE, DIFFERENCE)]
    winner, base, difference = (rows.loc[key] for key in keys)
    assert difference["fpr95"] == pytest.approx(winner["fpr95"] - base["fpr95"])
    # The images are the same, so the paired interval is narrower than the sum of both.
    width = difference["auroc_high"] - difference["auroc_low"]
    assert (
        width < winner["auroc_high"] - winner["auroc_low"] + base["auroc_high"] - base["auroc_low"]
    )
    assert difference["id_accuracy_low"] == difference["id_accuracy_high"] == 0.0


def test_compare_without_a_base_has_no_difference() -> None:
    table = compare({WINNER: _models()[WINNER]}, id_name="test_id")
    assert set(table["model"]) == {WINNER}


def test_compare_of_models_on_other_images_is_refused() -> None:
    models = _models()
    sets = models[BASE]
    models[BASE] = {**sets, "objects": replace(sets["objects"], image=sets["objects"].image[::-1])}
    with pytest.raises(BadInput, match="different images of objects"):
        compare(models, id_name="test_id")
