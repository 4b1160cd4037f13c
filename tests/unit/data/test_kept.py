from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from study.data.images import ImageSet
from study.data.kept import keep_part, source_numbers
from study.data.leaks import step
from study.data.leaks.step import run_leak_check
from study.data.plan import make_plan
from study.data.roles import KeptPart, OODValidation, StudyData, TrainID, ValidationID
from study.data.synthetic import make_synthetic
from study.data.test_access import TestData
from study.errors import BadInput
from tests.fake_data import section
from tests.pictures import photographs

NUM = 24
NO_PLAN: Any = None
STOP: Any = SimpleNamespace(leaks="stop", id_near_duplicates="keep")
DROP: Any = SimpleNamespace(leaks="drop", id_near_duplicates="keep")


def _images(name: str, seed: int, *, num: int = NUM, labelled: bool = False, **more: Any) -> Any:
    pixels = more.pop("pixels", photographs(num, seed))
    labels = [row % 2 for row in range(num)] if labelled else None
    classes = ("a", "b") if labelled else ()
    ids = [f"{name}/{row}" for row in range(num)]
    return ImageSet.make(name, pixels, labels=labels, ids=ids, classes=classes, **more)


VAL = _images("val_id", 1, labelled=True)
FAR = _images("far", 2, groups=[f"photo{row // 3}" for row in range(NUM)])


def test_parts_are_disjoint_complete_stratified_and_of_the_asked_share() -> None:
    val_id, ood, kept = keep_part(VAL, {"far": FAR}, 0.25, 0)
    assert np.bincount(kept.id.labels).tolist() == [3, 3]
    for whole, one, two in (
        (VAL, val_id.images, kept.id),
        (FAR, ood.sets["far"], kept.ood["far"]),
    ):
        assert sorted([*one.ids.tolist(), *two.ids.tolist()]) == sorted(whole.ids.tolist())
        assert not set(one.groups.tolist()) & set(two.groups.tolist())
    assert len(kept.ood["far"]) == 6  # two sources of three


def test_parts_depend_on_the_seed_alone_and_each_set_has_a_stream_of_its_own() -> None:
    def kept(seed: int, **sets: ImageSet) -> KeptPart:
        return keep_part(VAL, sets, 0.5, seed)[2]

    other = _images("near", 3)
    first, again, beside = kept(0, far=FAR), kept(0, far=FAR), kept(0, near=other, far=FAR)
    assert first.id.fingerprint == again.id.fingerprint != kept(1, far=FAR).id.fingerprint
    assert first.ood["far"].fingerprint == beside.ood["far"].fingerprint


def test_source_of_two_sets_is_on_one_side_of_both() -> None:
    photos = [f"photo{row // 2}" for row in range(NUM)]
    others = [f"photo{(row // 2 + 6)}" for row in range(NUM)]  # half of them are photos of both
    sets = {"a": _images("a", 3, groups=photos), "b": _images("b", 4, groups=others)}
    for seed in range(5):
        _, ood, kept = keep_part(VAL, sets, 0.4, seed)
        first = {g for one in ood.sets.values() for g in one.groups.tolist()}
        assert not first & {g for one in kept.ood.values() for g in one.groups.tolist()}


def test_same_pixels_are_one_source_and_same_names_are_not() -> None:
    pixels = photographs(NUM, 5)
    pixels[7] = pixels[3]
    one = ImageSet.make("one", pixels)
    two = ImageSet.make("two", photographs(NUM, 6))  # ids 000000 .. as in `one`
    first, second = source_numbers([one, two])
    assert first[3] == first[7]
    assert len({*first.tolist(), *second.tolist()}) == 2 * NUM - 1


def _made(name: str, images: ImageSet, seed: int) -> ImageSet:
    return make_synthetic(name, images, seed, 8)


def test_synthetic_sets_are_made_of_the_validation_images_of_their_side() -> None:
    sets = {name: make_synthetic(name, VAL, 0, NUM) for name in ("gaussian", "jigsaw")}
    make = {name: partial(_made, name) for name in sets}
    val_id, ood, kept = keep_part(VAL, sets, 0.5, 0, make)
    for images, part in ((val_id.images, ood.sets), (kept.id, kept.ood)):
        assert set(part["jigsaw"].groups.tolist()) <= set(images.groups.tolist())
    noise = (ood.sets["gaussian"].pixels, kept.ood["gaussian"].pixels)
    assert not (noise[0] == noise[1]).all()


@pytest.mark.parametrize(
    ("val_id", "ood", "told"),
    [
        (VAL, _images("few", 3, groups=["x"] * 8 + ["y"] * 8 + ["z"] * 8), "'few' has 3 source"),
        (_images("val_id", 1, num=6, labelled=True), FAR, "class 0 of 'val_id' has 3 source"),
    ],
)
def test_set_of_too_few_sources_is_a_fault_of_the_fraction(
    val_id: ImageSet, ood: ImageSet, told: str
) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        keep_part(val_id, {ood.name: ood}, 0.5, 0)
    (fault,) = caught.value.faults
    assert fault.place == "data.confirm_fraction"
    assert "confirm_fraction: 0" in fault.way_out


def _study(kept: KeptPart, val_id: ImageSet = VAL, ood: ImageSet = FAR) -> StudyData:
    train = TrainID(_images("train", 0, labelled=True))
    sets = OODValidation({"far": ood})
    return StudyData(train, ValidationID(val_id), None, sets, 2, demo=False, kept=kept)


def _check(data: StudyData, monkeypatch: pytest.MonkeyPatch, how: Any = STOP) -> StudyData:
    sealed = TestData(_images("id_test", 100, labelled=True), {"away": _images("away", 101)})
    monkeypatch.setattr(step, "open_test", lambda plan: sealed)
    return run_leak_check(NO_PLAN, data, how)[0]


def _clean() -> tuple[ImageSet, ImageSet]:
    return _images("val_id", 11, labelled=True), _images("far", 12)


def test_parts_as_they_are_cut_pass_the_leak_check(monkeypatch: pytest.MonkeyPatch) -> None:
    val_id, ood, kept = keep_part(VAL, {"far": FAR}, 0.5, 0)
    data = _study(kept, val_id.images, ood.sets["far"])
    assert _check(data, monkeypatch) is data


@pytest.mark.parametrize("planted", ["pixels", "source", "test image"])
def test_leak_into_the_kept_part_stops_the_study(
    monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    kept_id, kept_ood = _clean()
    pixels = kept_ood.pixels.copy()
    groups = kept_ood.ids
    if planted == "pixels":
        pixels[4] = FAR.pixels[7]
    elif planted == "source":
        groups = np.array([b"photo2", *kept_ood.ids[1:].tolist()])
    else:
        pixels[4] = photographs(NUM, 101)[5]
    leaking = _images("far", 0, pixels=pixels, groups=groups)
    _check(_study(KeptPart(kept_id, {"far": kept_ood})), monkeypatch)
    data = _study(KeptPart(kept_id, {"far": leaking}))
    with pytest.raises(BadInput, match="OOD kept for confirmation 'far'"):
        _check(data, monkeypatch)
    dropped = _check(data, monkeypatch, DROP)
    assert dropped.kept is not None
    sizes = [len(dropped.ood_val.sets["far"]), len(dropped.kept.ood["far"])]
    # the search's side gives way to the kept one, and either gives way to a test set
    gone = {"pixels": [NUM - 1, NUM], "source": [NUM - 3, NUM], "test image": [NUM, NUM - 1]}
    assert sizes == gone[planted]


def test_validation_image_on_both_sides_stops_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_id, kept_ood = _clean()
    pixels = kept_id.pixels.copy()
    pixels[0] = VAL.pixels[0]
    leaking = _images("val_id", 0, labelled=True, pixels=pixels)
    with pytest.raises(BadInput, match=r"validation ID .* and ID kept for confirmation"):
        _check(_study(KeptPart(leaking, {"far": kept_ood})), monkeypatch)


def test_demo_is_cut_into_roles_that_the_manifest_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(section(), "demo")
    whole = plan.load_study(section())
    data = plan.load_study(section(confirm_fraction=0.3))
    assert whole.kept is None
    assert data.kept is not None
    roles = data.fingerprints()
    for name, images in whole.ood_val.sets.items():
        parts = [
            roles[f"ood_val/{name}"]["num_groups"],
            roles[f"confirm_ood/{name}"]["num_groups"],
        ]
        assert sum(parts) == images.num_groups
    assert roles["train"] == whole.fingerprints()["train"]
    share = roles["confirm_id"]["num_images"] / len(whole.val_id.images)
    assert share == pytest.approx(0.3, abs=0.05)
    assert data.fingerprint != whole.fingerprint
