import json

import numpy as np
import pytest

from study.data.images import ImageSet
from study.data.leaks.check import check_leaks
from study.data.leaks.report import Member
from study.data.leaks.turns import TURNS
from study.errors import BadInput
from tests.pictures import photographs

ROLES = ("outliers", "ood_val", "train", "val_id", "id_test", "ood_test")
SIZE = 40
SIZE_OF_PLAIN = 32


def members(changes=None, groups=None, num=SIZE):
    """Six roles of independent images; ``changes`` maps role -> {row: image}."""
    result = []
    for number, role in enumerate(ROLES):
        pixels = photographs(num, number)
        for row, image in (changes or {}).get(role, {}).items():
            pixels[row] = image
        ids = [f"{role}/{row:03d}" for row in range(num)]
        images = ImageSet.make(
            f"{role}_set", pixels, ids=ids, groups=(groups or {}).get(role), classes=()
        )
        result.append(Member(role, images))
    return result


def image_of(role, row):
    return photographs(SIZE, seed=ROLES.index(role))[row]


def near(image):
    """A copy of an image that is no exact one: mirrored, moved by one pixel, darker."""
    return (np.roll(image[:, ::-1], 1, axis=1) * 0.9).astype(np.uint8)


def found(report):
    return {(c.weaker, c.stronger, c.kind): c for c in report.collisions}


def test_check_leaks_independent_sets_have_no_collision():
    report, dropped = check_leaks(members())
    assert report.collisions == ()
    assert dropped == {}
    assert sum(report.num_images.values()) == 6 * SIZE
    assert list(report.num_images) == [
        "outliers", "ood_val/ood_val_set", "train", "val_id", "id_test", "ood_test/ood_test_set",
    ]  # fmt: skip


KEYS = {role: f"{role}/{role}_set" if role.startswith("ood") else role for role in ROLES}
PAIRS = [(a, b) for n, a in enumerate(ROLES) for b in ROLES[n + 1 :]]
TESTS = {"id_test", "ood_test"}


@pytest.mark.parametrize(("weaker", "stronger"), PAIRS)
def test_check_leaks_exact_copy_between_any_two_roles_stops(weaker, stronger):
    sets = members({weaker: {7: image_of(stronger, 3)}})
    with pytest.raises(BadInput, match="exact copies") as caught:
        check_leaks(sets)
    (fault,) = caught.value.faults
    assert f"{weaker}/007 = {stronger}/003" in str(fault)
    assert "1 image" in str(fault)
    assert ("data.leaks: drop" in str(fault)) == (weaker not in TESTS)


@pytest.mark.parametrize(("weaker", "stronger"), [p for p in PAIRS if p[0] not in TESTS])
def test_check_leaks_exact_copy_is_dropped_from_the_weaker_side_on_request(weaker, stronger):
    sets = members({weaker: {7: image_of(stronger, 3)}})
    report, dropped = check_leaks(sets, leaks="drop")
    assert list(dropped) == [KEYS[weaker]]
    assert np.flatnonzero(dropped[KEYS[weaker]]).tolist() == [7]
    assert dict(report.dropped) == {KEYS[weaker]: 1}
    assert found(report)[KEYS[weaker], KEYS[stronger], "exact"].action == "drop"


def test_check_leaks_exact_copy_between_test_roles_is_never_dropped():
    sets = members({"id_test": {0: image_of("ood_test", 0)}})
    with pytest.raises(BadInput, match="nothing is dropped from a test role"):
        check_leaks(sets, leaks="drop", id_near_duplicates="drop")


@pytest.mark.parametrize("weaker", ["outliers", "ood_val"])
@pytest.mark.parametrize("test", ["id_test", "ood_test"])
def test_check_leaks_near_duplicate_of_a_test_image_stops_or_is_dropped(weaker, test):
    sets = members({weaker: {11: near(image_of(test, 5))}})
    with pytest.raises(BadInput, match=rf"{weaker}/011 = {test}/005"):
        check_leaks(sets)
    report, dropped = check_leaks(sets, leaks="drop")
    assert np.flatnonzero(dropped[KEYS[weaker]]).tolist() == [11]
    assert found(report)[KEYS[weaker], KEYS[test], "near"].num_stronger == 1


@pytest.mark.parametrize(
    ("weaker", "stronger"), [("train", "val_id"), ("train", "id_test"), ("val_id", "id_test")]
)
def test_check_leaks_near_duplicates_among_id_roles_are_told_or_dropped(weaker, stronger):
    sets = members({weaker: {4: near(image_of(stronger, 9)), 5: near(image_of(stronger, 9))}})
    report, dropped = check_leaks(sets, leaks="drop")
    collision = found(report)[weaker, stronger, "near"]
    assert (collision.action, collision.num_weaker, collision.num_stronger) == ("tell", 2, 1)
    assert collision.share_stronger == 1 / SIZE
    assert dropped == {}
    _, dropped = check_leaks(sets, id_near_duplicates="drop")
    assert np.flatnonzero(dropped[weaker]).tolist() == [4, 5]


def test_check_leaks_near_duplicates_of_outliers_and_ood_validation_are_told_or_dropped():
    sets = members({"outliers": {1: near(image_of("ood_val", 2))}})
    report, dropped = check_leaks(sets)
    assert dropped == {}
    assert found(report)["outliers", "ood_val/ood_val_set", "near"].action == "tell"
    _, dropped = check_leaks(sets, leaks="drop")
    assert np.flatnonzero(dropped["outliers"]).tolist() == [1]


@pytest.mark.parametrize(
    ("weaker", "stronger"), [("outliers", "train"), ("ood_val", "val_id"), ("train", "ood_test")]
)
def test_check_leaks_near_duplicates_of_id_and_ood_are_only_told(weaker, stronger):
    sets = members({weaker: {1: near(image_of(stronger, 2))}})
    report, dropped = check_leaks(sets, leaks="drop", id_near_duplicates="drop")
    assert dropped == {}
    assert found(report)[KEYS[weaker], KEYS[stronger], "near"].action == "tell"


def test_check_leaks_shared_source_group_stops_or_is_dropped():
    crops = [f"photo{row // 4}" for row in range(SIZE)]
    other = [f"photo{100 + row // 4}" for row in range(SIZE)]
    other[8:10] = ["photo3", "photo3"]
    sets = members(groups={"outliers": crops, "ood_test": other})
    with pytest.raises(BadInput, match=r"same source images: photo3 = photo3"):
        check_leaks(sets)
    report, dropped = check_leaks(sets, leaks="drop")
    assert np.flatnonzero(dropped["outliers"]).tolist() == [12, 13, 14, 15]
    collision = found(report)["outliers", KEYS["ood_test"], "group"]
    assert (collision.num_weaker, collision.num_stronger) == (4, 2)


def test_check_leaks_outliers_joined_from_several_sets_share_groups_too():
    joined = [f"crops/photo{row // 4}" for row in range(SIZE)]
    sets = members(groups={"outliers": joined, "ood_val": [f"photo{row}" for row in range(SIZE)]})
    with pytest.raises(BadInput, match="crops/photo0 = photo0"):
        check_leaks(sets)


def test_check_leaks_equal_file_names_are_no_shared_source():
    sets = [
        Member(m.role, ImageSet.make(m.images.name, m.images.pixels)) for m in members()
    ]  # ids are row numbers in every set
    assert check_leaks(sets)[0].collisions == ()


def test_check_leaks_set_made_from_validation_images_inherits_their_resemblances():
    sets = members({"val_id": {0: near(image_of("id_test", 0))}})
    validation = sets[3].images
    derived = ImageSet.make(
        "pixelate",
        (validation.pixels * 0.95).astype(np.uint8),
        ids=[f"pixelate/{row}" for row in range(SIZE)],
        groups=validation.ids,
    )
    sets = [*sets[:1], Member("ood_val", derived), *sets[2:]]
    report, dropped = check_leaks(sets, leaks="drop")
    assert dropped == {}
    assert {c.action for c in report.collisions} == {"tell"}
    assert ("ood_val/pixelate", "id_test", "near") in found(report)
    _, dropped = check_leaks(sets, id_near_duplicates="drop")
    assert np.flatnonzero(dropped["ood_val/pixelate"]).tolist() == [0]
    assert np.flatnonzero(dropped["val_id"]).tolist() == [0]


def test_check_leaks_sets_of_one_role_are_not_compared():
    pixels = photographs(10, 99)
    twins = [Member("ood_test", ImageSet.make(name, pixels)) for name in ("a", "b")]
    assert check_leaks([*members(), *twins])[0].collisions == ()


def test_check_leaks_flat_images_collide_only_as_exact_copies():
    flat = {row: np.full((32, 32, 3), 3 * row + 100, dtype=np.uint8) for row in range(10)}
    noisy = {
        row: np.random.default_rng(row).integers(99, 102, (32, 32, 3), dtype=np.uint8)
        for row in range(10)
    }
    assert check_leaks(members({"outliers": flat, "ood_test": noisy}))[0].collisions == ()
    with pytest.raises(BadInput, match="exact copies"):
        check_leaks(members({"outliers": flat, "ood_test": {20: flat[4]}}))


def test_check_leaks_mirror_image_without_structure_is_a_near_duplicate():
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None], (32, 32, 3))
    sets = members({"outliers": {0: ramp}, "ood_test": {0: ramp[:, ::-1]}})
    with pytest.raises(BadInput, match="near-duplicates"):
        check_leaks(sets)


def test_check_leaks_all_faults_are_told_at_once():
    changes = {
        "outliers": {0: image_of("ood_test", 0)},
        "ood_val": {1: near(image_of("id_test", 1))},
        "train": {2: image_of("val_id", 2)},
    }
    with pytest.raises(BadInput) as caught:
        check_leaks(members(changes))
    assert len(caught.value.faults) == 3


def test_leak_report_json_and_lines_say_what_was_found():
    sets = members(
        {"train": {4: near(image_of("id_test", 9))}, "outliers": {0: image_of("train", 0)}}
    )
    report, _ = check_leaks(sets, leaks="drop")
    plain = json.loads(json.dumps(report.to_json()))
    assert plain["dropped"] == {"outliers": 1}
    assert {c["kind"] for c in plain["collisions"]} == {"exact", "near"}
    assert plain["collisions"][0]["examples"] == [["outliers/000", "train/000"]]
    text = "\n".join(report.lines())
    assert "  near-duplicates: 1 of train ID, 1 of ID test (2.5%); kept" in text
    near_ones = next(found for found in report.collisions if found.kind == "near")
    assert "train ID (1 image) and ID test (1 image, 2.5%) are near-duplicates" in str(near_ones)
    assert "dropped from outliers: 1 image" in text
    assert "only told: 1" in text


@pytest.mark.parametrize("number", range(1, 16))
def test_check_leaks_turned_exact_copy_without_structure_is_near(number):
    image = np.full((SIZE_OF_PLAIN, SIZE_OF_PLAIN, 3), 200, dtype=np.uint8)
    image[3, 5], image[4, 9] = 10, 90
    turned = np.ascontiguousarray(TURNS[number].of(image[None])[0])
    report, _ = check_leaks(members({"outliers": {4: turned}, "train": {7: image}}))
    (collision,) = report.collisions
    assert (collision.kind, collision.action) == ("near", "tell")


def test_check_leaks_black_is_no_negative_of_white():
    plain = [np.full((32, 32, 3), shade, dtype=np.uint8) for shade in (0, 255)]
    changes = {"outliers": {0: plain[0]}, "ood_test": {0: plain[1]}}
    assert check_leaks(members(changes))[0].collisions == ()
