"""study.embedding: images and class means in a plane."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.embedding import PROTOTYPE, draw, main, parse, placed
from study.errors import BadInput
from study.records.files import VAL_ID
from tests.toys import toy_images


def _sets() -> tuple[dict[str, object], dict[str, np.ndarray]]:
    """Three ID classes and an OOD set, each in a direction of its own."""
    sets = {VAL_ID: toy_images("val_id", 30, classes=3), "odd": toy_images("odd", 20)}
    rng = np.random.default_rng(0)
    where = {VAL_ID: np.asarray(sets[VAL_ID].labels), "odd": np.full(20, 3)}
    features = {
        name: np.eye(4)[places] + 0.01 * rng.normal(size=(len(places), 4))
        for name, places in where.items()
    }
    return sets, features


def test_placed_puts_each_class_mean_among_its_images() -> None:
    sets, features = _sets()
    points = placed(sets, features, seed=0)
    assert points["set"].value_counts().to_dict() == {VAL_ID: 30, "odd": 20, PROTOTYPE: 3}
    assert points["label"].isna().equals(points["set"] == "odd")
    images = points[points["set"] == VAL_ID]
    for mean in points[points["set"] == PROTOTYPE].itertuples():
        nearest = np.hypot(images["x"] - mean.x, images["y"] - mean.y).idxmin()
        assert images["label"][nearest] == mean.label


def test_placed_is_the_same_for_the_same_seed() -> None:
    one, two = (placed(*_sets(), seed=3) for _ in range(2))
    assert one.equals(two)


def test_placed_names_images_as_their_files_are_named() -> None:
    sets, features = _sets()
    named = np.array(["größe.png".encode(), *[b"x"] * 19])
    sets["odd"] = replace(sets["odd"], ids=named)
    assert "größe.png" in set(placed(sets, features, seed=0)["image"])


def test_draw_gives_a_png() -> None:
    assert draw(placed(*_sets(), seed=0), "run, trial 00000").startswith(b"\x89PNG")


def test_parse_tells_every_fault_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = ["run", "0", "--out", str(tmp_path / "file"), "--images", "1", "--seed", "x"]
    with pytest.raises(BadInput) as caught:
        parse(arguments)
    assert len(caught.value.faults) == 3


def test_folder_without_a_study_exits_2_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "0", "--out", str(tmp_path / "out")]) == 2
    assert "holds no study" in capsys.readouterr().err
