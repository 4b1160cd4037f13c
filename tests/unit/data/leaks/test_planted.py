"""The six leaks that would make a study's numbers worthless, each planted and each caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from study.data import id_choice
from study.data.images import ImageSet
from study.data.leaks import step
from study.data.leaks.step import run_leak_check
from study.data.plan import make_plan
from study.data.roles import OODValidation, Outliers, StudyData, TrainID, ValidationID
from study.data.test_access import TestData
from study.errors import BadInput
from study.models.weights import save_weights
from study.space.loading import SPACES, load_space
from tests.fake_data import section, write_root
from tests.pictures import photographs

NUM = 12
LABELS = [0, 1] * (NUM // 2)
STOP: Any = SimpleNamespace(leaks="stop", id_near_duplicates="keep")
NO_PLAN: Any = None


def _images(name: str, seed: int, labels: list[int] | None = None, **changes: Any) -> ImageSet:
    ids = [f"{name}/{row}" for row in range(NUM)]
    pixels = changes.pop("pixels", photographs(NUM, seed))
    classes = ("a", "b") if labels else ()
    return ImageSet.make(name, pixels, labels=labels, ids=ids, classes=classes, **changes)


FAR = _images("far", 101)


def _data(outliers: ImageSet, ood_val: ImageSet) -> StudyData:
    return StudyData(
        TrainID(_images("train", 0, LABELS)),
        ValidationID(_images("val_id", 1, LABELS)),
        Outliers(outliers),
        OODValidation({"near": ood_val}),
        2,
        demo=False,
    )


def _check(data: StudyData, monkeypatch: pytest.MonkeyPatch, far: ImageSet = FAR) -> None:
    sealed = TestData(_images("id_test", 100, LABELS), {"far": far})
    monkeypatch.setattr(step, "open_test", lambda plan: sealed)
    run_leak_check(NO_PLAN, data, STOP)


def _same(image: np.ndarray) -> np.ndarray:
    return image


def _nearly(image: np.ndarray) -> np.ndarray:
    return (np.roll(image, 1, axis=1) * 0.9).astype(np.uint8)


def _flipped(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


@pytest.mark.parametrize("role", ["outliers", "ood_val"])
@pytest.mark.parametrize("copy", [_same, _nearly, _flipped])
def test_copy_of_a_test_image_in_another_role_stops_the_study(
    monkeypatch: pytest.MonkeyPatch, role: str, copy: Callable[[np.ndarray], np.ndarray]
) -> None:
    clean = {"outliers": _images("outliers", 2), "ood_val": _images("near", 3)}
    _check(_data(**clean), monkeypatch)
    pixels = clean[role].pixels.copy()
    pixels[4] = copy(FAR.pixels[7])
    clean[role] = _images(clean[role].name, 0, pixels=pixels)
    with pytest.raises(BadInput, match=r"/4 = far/7"):
        _check(_data(**clean), monkeypatch)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(id_choice, "has_gpu", lambda: False)
    return write_root(tmp_path / "root")


@pytest.mark.parametrize("role", ["outliers", "ood_val"])
@pytest.mark.parametrize("name", ["scenes", "root/ood_test/scenes.parquet"])
def test_test_set_named_as_outliers_or_validation_is_refused(
    root: Path, role: str, name: str
) -> None:
    with pytest.raises(BadInput, match="on a test set invalidates the result"):
        make_plan(section(**{role: [name]}), "auto", root)


@pytest.mark.parametrize("role", ["outliers", "ood_val"])
def test_test_set_under_another_name_is_found_by_its_images(
    monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    sets = {"outliers": _images("outliers", 2), "ood_val": _images("near", 3)}
    sets[role] = _images("innocent", 101)
    with pytest.raises(BadInput, match=f"{NUM} images.*exact copies"):
        _check(_data(**sets), monkeypatch)


def test_crops_of_one_photograph_on_both_sides_are_found_by_their_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two crops that share no pixel: only the name of their source tells."""
    groups = [f"photo{row // 2}" for row in range(NUM)]
    far = _images("far", 101, groups=groups)
    others = [f"photo{50 + row // 2}" for row in range(NUM)]
    outliers = _images("outliers", 2, groups=others)
    _check(_data(outliers, _images("near", 3)), monkeypatch, far)
    others[8] = "photo3"
    outliers = _images("outliers", 2, groups=others)
    with pytest.raises(BadInput, match="same source images: photo3 = photo3"):
        _check(_data(outliers, _images("near", 3)), monkeypatch, far)


def test_base_that_may_have_seen_the_validation_images_is_no_reference(tmp_path: Path) -> None:
    """No floor below its accuracy, which its own training set may flatter; one of its own, yes."""
    path = tmp_path / "base.safetensors"
    save_weights({}, path)
    plain = yaml.safe_load((SPACES / "energy.yaml").read_text(encoding="utf-8"))
    del plain["base"]
    plain["model"]["init"] = str(path)
    space = tmp_path / "own.yaml"
    space.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(BadInput, match="below_base needs a base that this study trains"):
        load_space(str(space))
    absolute = "select.floor={id_accuracy: {at_least: 0.8}}"
    assert load_space(str(space), [absolute]).base is None
