"""Whole data roots of the kinds that people have: read right, or refused in words."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.data import id_choice
from study.data.classes import with_classes
from study.data.file_formats import own_size, read_source
from study.data.images import ImageSet
from study.data.plan import DataPlan
from study.data.sources import Source
from study.data.test_access import open_test
from study.errors import BadInput
from study.space.loading import load_resolved
from tests.fake_data import (
    KINDS,
    class_table,
    encode,
    picture,
    right_labels,
    save_classes,
    save_pictures,
    save_table,
)
from tests.own_data import Reading, read_as_a_study, save_rest

NUMBERS = {"apple": 0, "bridge": 1, "cloud": 2}
TURNED = {"cloud": 0, "apple": 1, "bridge": 2}
TURNED_NAMES = ("cloud", "apple", "bridge")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(id_choice, "has_gpu", lambda: False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with all roles but the ID sets."""
    return save_rest(tmp_path / "root", id_set=False)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A data root with all roles but the outliers."""
    return save_rest(tmp_path / "root", outliers=False)


def _assert_right(reading: Reading, sizes: tuple[int, int] = (18, 12)) -> None:
    train, val, test = reading.id_sets
    assert reading.classes == KINDS
    assert (len(train) + len(val), len(test)) == sizes
    assert all(map(right_labels, reading.id_sets))


# ---- the ID set, in every form ------------------------------------------------------------------


def _folders(at: Path, count: int, seed: int) -> None:
    save_classes(at, count, seed=seed)


def _text_labels(at: Path, count: int, seed: int) -> None:
    texts = {kind: kind for kind in KINDS}
    save_table(at.with_suffix(".parquet"), class_table(count, texts, seed=seed))


def _numbers(kind: pa.DataType, **how: Any) -> Any:
    def write(at: Path, count: int, seed: int) -> None:
        table = class_table(count, NUMBERS, kind, seed=seed)
        save_table(at.with_suffix(".parquet"), table, **(how or {"classes": KINDS}))

    return write


def _other_column(at: Path, count: int, seed: int) -> None:
    table = class_table(count, NUMBERS, column="kind_of_thing", seed=seed)
    save_table(at.with_suffix(".parquet"), table, features=KINDS)


def _shards(stem: str) -> Any:
    def write(at: Path, count: int, seed: int) -> None:
        for shard in range(2):
            table = class_table(count // 2, NUMBERS, seed=10 * seed + shard)
            name = stem.format(split=at.name, shard=shard)
            save_table(at.parent / name, table, KINDS)

    return write


def _array(at: Path, count: int, seed: int) -> None:
    rows = [(kind, row) for kind in KINDS for row in range(count)]
    pixels = [np.asarray(picture(kind, 1000 * seed + row)) for kind, row in rows]
    at.parent.mkdir(parents=True, exist_ok=True)
    np.save(at.with_suffix(".npy"), np.stack(pixels))
    labels = np.array([NUMBERS[kind] for kind, _ in rows], np.uint8)
    np.save(at.with_name(f"{at.name}_labels.npy"), labels)
    (at.parent / "classes.txt").write_text("apple\nbridge\ncloud\n")


def _list(at: Path, count: int, seed: int) -> None:
    save_classes(at.parent / "pictures" / at.name, count, seed=seed)
    lines = [
        f"pictures/{at.name}/{kind}/{row:02d}.png {NUMBERS[kind]}\n"
        for row in range(count)
        for kind in KINDS
    ]
    at.with_suffix(".txt").write_text("".join(lines))


FORMS = {
    "folders": _folders,
    "text": _text_labels,
    "int8": _numbers(pa.int8()),
    "uint64": _numbers(pa.uint64()),
    "uint8 with features": _numbers(pa.uint8(), features=KINDS),
    "another column": _other_column,
    "shards": _shards("{split}-0000{shard}-of-00002.parquet"),
    "marked shards": _shards("{split}-0000{shard}-of-00002-8f3a9c0{shard}1b.parquet"),
    "shards in capitals": _shards("{split}-0000{shard}-OF-00002.PARQUET"),
    "shards in data": _shards("data/{split}-0000{shard}-of-00002.parquet"),
    "shards of a configuration": _shards("plain_text/{split}-0000{shard}-of-00002.parquet"),
    "folder of files": _shards("{split}/000{shard}.parquet"),
    "configuration's folder": _shards("default/{split}/000{shard}.parquet"),
    "array": _array,
    "list": _list,
}


PLACES = [*(("id", form) for form in FORMS), ("cifar10", "folders"), ("cifar10", "shards in data")]


@pytest.mark.parametrize(("folder", "form"), [*PLACES, ("named", "folders"), ("named", "shards")])
def test_id_set_of_every_form_is_read_with_its_names(root: Path, folder: str, form: str) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        FORMS[form](root / folder / split, count, seed)
    named = {"id": str(root / folder)} if folder == "named" else {}
    reading = read_as_a_study(root, **named)
    _assert_right(reading)
    assert not reading.study.plan.demo


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_validation_set_of_its_own_is_used_whole(root: Path, name: str) -> None:
    for seed, (split, count) in enumerate({"train": 6, name: 3, "test": 4}.items()):
        _folders(root / "id" / split, count, seed)
    reading = read_as_a_study(root)
    assert [len(images) for images in reading.id_sets] == [18, 9, 12]
    assert all(map(right_labels, reading.id_sets))


def test_share_for_validation_is_told_where_the_set_has_its_own(root: Path) -> None:
    for split, seed in (("train", 1), ("val", 2), ("test", 3)):
        _folders(root / "id" / split, 4, seed)
    assert "data.val_fraction is not used" in read_as_a_study(root, val_fraction=0.4).told


def test_what_is_no_split_of_the_id_set_is_told(tmp_path: Path) -> None:
    whole = save_rest(tmp_path / "root")
    _folders(whole / "id" / "holdout", 2, 7)
    (whole / "id" / "val.npz").write_bytes(b"PK")
    (whole / "id" / "README.md").write_text("mine")
    reading = read_as_a_study(whole)
    assert "no split and is not used: holdout, val.npz." in reading.told


def test_sets_that_are_one_under_two_names_are_told(tmp_path: Path) -> None:
    whole = save_rest(tmp_path / "root")
    for name in ("first", "second"):
        save_pictures(whole / "ood_val" / name, 3, seed=9)
        save_pictures(whole / "ood_test" / name[:1], 3, seed=8)
    reading = read_as_a_study(whole)
    assert "'first' and 'second' hold the same images" in reading.told
    assert any("'f' and 's' hold the same images" in note for note in reading.test.notes)


def test_forms_of_the_splits_may_differ(root: Path) -> None:
    _folders(root / "id" / "train", 6, 0)
    _array(root / "id" / "val", 2, 1)
    _text_labels(root / "id" / "test", 4, 2)
    _assert_right(read_as_a_study(root), (24, 12))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, r"there is no folder id or cifar10; it holds: ood_test/ \(textures\)"),
        ({"id/train": "folders"}, r"id has no test, it holds: train/ \(apple, bridge, cloud\)"),
        ({"id/test": "folders"}, "id has no train and no test, it holds: test/"),
        ({"train": "folders", "test": "folders"}, r"it holds: .*train/ \(apple, bridge"),
        ({"cifar10/train": "shards"}, "cifar10 has no test, it holds: train-00000-of-00002"),
        ({"id/a/train": "folders", "id/b/train": "folders"}, "several folders with a train set"),
    ],
)
def test_root_without_an_id_set_is_told_with_what_lies_there(
    root: Path, parts: dict[str, str], told: str
) -> None:
    for place, form in parts.items():
        FORMS[form](root / place, 4, 0)
    with pytest.raises(BadInput, match=told):
        read_as_a_study(root)


def test_empty_root_is_told_and_no_demo_stands_in(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(BadInput, match=r"no ID set here: .*it is empty.*--set data\.id=DIR"):
        read_as_a_study(tmp_path / "root")


def test_split_in_two_forms_is_refused_with_both(root: Path) -> None:
    for form in ("folders", "int8"):
        FORMS[form](root / "id" / "train", 4, 0)
    FORMS["folders"](root / "id" / "test", 4, 1)
    with pytest.raises(BadInput, match=r"train is there more than once: train, train\.parquet"):
        read_as_a_study(root)


def test_what_no_role_takes_is_told(whole: Path) -> None:
    save_rest(whole, id_set=False)
    save_pictures(whole / "more", 2)
    _folders(whole / "cifar10" / "train", 2, 5)
    (whole / "readme.md").touch()
    assert "what has no role and is not used: cifar10, more.\n" in read_as_a_study(whole).told


def test_empty_list_of_tests_is_no_test_and_told(root: Path) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        _folders(root / "id" / split, count, seed)
    reading = read_as_a_study(root, ood_test=[])
    assert not reading.test.ood
    assert "There is no OOD test set" in reading.told


# ---- classes are compared -----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["classes", "features"])
def test_other_order_of_names_in_the_test_is_mapped_and_told(root: Path, how: str) -> None:
    named = {how: KINDS}
    save_table(root / "id" / "train.parquet", class_table(6, NUMBERS), **named)
    turned = {how: TURNED_NAMES}
    save_table(root / "id" / "test.parquet", class_table(4, TURNED, seed=1), **turned)
    reading = read_as_a_study(root)
    _assert_right(reading)
    assert (
        "'id_test' numbers its classes otherwise than 'id_train': mapped by name" in reading.told
    )


def test_other_order_of_names_in_the_validation_is_mapped(root: Path) -> None:
    save_table(root / "id" / "train.parquet", class_table(6, NUMBERS), KINDS)
    save_table(root / "id" / "val.parquet", class_table(3, TURNED, seed=1), TURNED_NAMES)
    save_table(root / "id" / "test.parquet", class_table(4, NUMBERS, seed=2), KINDS)
    _assert_right(read_as_a_study(root), (27, 12))


def test_names_that_differ_in_how_an_accent_is_stored_are_the_same(root: Path) -> None:
    for form, split, count in (("NFC", "train", 6), ("NFD", "test", 4)):
        for kind, name in {"apple": "pâté", "bridge": "olé"}.items():
            folder = root / "id" / split / unicodedata.normalize(form, name)
            save_pictures(folder, count, kind, seed=count)
    assert read_as_a_study(root).classes == ("olé", "pâté")


def test_names_that_have_no_image_anywhere_are_left_out_and_told(root: Path) -> None:
    names = ("zero", *KINDS)
    numbers = {kind: label + 1 for kind, label in NUMBERS.items()}
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        table = class_table(count, numbers, seed=seed)
        save_table(root / "id" / f"{split}.parquet", table, names)
    reading = read_as_a_study(root)
    _assert_right(reading)
    assert "names classes without an image, left out: 'zero'" in reading.told


def test_unnamed_numbers_are_their_own_names(root: Path) -> None:
    numbers = {kind: 10 * label + 1 for kind, label in NUMBERS.items()}
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        save_table(root / "id" / f"{split}.parquet", class_table(count, numbers, seed=seed))
    reading = read_as_a_study(root)
    assert reading.classes == reading.test.id.classes == ("1", "11", "21")
    assert np.bincount(reading.test.id.labels).tolist() == [4, 4, 4]


def _table(split: str, numbers: dict[str, int], **named: Any) -> Any:
    seed = len(split)
    return lambda folder: save_table(
        folder / f"{split}.parquet", class_table(4, numbers, seed=seed), **named
    )


def _class_folders(split: str, kinds: tuple[str, ...], empty: str = "") -> Any:
    def write(folder: Path) -> None:
        save_classes(folder / split, 4, kinds, seed=len(split))
        if empty:
            (folder / split / empty).mkdir()
            (folder / split / empty / "list.txt").write_text("moved")

    return write


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        (
            _class_folders("train", ("bridge", "cloud"), "apple"),
            _class_folders("test", ("apple", "bridge"), "cloud"),
            r"id/test: has no image of class 'cloud', which 'id_train' has.*\n.*class 'apple'",
        ),
        (
            _class_folders("train", KINDS),
            _class_folders("test", ("apple", "bridge")),
            "no image of class 'cloud'",
        ),
        (
            _table("train", NUMBERS, classes=KINDS),
            _table("test", {**NUMBERS, "drum": 3}, classes=(*KINDS, "drum")),
            "has images of class 'drum', which 'id_train' has not",
        ),
        (
            _table("train", NUMBERS, classes=KINDS),
            _table("test", NUMBERS),
            "has no image of 3 classes 'apple', 'bridge', 'cloud'",
        ),
        (
            _table("train", NUMBERS, classes=KINDS),
            _table("test", {"apple": 0, "bridge": 1, "cloud": -1}, classes=KINDS),
            "4 images have no label",
        ),
        (
            _table("train", NUMBERS),
            _table("test", {"apple": 0, "bridge": 1}),
            "has no image of class '2'",
        ),
        (
            _table("train", NUMBERS, classes=("apple", "bridge", "apple")),
            _table("test", NUMBERS, classes=KINDS),
            r"train\.parquet: metadata: names class 'apple' twice",
        ),
        (
            _table("train", {"apple": 0}, classes=KINDS),
            _table("test", {"apple": 0}, classes=KINDS),
            "images of each of two classes or more",
        ),
    ],
)
def test_other_classes_in_train_and_test_are_refused_with_their_names(
    root: Path, train: Any, test: Any, told: str
) -> None:
    train(root / "id")
    test(root / "id")
    with pytest.raises(BadInput, match=told):
        read_as_a_study(root)


def test_shards_that_name_other_classes_are_refused(root: Path) -> None:
    stem = root / "id" / "train-0000{}-of-00002.parquet"
    save_table(Path(str(stem).format(0)), class_table(4, NUMBERS), KINDS)
    save_table(Path(str(stem).format(1)), class_table(4, TURNED, seed=1), TURNED_NAMES)
    _table("test", NUMBERS, classes=KINDS)(root / "id")
    with pytest.raises(BadInput, match=r"00001-of-00002\.parquet: names other classes than"):
        read_as_a_study(root)


def test_missing_shard_is_refused_with_its_number(whole: Path) -> None:
    FORMS["shards"](whole / "outliers" / "things_train", 4, 0)
    (whole / "outliers" / "things_train-00000-of-00002.parquet").unlink()
    with pytest.raises(BadInput, match="of the 2 shards of this set, 00000 are missing"):
        read_as_a_study(whole)


# ---- links --------------------------------------------------------------------------------------


def test_linked_splits_and_classes_are_followed(root: Path) -> None:
    store = root.parent / "store"
    save_classes(store / "train", 6, seed=0)
    save_classes(store / "test", 4, seed=1)
    (root / "id" / "test").mkdir(parents=True)
    (root / "id" / "train").symlink_to(store / "train")
    for kind in KINDS:
        (root / "id" / "test" / kind).symlink_to(store / "test" / kind)
    _assert_right(read_as_a_study(root))


def test_links_to_pictures_shards_and_sets_are_followed(whole: Path) -> None:
    store = whole.parent / "store"
    (whole / "outliers").mkdir()
    for shard in (0, 1):
        table = class_table(2, {"drum": 0}, seed=shard)
        save_table(store / f"things-0000{shard}-of-00002.parquet", table)
        name = f"things_train-0000{shard}-of-00002.parquet"
        there = store / f"things-0000{shard}-of-00002.parquet"
        (whole / "outliers" / name).symlink_to(there)
    save_pictures(store / "easel", 3, seed=5)
    (whole / "outliers" / "easels_train").symlink_to(store / "easel")
    assert len(read_as_a_study(whole).outliers) == 4 + 3


@pytest.mark.parametrize(
    ("link", "target", "count", "told"),
    [
        ("drum/again", "..", 4, "1 links to what is there already"),
        ("drum/up", "../../..", 4, "1 links to what is there already"),
        ("easel", "drum", 4, "1 links to what is there already"),
        ("drum/copy.png", "00.png", 4, "1 links to what is there already"),
        ("drum/lost.png", "nowhere.png", 4, "1 links that lead nowhere"),
        ("lost", "nowhere", 4, "1 links that lead nowhere"),
        ("drum/self", "self", 4, "1 links that lead nowhere"),
    ],
)
def test_links_count_each_picture_once_and_are_told(
    whole: Path, link: str, target: str, count: int, told: str
) -> None:
    folder = whole / "outliers" / "things_train"
    save_pictures(folder / "drum", 4, seed=5)
    (folder / link).symlink_to(target)
    reading = read_as_a_study(whole)
    assert len(reading.outliers) == count
    assert f"'things_train': left out: {told}" in reading.told


def test_what_is_neither_file_nor_folder_is_told(whole: Path) -> None:
    folder = save_pictures(whole / "outliers" / "things_train", 4, seed=5)
    os.mkfifo(folder / "pipe.png")
    assert "left out: 1 neither file nor folder" in read_as_a_study(whole).told


def test_two_links_to_one_folder_count_it_once(whole: Path) -> None:
    store = save_pictures(whole.parent / "store" / "x", 4, seed=5).parent
    folder = whole / "outliers" / "things_train"
    folder.mkdir(parents=True)
    (folder / "a").symlink_to(store / "x")
    (folder / "b").symlink_to(store)
    assert len(read_as_a_study(whole).outliers) == 4


# ---- suffixes and what is left about ------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "form"),
    [
        (".jfif", "JPEG"), (".jpe", "JPEG"), (".JPG", "JPEG"), (".avif", "AVIF"),
        (".jp2", "JPEG2000"), (".tga", "TGA"), (".apng", "PNG"), (".TIFF", "TIFF"),
        (".Webp", "WEBP"), (".dib", "DIB"), (".jpg", "PNG"), (".pnm", "PPM"),
    ],
)  # fmt: skip
def test_picture_of_any_suffix_that_is_known_is_read(whole: Path, end: str, form: str) -> None:
    folder = save_pictures(whole / "outliers" / "things_train", 2, seed=5)
    picture(seed=99).save(folder / f"x{end}", form)
    assert len(read_as_a_study(whole).outliers) == 3


def test_files_that_are_left_out_are_counted_by_reason_and_kept(whole: Path) -> None:
    folder = save_pictures(whole / "outliers" / "things_train", 2, seed=5)
    for name in ("a.heic", "b.heic", "readme.txt", "bare", ".DS_Store", "Thumbs.db", "._00.png"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "empty").mkdir()
    reading = read_as_a_study(whole)
    assert len(reading.outliers) == 2
    assert reading.study.data.fingerprints()["outliers"]["left_out"] == {
        "no picture (.heic)": 2,
        "no picture (.txt)": 1,
        "no picture (without a suffix)": 1,
        "left by a system or a program": 3,
        "folder without a picture: empty": 1,
    }
    assert "2 no picture (.heic), 1 no picture (.txt)" in reading.told


def test_files_left_out_of_a_test_set_are_told_too(whole: Path) -> None:
    save_rest(whole, id_set=False)
    (whole / "ood_test" / "textures" / "a.heic").touch()
    assert "'textures': left out: 1 no picture (.heic)" in read_as_a_study(whole).told


def test_set_of_unknown_pictures_alone_is_refused_with_what_it_has(whole: Path) -> None:
    folder = whole / "outliers" / "modern_train"
    folder.mkdir(parents=True)
    (folder / "a.heic").touch()
    with pytest.raises(
        BadInput, match=r"modern_train: holds no picture .*1 no picture \(\.heic\)"
    ):
        read_as_a_study(whole)


@pytest.mark.parametrize(
    "place",
    [
        "id/train/.ipynb_checkpoints/x.png", "id/train/__MACOSX/apple/._00.png",
        "id/train/apple/~$x.png", "id/train/@eaDir/x.png", "id/.DS_Store",
        "outliers/._objects_train.parquet", "outliers/~$objects_train.parquet",
        "outliers/.ipynb_checkpoints/x.png", "outliers/__MACOSX/x.png", "ood_val/Thumbs.db",
        "ood_test/desktop.ini", "__MACOSX/id/x.png",
    ],
)  # fmt: skip
def test_what_systems_leave_about_is_passed_over(root: Path, place: str) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        _folders(root / "id" / split, count, seed)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_bytes(b"\0\5\x16\7")
    reading = read_as_a_study(root)
    _assert_right(reading)
    assert list(reading.study.data.ood_val.sets) == ["scenes"]
    assert len(reading.outliers) == 4


def test_empty_folder_among_the_classes_is_told_and_not_in_the_way(root: Path) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        _folders(root / "id" / split, count, seed)
    (root / "id" / "train" / "drum").mkdir()
    reading = read_as_a_study(root)
    _assert_right(reading)
    assert "folder without a picture: drum" in reading.told


# ---- names --------------------------------------------------------------------------------------


def _bytes_path(folder: Path, name: bytes) -> Path:
    return Path(os.fsdecode(bytes(folder) + b"/" + name))


def test_names_that_are_not_utf8_are_written_out(root: Path) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        save_pictures(_bytes_path(root / "id" / split, b"caf\xe9"), count, "apple", seed)
        save_pictures(root / "id" / split / "bridge", count, "bridge", seed)
    set_folder = _bytes_path(root / "outliers", b"pi\xf1ata_train")
    save_pictures(set_folder, 2, seed=7)
    _bytes_path(set_folder, b"\xff.png").write_bytes(encode(np.asarray(picture(seed=8))))
    reading = read_as_a_study(root)
    assert reading.classes == ("bridge", r"caf\xe9")
    assert len(reading.outliers) == 7
    assert reading.outliers.ids[-1] == rb"pi\xf1ata_train/\xff.png"


@pytest.mark.parametrize(
    "name",
    ["a.b_train", "objects_v1.0_train", "a [b] (c)_train", "Трава, 木_train", "a%20b_train"],
)
def test_names_of_sets_may_hold_anything(whole: Path, name: str) -> None:
    save_pictures(whole / "outliers" / name, 4, seed=5)
    reading = read_as_a_study(whole)
    assert [source.name for source in reading.study.plan.outliers] == [name]
    listed = read_as_a_study(whole, outliers=[name])
    assert len(listed.outliers) == 4


# ---- what is inside a picture -------------------------------------------------------------------


def _grey16() -> Image.Image:
    ramp = np.linspace(0, 60000, 32).astype(np.uint16)
    return Image.fromarray(np.tile(ramp, (32, 1)))


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_grey_pictures_are_refused_or_get_equal_channels_in_every_form(
    whole: Path, form: str, mode: str
) -> None:
    grey = _grey16() if mode == "I;16" else picture(seed=3).convert(mode)
    place = _set_of(whole, form, [grey, picture(seed=4)])
    with pytest.raises(BadInput, match=r"is grey-scale \(mode .*data\.grey: rgb"):
        read_as_a_study(whole, outliers=[place])
    pixels = read_as_a_study(whole, outliers=[place], grey="rgb").outliers.pixels[0]
    assert (pixels == pixels[..., :1]).all()
    if mode == "I;16":
        expected = np.rint(np.linspace(0, 60000, 32).astype(np.uint16) / 257)
        np.testing.assert_array_equal(pixels[0, :, 0], expected)


def _set_of(root: Path, form: str, images: list[Image.Image], **how: Any) -> str:
    """The images as a set of a form; its path."""
    folder = root / "outliers" / "odd_train"
    folder.mkdir(parents=True)
    for row, image in enumerate(images):
        image.save(folder / f"{row}.png", **how)
    if form == "folder":
        return str(folder)
    if form == "list":
        lines = [f"odd_train/{row}.png -1" for row in range(len(images))]
        (root / "outliers" / "odd.txt").write_text("\n".join(lines))
        return str(root / "outliers" / "odd.txt")
    rows = [(folder / f"{row}.png").read_bytes() for row in range(len(images))]
    path = root / "outliers" / "odd.parquet"
    save_table(path, pa.table({"image": pa.array(rows, pa.binary())}))
    return str(path)


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
def test_larger_pictures_are_brought_to_size_alike_in_every_form(whole: Path, form: str) -> None:
    large = [picture(seed=row, size=(64, 48)) for row in range(3)]
    reading = read_as_a_study(whole, outliers=[_set_of(whole, form, large)])
    expected = large[0].crop((8, 0, 56, 48)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(reading.outliers.pixels[0], np.asarray(expected))


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
def test_smaller_pictures_are_refused_or_enlarged_in_every_form(whole: Path, form: str) -> None:
    small = [picture(seed=row, size=(24, 28)) for row in range(3)]
    place = _set_of(whole, form, small)
    with pytest.raises(BadInput, match=r"is 24x28, smaller than 32x32.*data\.enlarge: true"):
        read_as_a_study(whole, outliers=[place])
    reading = read_as_a_study(whole, outliers=[place], enlarge=True)
    expected = small[0].crop((0, 2, 24, 26)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(reading.outliers.pixels[0], np.asarray(expected))


def test_arrays_are_brought_to_size_as_pictures_are(whole: Path) -> None:
    large = np.stack([np.asarray(picture(seed=row, size=(64, 48))) for row in range(3)])
    small = np.stack([np.asarray(picture(seed=row, size=(16, 16))) for row in range(3)])
    for name, pixels in (("large", large), ("small", small), ("grey", large[..., 0])):
        np.save(whole / f"{name}.npy", pixels)
    chosen = str(whole / "large.npy")
    expected = (
        picture(seed=0, size=(64, 48))
        .crop((8, 0, 56, 48))
        .resize((32, 32), Image.Resampling.BICUBIC)
    )
    reading = read_as_a_study(whole, outliers=[chosen])
    np.testing.assert_array_equal(reading.outliers.pixels[0], np.asarray(expected))
    with pytest.raises(BadInput, match=r"small\.npy: each is 16x16, smaller than 32x32"):
        read_as_a_study(whole, outliers=[str(whole / "small.npy")])
    with pytest.raises(BadInput, match=r"grey\.npy: .*is grey-scale"):
        read_as_a_study(whole, outliers=[str(whole / "grey.npy")])
    assert (
        len(read_as_a_study(whole, outliers=[str(whole / "grey.npy")], grey="rgb").outliers) == 3
    )


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
def test_transparency_is_refused_and_opaque_alpha_taken_off(whole: Path, form: str) -> None:
    opaque = picture(seed=1).convert("RGBA")
    clear = picture(seed=2).convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 100))
    place = _set_of(whole, form, [opaque, clear])
    with pytest.raises(BadInput, match=r"is transparent in parts \(mode RGBA\)") as caught:
        read_as_a_study(whole, outliers=[place])
    assert len(caught.value.faults) == 1


def test_palettes_cmyk_and_keys_of_colour_are_read_as_rgb(whole: Path) -> None:
    folder = whole / "outliers" / "odd_train"
    folder.mkdir(parents=True)
    plain = picture(seed=1)
    plain.quantize(64).save(folder / "palette.gif")
    plain.convert("CMYK").save(folder / "print.jpg", quality=95)
    plain.save(folder / "key.png", transparency=(1, 2, 3))
    reading = read_as_a_study(whole)
    assert reading.outliers.ids.tolist() == [b"key.png", b"palette.gif", b"print.jpg"]
    np.testing.assert_array_equal(reading.outliers.pixels[0], np.asarray(plain))


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
@pytest.mark.parametrize(("note", "turn"), [(6, 270), (3, 180), (8, 90), (1, 0), (77, 0)])
def test_pictures_are_turned_as_the_camera_says(
    whole: Path, form: str, note: int, turn: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = note
    place = _set_of(whole, form, [picture(seed=1), picture(seed=2)], exif=exif)
    pixels = read_as_a_study(whole, outliers=[place]).outliers.pixels[0]
    np.testing.assert_array_equal(pixels, np.asarray(picture(seed=1).rotate(turn)))


@pytest.mark.parametrize("form", ["folder", "parquet", "list"])
def test_very_large_picture_is_read_or_refused_by_name_and_no_warning_gets_out(
    whole: Path, form: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    large = _set_of(whole, form, [picture(seed=row, size=(50, 50)) for row in (1, 2)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert len(read_as_a_study(whole, outliers=[large]).outliers) == 2
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    monkeypatch.setenv("OOD_STUDY_CACHE", str(whole / "cache"))
    with pytest.raises(BadInput, match=r"(0\.png|row 0): has more than 2,400 pixels") as caught:
        read_as_a_study(whole, outliers=[large])
    assert len(caught.value.faults) == 2
    assert not recwarn


def test_very_large_arrays_are_read_or_refused_by_name_and_no_warning_gets_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 50, 60, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert len(read_source(Source("x", "npy", str(tmp_path / "x.npy")))) == 1
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200)
    with pytest.raises(BadInput, match=r"x\.npy: each has more than 2,400 pixels"):
        read_source(Source("x", "npy", str(tmp_path / "x.npy")))
    assert not recwarn


def test_size_of_an_id_set_of_very_large_pictures_is_looked_for_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    save_pictures(tmp_path / "apple", 2, size=(50, 50))
    for most, size in ((2000, 50), (1200, None)):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        assert own_size(Source("x", "folder", str(tmp_path))) == size
    assert not recwarn


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><title>404</title>", r"\(it is a page \(HTML\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid ab\n", r"\(it is a pointer of Git LFS"),
        (b"\0\0\0\x18ftypheic" + bytes(40), r"\(it is a picture in HEIC\)"),
        (b"\xde\xad\xbe\xef", r"\(corrupt, or another format\)"),
    ],
)
def test_picture_that_is_another_kind_of_file_is_told_as_that(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadInput, match=rf"a\.png: is not an image that can be read {told}"):
        read_source(Source("x", "folder", str(tmp_path)))


def test_file_of_another_format_than_its_suffix_says_is_told_with_what_it_holds(
    whole: Path,
) -> None:
    save_table(whole / "mine.csv", class_table(2, {"drum": 0}))
    with pytest.raises(BadInput, match=r"mine\.csv: is of no format.*; it holds a Parquet file\."):
        read_as_a_study(whole, outliers=[str(whole / "mine.csv")])


def test_picture_under_two_labels_is_told_within_training_and_in_the_test(root: Path) -> None:
    for split in ("train", "test"):
        save_classes(root / "id" / split, 6, seed=len(split))
        there = root / "id" / split / "apple" / "00.png"
        shutil.copy(there, root / "id" / split / "bridge" / "99.png")
    reading = read_as_a_study(save_rest(root, id_set=False), leaks="drop")
    for split in ("train", "test"):
        told = f"'id_{split}' has 1 picture under several labels (2 images): "
        assert f"{told}apple/00.png (apple) = bridge/99.png (bridge)" in reading.told
    assert any("under several labels" in note for note in reading.study.data.notes)


def test_several_frames_are_refused(whole: Path) -> None:
    folder = whole / "outliers" / "odd_train"
    folder.mkdir(parents=True)
    more = [picture(seed=row).quantize(16) for row in (2, 3)]
    picture(seed=1).quantize(16).save(folder / "moving.gif", save_all=True, append_images=more)
    with pytest.raises(BadInput, match=r"moving\.gif: holds 3 frames"):
        read_as_a_study(whole)


def test_all_faults_of_all_sets_are_told_at_once(whole: Path) -> None:
    _set_of(whole, "folder", [picture(seed=1).convert("L"), picture(seed=2, size=(9, 9))])
    (whole / "ood_val" / "scenes" / "00.png").write_bytes(b"torn")
    with pytest.raises(BadInput) as caught:
        read_as_a_study(whole)
    assert len(caught.value.faults) == 3


# ---- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folders", "int8", "array", "list"])
@pytest.mark.parametrize("size", [28, 64])
def test_size_is_that_of_the_id_set_where_the_space_says_none(
    tmp_path: Path, form: str, size: int
) -> None:
    root = tmp_path / "root"
    for seed, place in enumerate(("outliers/a_train", "ood_val/b", "ood_test/c"), start=5):
        save_pictures(root / place, 4, seed=seed, size=(80, 70))
    for seed, (split, count) in enumerate({"train": 4, "test": 3}.items()):
        _resized_form(form, root / "id" / split, count, seed, size)
    reading = read_as_a_study(root)
    assert reading.study.data.image_size == size
    assert reading.study.spec.data.image_size == size
    assert f"images of {size}x{size} pixels: that of the images of 'id_train'" in reading.told
    assert all(map(right_labels, reading.id_sets))


def _resized_form(form: str, at: Path, count: int, seed: int, size: int) -> None:
    if form == "folders":
        save_classes(at, count, seed=seed, size=(size, size))
    elif form == "int8":
        table = class_table(count, NUMBERS, pa.int8(), seed=seed, size=size)
        save_table(at.with_suffix(".parquet"), table, KINDS)
    elif form == "array":
        _array(at, count, seed)
        rows = [(kind, row) for kind in KINDS for row in range(count)]
        shown = [picture(kind, 1000 * seed + row, (size, size)) for kind, row in rows]
        np.save(at.with_suffix(".npy"), np.stack([np.asarray(one) for one in shown]))
    else:
        _list(at, count, seed)
        save_classes(at.parent / "pictures" / at.name, count, seed=seed, size=(size, size))


def test_id_set_of_several_sizes_is_brought_to_32_and_told(root: Path) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        save_classes(root / "id" / split, count, ("apple", "bridge"), seed=seed, size=(40, 40))
        save_classes(root / "id" / split, count, ("cloud",), seed=seed, size=(50, 44))
    reading = read_as_a_study(root)
    assert reading.study.data.image_size == 32
    assert "the images of 'id_train' are no squares of one size" in reading.told


def test_size_of_the_id_set_that_no_backbone_can_is_told_as_such(root: Path) -> None:
    for seed, split in enumerate(("train", "test")):
        save_classes(root / "id" / split, 4, seed=seed, size=(6, 6))
    with pytest.raises(BadInput, match=r"the ID set: data\.image_size: 6: must be at least 8"):
        read_as_a_study(root)


# ---- Parquet and lists --------------------------------------------------------------------------


def _with(**metadata: bytes) -> Any:
    return lambda table: table.replace_schema_metadata(metadata)


def _labelled(labels: list[Any], kind: pa.DataType | None = None) -> Any:
    return lambda table: table.set_column(1, "label", pa.array(labels * 12, kind))


def _images(rows: list[Any]) -> Any:
    return lambda table: table.set_column(0, "image", pa.array(rows))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_with(classes=b"caf\xe9\nb\nc"), "key classes is not UTF-8"),
        (_with(huggingface=b"{\xe9"), "key huggingface is not UTF-8"),
        (_with(huggingface=b"{no"), "key huggingface is not JSON"),
        (_labelled([0.5]), "column label holds a number that is no label"),
        (_labelled([True]), "must hold integers or class names, holds bool"),
        (_labelled([2**63], pa.uint64()), "holds a number that is no label"),
        (_labelled([-7]), "row 0: label -7 must be 0 or more"),
        (lambda table: table.drop_columns(["image"]), "needs a column img or image"),
        (lambda table: table.slice(0, 0), "holds no image"),
        (lambda table: _images([])(table.slice(0, 0)), "holds no image"),
        (_images([{"path": "a"}] * 12), "has image of struct<path: string>, label"),
    ],
)
def test_parquet_at_fault_is_told_with_the_file_and_the_rule(
    whole: Path, change: Any, told: str
) -> None:
    (whole / "outliers").mkdir()
    table = change(class_table(4, NUMBERS))
    pq.write_table(table, whole / "outliers" / "odd_train.parquet")
    with pytest.raises(BadInput, match=rf"odd_train\.parquet: .*{told}"):
        read_as_a_study(whole)


def test_path_in_parquet_that_is_not_utf8_is_told_with_its_row(whole: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.binary())])
    rows = [{"bytes": encode(np.asarray(picture(seed=n))), "path": b"\xe9.png"} for n in (1, 2)]
    images = pa.array(rows, kind)
    paths = images.field("path").view(pa.string())
    struct = pa.StructArray.from_arrays([images.field("bytes"), paths], ["bytes", "path"])
    (whole / "outliers").mkdir()
    pq.write_table(pa.table({"img": struct}), whole / "outliers" / "odd_train.parquet")
    with pytest.raises(
        BadInput, match=r"odd_train\.parquet: row 0: holds a text that is not UTF-8"
    ):
        read_as_a_study(whole)


@pytest.mark.parametrize(
    ("content", "count", "told"),
    [
        (b"s/00.png -1\r\ns/01.png -1\r\n\r\n", 2, ""),
        (b"\xef\xbb\xbfs/00.png -1\ns/01.png -1", 2, ""),
        (b"s/00.png\t-1\n./s/01.png   -1\n", 2, ""),
        (b"s\\00.png -1\ns\\01.png -1\n", 2, ""),
        (b"s/00.png -1\ns/01.png -1\ns/00.png -1\n", 2, "1 listed twice"),
        (b"s/00.png -1\ns/../s//00.png -1\ns/01.png -1\n", 2, "1 listed twice"),
        (b"s/" + b"a" * 300 + b" -1\ns/00.png -1\n", 0, "there is no "),
        (b"s/00.png 0\ns/00.png 1\n", 0, r"line 2: s/00\.png has label 1 here and 0 on line 1"),
        (b"s/00.png\ns/01.png -1\n", 0, "line 1: 's/00.png': a line of an image list is"),
        (b"/s/00.png -1\n", 0, "line 1: '/s/00.png -1'"),
        (b"s/00.png one\ns/01.png x\n", 0, "line 2: 's/01.png x'"),
        (b"s/00.png 0\ns/01.png -2\n", 0, "line 2: 's/01.png -2'"),
        (b"s/00.png 99999999999999999999\n", 0, "line 1: 's/00.png 9999"),
        (b"s/\xe9.png -1\n", 0, "cannot be read as an image list"),
        ("s/00.png -1\n".encode("utf-16"), 0, "cannot be read as an image list.*UTF-16"),
        (b"<!doctype html>\n<p>404", 0, r"cannot be read as an image list \(it is a page"),
        (b"PAR1" + bytes(9), 0, r"cannot be read as an image list \(it is a Parquet file"),
        (b"\n \n", 0, "lists no picture"),
        (b"s/09.png -1\ns/00.png -1\n", 0, r"there is no .*s/09\.png"),
    ],
)  # fmt: skip
def test_image_list_is_read_or_told_with_its_line(
    whole: Path, content: bytes, count: int, told: str
) -> None:
    save_pictures(whole / "lists" / "s", 2, seed=5)
    (whole / "lists" / "mine.txt").write_bytes(content)
    chosen = [str(whole / "lists" / "mine.txt")]
    if not count:
        with pytest.raises(BadInput, match=rf"mine\.txt: .*{told}"):
            read_as_a_study(whole, outliers=chosen)
        return
    reading = read_as_a_study(whole, outliers=chosen)
    assert len(reading.outliers) == count
    assert told in reading.told


def test_image_list_with_some_labels_takes_those_and_no_folder_for_them(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        save_pictures(tmp_path / folder, 2)
    rows = {"first/00": 0, "first/01": 1, "second/00": -1, "second/01": 1}
    path = tmp_path / "mine.txt"
    path.write_text("".join(f"{row}.png {label}\n" for row, label in rows.items()))
    images = read_source(Source("mine", "imglist", str(path)))
    assert (images.labels.tolist(), images.classes) == ([0, 1, -1, 1], ())


@pytest.mark.parametrize(
    ("labels", "classes", "told"),
    [
        (np.zeros(3, int), "a\n", r"x_labels\.npy: must hold a whole number for each of 4"),
        (np.zeros(4), "a\n", r"x_labels\.npy: must hold a whole number"),
        (np.array([0, 1, 2, 0]), "a\nb\n", r"x_classes\.txt: names 2 classes for labels 0 \.\. 2"),
        (np.array([0, 1, 0, 1]), "a\na\n", "names class 'a' twice"),
        (
            np.array([0, 1, 0, 1]),
            "version https://git-lfs.github.com/spec/v1\noid ab\nsize 1\n",
            r"x_classes\.txt: cannot be read as text \(it is a pointer of Git LFS",
        ),
    ],
)
def test_labels_beside_an_array_that_do_not_fit_are_told(
    whole: Path, labels: Any, classes: str, told: str
) -> None:
    np.save(whole / "x.npy", np.stack([np.asarray(picture(seed=row)) for row in range(4)]))
    np.save(whole / "x_labels.npy", labels)
    (whole / "x_classes.txt").write_text(classes)
    with pytest.raises(BadInput, match=told):
        read_as_a_study(whole, outliers=[str(whole / "x.npy")])


def test_empty_array_with_names_of_classes_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((0, 32, 32, 3), np.uint8))
    np.save(tmp_path / "x_labels.npy", np.zeros(0, int))
    (tmp_path / "x_classes.txt").write_text("a\nb\n")
    with pytest.raises(BadInput, match="holds no image"):
        read_source(Source("x", "npy", str(tmp_path / "x.npy")))


def test_labels_beside_an_array_are_no_set_of_their_own(whole: Path) -> None:
    _array(whole / "outliers" / "things_train", 2, 5)
    (whole / "outliers" / "classes.txt").unlink()
    reading = read_as_a_study(whole)
    assert [source.name for source in reading.study.plan.outliers] == ["things_train"]
    assert "has no role" not in reading.told


def test_public_set_is_known_in_a_role_and_read_by_its_own_lists(whole: Path) -> None:
    save_rest(whole, id_set=False)
    places = whole / "ood_test" / "places365"
    save_pictures(places / "val_256", 2, end=".jpg", size=(64, 48))
    picture(seed=9, size=(64, 48)).convert("L").save(places / "val_256" / "02.jpg")
    (places / "places365_val.txt").write_text("00.jpg 7\n01.jpg 3\n02.jpg 3\n")
    (places / "categories_places365.txt").write_text("/a/alcove 7\n/a/airfield 3\n")
    images = read_as_a_study(whole).test.ood["places365"]
    assert [images.classes[label] for label in images.labels] == ["alcove", "airfield", "airfield"]


# ---- the machine --------------------------------------------------------------------------------


def test_user_without_a_home_is_told_what_to_set(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OOD_STUDY_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    save_rest(whole, id_set=False)
    with pytest.raises(BadInput, match="OOD_STUDY_CACHE: there is no home folder"):
        read_as_a_study(whole)


def test_unreadable_folder_is_told(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_pictures(whole / "outliers" / "things_train" / "drum", 2, seed=5)

    def refuse(path: str) -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(BadInput, match="drum: cannot be looked into: Permission denied"):
        read_as_a_study(whole)


# ---- near-OOD by held-out classes ---------------------------------------------------------------

FOUR = ("apple", "bridge", "cloud", "drum")


@pytest.fixture
def four(root: Path) -> Path:
    """A data root with four ID classes."""
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        save_classes(root / "id" / split, count, FOUR, seed=seed)
    return root


def test_held_out_classes_leave_id_and_are_sets_of_their_roles(four: Path) -> None:
    reading = read_as_a_study(four, hold_out={"near_val": ["bridge"], "near_test": ["drum"]})
    assert reading.classes == ("apple", "cloud")
    assert [len(images) for images in reading.id_sets] == [10, 2, 8]
    assert all(map(right_labels, reading.id_sets))
    assert list(reading.study.data.ood_val.sets) == ["scenes", "near_val"]
    assert list(reading.test.ood) == ["textures", "near_test"]
    near_val = reading.study.data.ood_val.sets["near_val"]
    assert [(len(one), one.classes) for one in (near_val, reading.test.ood["near_test"])] == [
        (6, ("bridge",)), (4, ("drum",)),
    ]  # fmt: skip
    assert not hasattr(reading.study.plan.ood_test["near_test"], "read")
    assert "Held-out classes of the ID set are near-OOD" in reading.told


def test_held_out_classes_alone_are_the_validation(four: Path) -> None:
    (four / "ood_val" / "scenes").rename(four / "other")
    reading = read_as_a_study(four, hold_out={"near_val": ["drum"]})
    assert list(reading.study.data.ood_val.sets) == ["near_val"]


@pytest.mark.parametrize("form", ["int8", "array", "list"])
def test_classes_are_held_out_of_every_form(root: Path, form: str) -> None:
    for seed, (split, count) in enumerate({"train": 6, "test": 4}.items()):
        FORMS[form](root / "id" / split, count, seed)
    reading = read_as_a_study(root, hold_out={"near_test": ["bridge"]})
    assert reading.classes == ("apple", "cloud")
    assert all(map(right_labels, [*reading.id_sets, reading.test.ood["near_test"]]))


@pytest.mark.parametrize(
    ("hold_out", "told"),
    [
        ({"near_val": ["brigde"]}, r"data\.hold_out: 'brigde': no class of .*'bridge'"),
        (
            {"near_val": ["x"], "near_test": ["y"]},
            r"'x': no class.*There are: 'apple'(.|\n)*'y': ",
        ),
        ({"near_val": ["apple", "bridge", "cloud"]}, "images of each of two classes or more"),
        ({"near_val": ["apple"], "near_test": ["apple"]}, "class 'apple' is named twice"),
        ({"near": ["apple"]}, "holds classes of the ID set out as near_val, near_test or both"),
        ({"near_val": "apple"}, "near_val is a list of classes by name"),
        ({"near_val": []}, "near_val is a list of classes by name"),
        ({}, "holds classes of the ID set out"),
    ],
)
def test_classes_that_cannot_be_held_out_are_told(four: Path, hold_out: Any, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read_as_a_study(four, hold_out=hold_out)


def test_held_out_classes_survive_the_spec_and_the_manifest(four: Path) -> None:
    reading = read_as_a_study(four, hold_out={"near_val": ["bridge"], "near_test": ["drum"]})
    path = four / "spec.yaml"
    path.write_text(reading.study.spec.dump())
    assert load_resolved(path).data == reading.study.spec.data
    plan = DataPlan.from_json(reading.study.plan.to_json())
    assert list(open_test(plan).ood) == ["textures", "near_test"]
    assert open_test(plan).fingerprints() == reading.test.fingerprints()


@pytest.mark.parametrize("twin", ["Apple", "apple ", "ap ple\n"])
def test_classes_that_differ_in_case_or_spaces_alone_are_told(twin: str) -> None:
    pixels = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    images = ImageSet.make("mine", pixels, labels=[0, 1, 2], classes=("apple", twin, "pear"))
    _, (told,) = with_classes(images)
    wanted = f"'mine' has classes whose names differ in case or spaces alone: 'apple', '{twin}'."
    assert told == wanted
