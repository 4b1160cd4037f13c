from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from study.data.class_names import checked_ood_set, count_id_classes, id_classes_among
from study.data.images import ImageSet
from study.errors import BadInput
from tests.fake_data import noise

_VEHICLES = ("airplane", "automobile", "ship", "truck")
CIFAR10 = (*_VEHICLES, "bird", "cat", "deer", "dog", "frog", "horse")


def _outliers(classes):
    return ImageSet.make("things", noise(6, size=8), labels=np.arange(6) % 3, classes=classes)


@pytest.mark.parametrize(
    ("name", "id_class"),
    [
        ("cat", "cat"),
        ("Cars", "automobile"),
        ("n02958343_sports_car", "automobile"),
        ("aeroplane", "airplane"),
        ("golden retriever", "dog"),
        ("tree-frog", "frog"),
        ("container ship, containership", "ship"),
        ("lorry", "truck"),
        ("n02123045", "cat"),
        ("n02085620-Chihuahua", "dog"),
        ("boats", "ship"),
        ("ponies", "horse"),
        ("kitten", "cat"),
        ("tadpole", "frog"),
        ("my old car", "automobile"),
        ("racing_car", "automobile"),
        ("motor vehicle", "automobile"),
        ("Siberian Husky", "dog"),
        ("moose", "deer"),
        ("chicken", "bird"),
        ("cat (domestic)", "cat"),
        ("001.cat", "cat"),
        ("dog_12", "dog"),
    ],
)
def test_synonyms_of_id_classes_are_found(name, id_class):
    assert id_classes_among(CIFAR10, [name]) == {0: id_class}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "catfish",
            "hot dog",
            "hotdog",
            "prairie dog",
            "pickup_truck",
            "house number 3",
            "carpet",
        ),
        *("bus", "cable_car", "freight car", "sea lion", "sea horse", "horseradish", "gravy boat"),
        *("n03954731_plane", "n02497673_Madagascar_cat", "n02116738_African_hunting_dog", "lynx"),
        *("plane", "crane", "corn dog", "crane (bird)", "12", "3. 4"),
    ],
)
def test_names_that_only_sound_alike_are_not(name):
    assert id_classes_among(CIFAR10, [name]) == {}


def test_counts_leave_out_classes_without_images():
    images = _outliers(("car", "milk can", "kitten")).take([0, 1, 3])
    assert count_id_classes(CIFAR10, images) == {"car": ("automobile", 2)}


def test_refuse_names_set_classes_and_way_out():
    told = r"data.outliers: 'things' holds ID classes: 'car' \(ID class 'automobile', 2 images\)"
    with pytest.raises(BadInput, match=told + r"\. Set data.outlier_id_classes: filter"):
        checked_ood_set(_outliers(("car", "cup", "tub")), CIFAR10, "data.outliers", "refuse")


def test_filter_leaves_the_images_out_and_says_so():
    images = _outliers(("car", "cup", "tub"))
    kept, note = checked_ood_set(images, CIFAR10, "data.outliers", "filter")
    assert kept.labels.tolist() == [1, 2, 1, 2]
    assert note is not None
    assert "left out of 'things': 'car'" in note


def test_filter_of_everything_is_refused_and_unlabelled_sets_pass():
    with pytest.raises(BadInput, match="nothing but ID classes"):
        checked_ood_set(_outliers(("car", "cat", "dog")), CIFAR10, "data.ood_val", "filter")
    unlabelled = ImageSet.make("x", noise(2))
    assert checked_ood_set(unlabelled, CIFAR10, "data.outliers", "refuse")[0] is unlabelled


def _imagenet() -> tuple[list[str], dict[str, str]]:
    """ImageNet-1k's ids, and their names as ImageNet has them."""
    folder = Path(find_spec("timm").origin).parent / "data" / "_info"
    ids = (folder / "imagenet_synsets.txt").read_text().split()
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    return ids, dict(line.split("\t", 1) for line in lines)


# Of CIFAR-10's kinds, place by place in ImageNet's order: ranges of its 1,000 classes.
_SAME_KINDS = {
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "dog": range(151, 269),
    "cat": range(281, 286),
    "frog": range(30, 33),
    "airplane": (404, 895),
    "horse": (339,),
    "truck": (555, 569, 864, 867),
    "automobile": (436, 468, 511, 609, 627, 656, 661, 751, 817),
    "ship": (403, 472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 871, 914),
}


def test_of_imagenets_classes_the_214_of_cifar10s_kinds_are_found_and_no_other() -> None:
    ids, _ = _imagenet()
    expected = {place: kind for kind, places in _SAME_KINDS.items() for place in places}
    assert len(expected) == 214
    assert id_classes_among(CIFAR10, ids) == expected


@pytest.mark.parametrize("whole", [True, False])
def test_of_imagenets_names_alone_the_same_are_found_but_for_those_of_two_things(
    whole: bool,
) -> None:
    ids, names = _imagenet()
    expected = {place: kind for kind, places in _SAME_KINDS.items() for place in places}
    told = [names[one] if whole else names[one].split(",")[0] for one in ids]
    two_things = {"crane", "Cardigan", "Cardigan, Cardigan Welsh corgi"}
    expected = {i: kind for i, kind in expected.items() if told[i] not in two_things}
    assert id_classes_among(CIFAR10, told) == expected


def test_classes_of_cifar100_are_found_by_what_they_mean() -> None:
    named = ("mouse", "dolphin", "seal", "turtle", "whale", "ray", "maple_tree", "pickup_truck")
    things = ["field mouse", "bottlenose dolphin", "harp seal", "box turtle", "sperm whale"]
    things += ["stingray", "sugar maple", "pickup"]
    things += ["computer keyboard", "sealing wax", "turtleneck"]
    found = id_classes_among(named, things)
    assert found == dict(enumerate(named))


def test_own_id_classes_are_found_among_imagenets() -> None:
    assert id_classes_among(["beagle", "crab"], ["n02088364", "dog", "fiddler crab", "tench"]) == {
        0: "beagle",
        1: "beagle",
        2: "crab",
    }


def test_digits_match_as_a_whole_alone() -> None:
    assert id_classes_among(["1", "2"], ["1", "12", "seven 2"]) == {0: "1"}


def test_classes_that_cannot_be_judged_are_told() -> None:
    images = _outliers(("crane", "banded", "cup"))
    kept, note = checked_ood_set(images, CIFAR10, "data.outliers", "refuse")
    assert kept is images
    assert note is not None
    assert note.startswith("Not judged whether 'things' holds ID classes")
    assert note.endswith(": crane, banded.")


def test_set_without_classes_is_told_as_not_looked_at() -> None:
    _, note = checked_ood_set(ImageSet.make("x", noise(2)), CIFAR10, "data.outliers", "refuse")
    assert note is not None
    assert "'x' names no classes" in note


def test_set_that_the_project_made_needs_no_word() -> None:
    images = ImageSet.make("x", noise(2), codec="rendered")
    assert checked_ood_set(images, CIFAR10, "data.ood_val", "refuse") == (images, None)
