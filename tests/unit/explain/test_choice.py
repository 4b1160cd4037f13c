from __future__ import annotations

import numpy as np

from study.explain.choice import choose_images, class_name
from tests.toys import toy_images

VAL = toy_images("val", 30, classes=3)
OOD = {"far": toy_images("far", 7), "near": toy_images("near", 9, classes=2)}


def test_id_classes_take_turns() -> None:
    assert choose_images(VAL, {}, 7, 0)["val_id"].images.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_choice_depends_on_the_seed_alone() -> None:
    one, two, other = (choose_images(VAL, OOD, 6, seed) for seed in (0, 0, 1))
    for name in ("val_id", "far", "near"):
        assert one[name].images.ids.tolist() == two[name].images.ids.tolist()
        np.testing.assert_array_equal(one[name].partner_pixels, two[name].partner_pixels)
        assert one[name].images.ids.tolist() != other[name].images.ids.tolist()


def test_other_sets_change_no_choice() -> None:
    alone = choose_images(VAL, {"far": OOD["far"]}, 6, 0)["far"]
    assert alone.images.ids.tolist() == choose_images(VAL, OOD, 6, 0)["far"].images.ids.tolist()


def test_smaller_choice_begins_a_larger_one() -> None:
    few, many = choose_images(VAL, OOD, 3, 0), choose_images(VAL, OOD, 6, 0)
    for name, chosen in few.items():
        beginning = many[name].first(3)
        assert chosen.images.ids.tolist() == beginning.images.ids.tolist()
        np.testing.assert_array_equal(chosen.partner_pixels, beginning.partner_pixels)


def test_set_smaller_than_the_choice_gives_all_it_has_once() -> None:
    chosen = choose_images(VAL, OOD, 50, 0)
    assert sorted(chosen["far"].images.ids.tolist()) == sorted(OOD["far"].ids.tolist())
    assert len(chosen["val_id"]) == len(set(chosen["val_id"].images.ids.tolist())) == 30


def test_partners_alternate_between_the_same_class_and_another() -> None:
    chosen = choose_images(VAL, OOD, 12, 0)["val_id"]
    same = chosen.images.labels == VAL.labels[chosen.partners]
    assert same.tolist() == [True, False] * 6
    itself = (chosen.images.pixels == chosen.partner_pixels).all(axis=(1, 2, 3))
    assert not itself.any()


def test_partners_of_ood_images_are_id_images() -> None:
    chosen = choose_images(VAL, OOD, 7, 0)["far"]
    known = {image.tobytes() for image in VAL.pixels}
    assert all(image.tobytes() in known for image in chosen.partner_pixels)
    assert not chosen.is_id


def test_class_of_one_image_is_paired_with_another_class() -> None:
    images = toy_images("val", 3, classes=3)
    chosen = choose_images(images, {}, 3, 0)["val_id"]
    assert (chosen.images.labels != images.labels[chosen.partners]).all()


def test_class_name_is_for_people() -> None:
    assert class_name(("hot_dog",), 0) == "hot dog"
    assert class_name((), 2) == "class 2"
    assert class_name(("cat",), -1) == ""
