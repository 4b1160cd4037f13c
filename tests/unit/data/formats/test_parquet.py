from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.data import decode
from study.data.formats.parquet import picture_cut, read, row_ids
from study.data.sources import Source
from study.errors import BadInput
from tests.fake_data import encode, noise, write_parquet, write_set


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


def _read(path: Path):
    return read(Source("toy", "parquet", str(path)))


@pytest.mark.parametrize("column", ["img", "image"])
def test_read_returns_pixels_labels_names_and_classes(tmp_path, column):
    pixels = noise(2)
    path = write_parquet(
        tmp_path / "a.parquet", [encode(p) for p in pixels], ["c/1.png", "d/2.png"], [1, 0],
        ("cat", "dog"), column,
    )  # fmt: skip
    images = _read(path)
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.labels.tolist() == [1, 0]
    assert images.classes == ("cat", "dog")
    assert images.ids.tolist() == images.groups.tolist() == [b"c/1.png", b"d/2.png"]
    assert images.codec == "lossless"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("n03764736_milk_can/5", "n03764736_milk_can"),
        ("a/b/12", "a/b"),
        ("train/cat/0631.jpg", None),
        ("banded/banded_0002.jpg", None),
        ("0631", None),
        ("", None),
    ],
)
def test_source_of_a_bare_number_is_what_stands_before_it(path, source):
    assert picture_cut(path) == source


def test_group_column_wins_over_the_path(tmp_path):
    rows = [encode(p) for p in noise(3)]
    path = write_parquet(
        tmp_path / "a.parquet", rows, ["s/1", "s/2", "t/1"], [-1] * 3, group=["x", "y", None]
    )
    assert _read(path).groups.tolist() == [b"x", b"y", b"t/1"]


def test_row_ids_of_missing_or_repeated_paths_get_the_row_number():
    assert row_ids(["a", "b"]) == ["a", "b"]
    assert row_ids(["a", "a", ""]) == ["000000:a", "000001:a", "000002"]


def test_hugging_face_class_names_are_read(tmp_path):
    path = write_set(tmp_path / "a.parquet", 2, 0)
    text = '{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    table = pq.read_table(path).replace_schema_metadata({"huggingface": text})
    pq.write_table(table, path)
    assert _read(path).classes == ("cat", "dog")


def test_broken_rows_are_all_named(tmp_path):
    good = encode(noise(1)[0])
    rows = [
        good,
        None,
        b"",
        good[: len(good) // 2],
        b"not an image",
        encode(noise(1, size=16)[0]),
        encode(noise(1)[0, ..., 0]),
        encode(noise(1)[0], "JPEG")[:-300],
    ]
    path = write_parquet(tmp_path / "a.parquet", rows, [None] * 7 + ["x.jpg"], [0] * 8)
    with pytest.raises(BadInput) as caught:
        _read(path)
    told = {fault.key: fault.rule for fault in caught.value.faults}
    assert all(fault.place == str(path) for fault in caught.value.faults)
    assert list(told) == [f"row {row}" for row in range(1, 7)] + ["row 7 (x.jpg)"]
    assert told["row 1"] == told["row 2"] == "has no image bytes"
    assert "cannot be decoded" in told["row 3"]
    assert "is not an image" in told["row 4"]
    assert told["row 5"] == "is 16x16, smaller than 32x32"
    assert told["row 6"] == "is grey-scale (mode L), not RGB"
    assert "truncated" in told["row 7 (x.jpg)"]


def test_many_broken_rows_are_counted(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [None] * 25, [None] * 25, [0] * 25)
    with pytest.raises(BadInput, match="15 further images cannot be used either"):
        _read(path)


def test_files_that_are_no_parquet_are_named(tmp_path):
    whole = write_set(tmp_path / "whole.parquet", 4, 0).read_bytes()
    for name, content, told in [
        ("empty.parquet", b"", "empty file"),
        ("torn.parquet", whole[: len(whole) // 2], "not a whole Parquet file"),
        ("text.parquet", b"hello" * 10, r"not a whole Parquet file \(it is text\)"),
        ("picture.parquet", encode(noise(1)[0]), r"\(it is a PNG picture\)"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=told) as caught:
            _read(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        _read(tmp_path / "absent.parquet")


def test_columns_and_labels_that_do_not_fit_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"picture": [b"x"]}), path)
    with pytest.raises(BadInput, match=r"needs a column img or image .*picture"):
        _read(path)
    write_parquet(path, [], [], [])
    with pytest.raises(BadInput, match="holds no image"):
        _read(path)
    write_parquet(path, [encode(p) for p in noise(2)], ["a", "b"], [0, 7], ("cat",))
    with pytest.raises(BadInput, match="row 1: label 7 has no name among the file's 1 classes"):
        _read(path)


def _labelled(path, labels):
    images = pa.array([{"bytes": encode(one), "path": "a"} for one in noise(len(labels))])
    pq.write_table(pa.table({"image": images, "label": labels}), path)
    return path


def test_whole_numbers_with_gaps_as_pandas_writes_them_are_labels(tmp_path):
    path = _labelled(tmp_path / "a.parquet", pa.array([1.0, None, float("nan"), 0.0]))
    assert _read(path).labels.tolist() == [1, -1, -1, 0]


def test_column_of_nulls_alone_is_no_label(tmp_path):
    path = _labelled(tmp_path / "a.parquet", pa.nulls(3))
    assert _read(path).labels.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("column", ["class", "Label", "target"])
def test_column_that_may_be_meant_as_the_label_is_told(tmp_path, column):
    table = pq.read_table(_labelled(tmp_path / "a.parquet", pa.array([0, 1])))
    pq.write_table(table.rename_columns(["image", column]), tmp_path / "a.parquet")
    images = _read(tmp_path / "a.parquet")
    assert images.left_out == ((f"column not named as a label is ({column})", 1),)


def test_class_names_in_metadata_may_begin_with_a_mark(tmp_path):
    rows = [encode(one) for one in noise(2)]
    path = write_parquet(tmp_path / "a.parquet", rows, ["a", "b"], [0, 1], ("\ufeffcat", "dog"))
    assert _read(path).classes == ("cat", "dog")


def test_fraction_is_no_label(tmp_path):
    path = _labelled(tmp_path / "a.parquet", pa.array([1.0, 0.5]))
    with pytest.raises(BadInput, match="column label holds a number that is no label"):
        _read(path)


def test_two_columns_of_images_are_refused(tmp_path):
    images = pa.array([{"bytes": encode(one), "path": "a"} for one in noise(2)])
    pq.write_table(pa.table({"image": images, "img": images}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match="has images in columns img and image"):
        _read(tmp_path / "a.parquet")


def _with_column(file, column, values, **image):
    images = [{"bytes": encode(one), "path": "a.png"} | image for one in noise(len(values))]
    table = pa.table({"image": images}).append_column(column, values)
    pq.write_table(table, file)
    return file


def test_two_columns_of_one_name_are_refused_by_it(tmp_path):
    path = _labelled(tmp_path / "a.parquet", pa.array([0, 1]))
    pq.write_table(pq.read_table(path).append_column("label", pa.array([1, 0])), path)
    with pytest.raises(BadInput, match="has two columns label"):
        _read(path)


@pytest.mark.parametrize("values", [[["a"], ["b"]], [{"a": 1}, None], [b"\xff", b"b"]])
def test_groups_that_are_no_texts_are_told(tmp_path, values):
    path = _with_column(tmp_path / "a.parquet", "group", pa.array(values))
    with pytest.raises(BadInput, match="column group must hold texts, holds"):
        _read(path)


def test_gaps_among_groups_that_pandas_wrote_as_numbers_are_no_group(tmp_path):
    values = pa.array([1.0, float("nan"), float("nan"), 1.0])
    path = _with_column(tmp_path / "a.parquet", "group", values)
    first, second, third, fourth = _read(path).groups.tolist()
    assert (first, fourth) == (b"1", b"1")
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("told", [b"a/1.png", 7])
def test_paths_may_be_of_any_type_that_has_a_text(tmp_path, told):
    path = _with_column(tmp_path / "a.parquet", "label", pa.array([0, 1]), path=told)
    assert _read(path).ids.tolist()[1].endswith(b"a/1.png" if told != 7 else b":7")


def test_paths_that_are_no_texts_are_told(tmp_path):
    path = _with_column(tmp_path / "a.parquet", "label", pa.array([0, 1]), path=["a"])
    with pytest.raises(BadInput, match="column path must hold texts, holds list"):
        _read(path)


def test_views_of_texts_and_images_are_read_as_these(tmp_path):
    images = pa.array([encode(one) for one in noise(2)]).cast(pa.binary_view())
    labels = pa.array(["dog", "cat"]).cast(pa.string_view())
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "a.parquet")
    read_again = _read(tmp_path / "a.parquet")
    assert (read_again.labels.tolist(), read_again.classes) == ([1, 0], ("cat", "dog"))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ('{"1": "cat", "2": "dog"}', ()),  # which label would be whose?
        ('{"0": "cat", "²": "dog"}', ()),
    ],
)
def test_names_by_number_are_taken_where_they_count_from_0(tmp_path, names, classes):
    path = write_set(tmp_path / "a.parquet", 2, 0)
    text = f'{{"info": {{"features": {{"label": {{"names": {names}}}}}}}}}'
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": text}), path)
    assert _read(path).classes == classes


def test_second_read_takes_the_cache_and_a_torn_entry_is_made_anew(tmp_path, monkeypatch):
    path = write_set(tmp_path / "a.parquet", 4, 0)
    first = _read(path)
    entry = next((tmp_path / "cache" / "decoded").glob("*.npy"))
    monkeypatch.setattr(decode, "decode_images", None)  # a call would fail
    assert _read(path).fingerprint == first.fingerprint
    monkeypatch.undo()
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    entry.write_bytes(entry.read_bytes()[:500])
    assert _read(path).fingerprint == first.fingerprint


def test_flipped_bit_in_the_cache_changes_no_pixel_and_is_told(tmp_path, caplog):
    path = write_set(tmp_path / "a.parquet", 4, 0)
    first = _read(path)
    entry = next((tmp_path / "cache" / "decoded").glob("*.npy"))
    content = bytearray(entry.read_bytes())
    content[300] ^= 1
    entry.write_bytes(content)
    assert _read(path).fingerprint == first.fingerprint
    assert f"{entry}: its checksum is not that of its content" in caplog.text
    caplog.clear()
    assert _read(path).fingerprint == first.fingerprint
    assert not caplog.records


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "file"))
    assert len(_read(write_set(tmp_path / "a.parquet", 4, 0))) == 4


def test_shared_sets_have_the_source_groups_of_their_readme(shared_data):
    for name, num_images, num_groups in [
        ("cifar10/test", 10_000, 10_000),
        ("outliers/objects_val", 1944, 81),
        ("ood_test/objects", 1944, 81),
        ("ood_test/scenes", 1200, 50),
        ("ood_test/textures", 840, 840),
    ]:
        images = _read(shared_data / f"{name}.parquet")
        assert (len(images), images.num_groups) == (num_images, num_groups)
        assert images.codec == "jpeg"


@pytest.mark.slow
def test_decoding_cifar10_is_quick(shared_data):
    path = shared_data / "cifar10" / "train.parquet"
    started = time.perf_counter()
    _read(path)
    assert time.perf_counter() - started < 15
    started = time.perf_counter()
    _read(path)
    assert time.perf_counter() - started < 1.5
