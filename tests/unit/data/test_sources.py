from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from study.data.file_formats import read_source
from study.data.id_choice import cifar10_url
from study.data.pictures import SOURCES_MARKER
from study.data.sources import Source
from study.errors import BadInput
from tests.fake_data import encode, noise, write_set


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


def _picture(path, size=(32, 32), mode="RGB", value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode == "L" else (value, 2 * value % 256, 3 * value % 256)
    Image.new(mode, size, colour).save(path)
    return path


def _read(reader, location, split="", **more):
    return read_source(Source("toy", reader, str(location), split, **more))


def test_source_survives_json_and_foreign_json_is_refused():
    source = Source("a", "parquet", "x/a.parquet", image_size=64)
    assert Source.from_json(source.to_json()) == source
    with pytest.raises(BadInput, match="needs name, reader, location"):
        Source.from_json({"name": "a", "reader": "b", "location": "c", "extra": 1})


def test_shares_images_compares_files_not_names(tmp_path):
    one = Source("a", "npy", str(tmp_path / "x.npy"))
    assert one.shares_images(Source("b", "npy", str(tmp_path / "sub" / ".." / "x.npy")))
    assert not one.shares_images(Source("a", "npy", str(tmp_path / "y.npy")))


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"only": ("a",)}, {"without": ("a",)}, False),
        ({"only": ("a", "b")}, {"without": ("a",)}, True),
        ({"only": ("a",)}, {"only": ("b",)}, False),
        ({"only": ("a",)}, {}, True),
        ({"without": ("a",)}, {}, True),
    ],
)
def test_shares_images_of_one_place_goes_by_the_chosen_classes(one, other, shared):
    first, second = Source("x", "npy", "x.npy", **one), Source("y", "npy", "x.npy", **other)
    assert first.shares_images(second) is second.shares_images(first) is shared


def test_unknown_reader_and_smaller_images_are_bad_input(tmp_path):
    with pytest.raises(BadInput, match="no reader 'tape'"):
        _read("tape", "x")
    np.save(tmp_path / "x.npy", noise(2, size=16))
    with pytest.raises(BadInput, match=r"each is 16x16, smaller than 32x32.*data\.enlarge: true"):
        _read("npy", tmp_path / "x.npy")


def test_folder_numbers_classes_by_name_and_centre_crops_to_size(tmp_path):
    _picture(tmp_path / "dog" / "1.png", value=10)
    _picture(tmp_path / "cat" / "deep" / "2.png", size=(64, 48), value=20)
    (tmp_path / "notes.txt").write_text("no picture")
    images = _read("folder", tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.ids.tolist() == [b"cat/deep/2.png", b"dog/1.png"]
    assert images.labels.tolist() == [0, 1]
    assert images.groups.tolist() == images.ids.tolist()
    assert images.pixels[0, 0, 0].tolist() == [20, 40, 60]


def test_folder_marked_as_sources_groups_by_sub_folder(tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        _picture(tmp_path / f"{name}.png")
    (tmp_path / SOURCES_MARKER).touch()
    images = _read("folder", tmp_path)
    assert images.groups.tolist() == [b"a", b"a", b"b"]
    assert images.labels.tolist() == [-1, -1, -1]
    assert images.classes == ()


def test_folder_resize_is_bicubic_on_the_centred_square(tmp_path):
    wide = noise(1, size=96)[0]
    Image.fromarray(wide[:64]).save(tmp_path / "wide.png")
    expected = Image.fromarray(wide[:64, 16:80]).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(_read("folder", tmp_path).pixels[0], np.asarray(expected))


def test_folder_names_every_file_at_fault(tmp_path):
    _picture(tmp_path / "fine.png")
    _picture(tmp_path / "grey.png", mode="L")
    _picture(tmp_path / "small.png", size=(20, 40))
    (tmp_path / "empty.png").touch()
    (tmp_path / "torn.jpg").write_bytes(encode(noise(1, size=64)[0], "JPEG")[:900])
    with pytest.raises(BadInput) as caught:
        _read("folder", tmp_path)
    told = {fault.key: fault.rule for fault in caught.value.faults}
    assert told["grey.png"] == "is grey-scale (mode L), not RGB"
    assert told["small.png"] == "is 20x40, smaller than 32x32"
    assert told["empty.png"] == "has no image bytes"
    assert "truncated" in told["torn.jpg"]
    assert "fine.png" not in told


def test_folder_that_is_absent_or_empty_is_named(tmp_path):
    with pytest.raises(BadInput, match="is not a folder"):
        _read("folder", tmp_path / "absent")
    with pytest.raises(BadInput, match="holds no picture"):
        _read("folder", tmp_path)


def test_npy_is_mapped_and_faults_name_the_file(tmp_path):
    path = tmp_path / "300K.npy"
    np.save(path, noise(3))
    images = _read("npy", path)
    assert not images.pixels.flags.writeable
    assert type(images.pixels) is np.ndarray
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(BadInput, match=r"300K\.npy: is not a whole \.npy array"):
        _read("npy", path)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="empty file"):
        _read("npy", path)
    np.save(path, noise(3)[..., :1])
    with pytest.raises(BadInput, match=r"is grey-scale: uint8 \(3, 32, 32, 1\).*data\.grey: rgb"):
        _read("npy", path)
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(BadInput, match="not a whole"):
        _read("npy", path)


def test_array_of_one_picture_is_no_set_of_grey_ones(tmp_path):
    np.save(tmp_path / "a.npy", noise(1)[0])
    for grey in (False, True):
        with pytest.raises(BadInput, match=r"is uint8 \(32, 32, 3\)\. It may be one picture"):
            _read("npy", tmp_path / "a.npy", grey=grey, enlarge=True)


def _npz():
    np.savez(stream := io.BytesIO(), images=noise(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (_npz(), "a zip archive of NumPy arrays"),
        (pickle.dumps([1, 2]), "a pickle of Python's"),
        (b"<html>not found", "a page"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
    ],
)
def test_array_that_is_another_kind_of_file_is_told_as_that(tmp_path, content, told):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BadInput, match=rf"a\.npy: is {told}.*, and not a NumPy array"):
        _read("npy", tmp_path / "a.npy")


def _batches(root, monkeypatch):
    """torchvision's CIFAR-10 folder with two images a batch, and checksums to match."""
    from torchvision.datasets import CIFAR10

    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, 6)]

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    rows = [
        write(name, {"data": noise(2, seed).reshape(2, -1), "labels": [0, 1]})
        for seed, name in enumerate([*names, "test_batch"])
    ]
    meta = write("batches.meta", {"label_names": [f"class{label}" for label in range(10)]})
    monkeypatch.setattr(CIFAR10, "train_list", rows[:5])
    monkeypatch.setattr(CIFAR10, "test_list", rows[5:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta[1]})
    return folder


def test_cifar10_folder_is_read_and_damage_is_named(tmp_path, monkeypatch):
    folder = _batches(tmp_path, monkeypatch)
    train, test = (_read("cifar10", tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (10, 2)
    assert train.classes[1] == "class1"
    planes = noise(2, 0).reshape(2, 3, 32, 32)
    np.testing.assert_array_equal(train.pixels[:2], planes.transpose(0, 2, 3, 1))
    (folder / "data_batch_2").unlink()
    (folder / "data_batch_3").write_bytes(b"damaged")
    (folder / "test_batch").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        _read("cifar10", tmp_path, "train")
    told = str(caught.value)
    assert "data_batch_2: is missing" in told
    assert "data_batch_3: is damaged or truncated" in told
    assert "test_batch: is an empty file" in told


def test_published_file_that_was_not_fetched_is_told_as_what_stands_there(tmp_path, monkeypatch):
    folder = _batches(tmp_path, monkeypatch)
    (folder / "test_batch").write_text("version https://git-lfs.github.com/spec/v1\noid ab\n")
    with pytest.raises(BadInput, match=r"test_batch: is a pointer of Git LFS"):
        _read("cifar10", tmp_path, "train")


def test_cifar10_is_downloaded_unpacked_and_read(tmp_path, monkeypatch):
    """From an archive in the public layout, served by a server of this machine."""
    from torchvision.datasets import CIFAR10

    folder = _batches(tmp_path / "served", monkeypatch)
    archive = tmp_path / "served" / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    handler = partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(CIFAR10, "url", url)
        images = _read("cifar10", tmp_path / "new", "train", download=True)
        server.shutdown()
    assert len(images) == 10
    assert (tmp_path / "new" / CIFAR10.base_folder / "test_batch").exists()


def test_failed_download_says_why_and_what_to_do(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    def fail(self):
        raise OSError("no network")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(BadInput, match=r"could not be downloaded.*no network.*--data demo"):
        _read("cifar10", tmp_path / "new", "train", download=True)


def test_svhn_is_read_channels_last(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    pixels = noise(3)
    path = tmp_path / "test_32x32.mat"
    savemat(path, {"X": pixels.transpose(1, 2, 3, 0), "y": np.array([[10], [3], [1]])})
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(SVHN, "split_list", {"test": ["", path.name, md5]})
    images = _read("svhn", tmp_path, "test")
    np.testing.assert_array_equal(images.pixels, pixels)
    assert images.labels.tolist() == [0, 3, 1]


def test_dtd_follows_its_lists(tmp_path):
    for name in ("banded/b1.jpg", "dotted/d1.jpg", "dotted/d2.jpg"):
        _picture(tmp_path / "images" / name, size=(64, 64))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "test1.txt").write_text("dotted/d2.jpg\nbanded/b1.jpg\n")
    images = _read("dtd", tmp_path, "test")
    assert images.ids.tolist() == [b"dotted/d2.jpg", b"banded/b1.jpg"]
    assert images.labels.tolist() == [1, 0]
    with pytest.raises(BadInput, match=r"train1\.txt: cannot be read"):
        _read("dtd", tmp_path, "train")
    (tmp_path / "labels" / "val1.txt").write_text("banded/absent.jpg\n")
    with pytest.raises(BadInput, match=r"banded/absent\.jpg: cannot be read: No such file"):
        _read("dtd", tmp_path, "val")


def test_places365_takes_grey_pictures_and_its_labels(tmp_path):
    _picture(tmp_path / "val_256" / "p1.jpg", size=(64, 64))
    _picture(tmp_path / "val_256" / "p2.jpg", size=(64, 64), mode="L")
    (tmp_path / "places365_val.txt").write_text("p1.jpg 1\np2.jpg 0\n")
    (tmp_path / "categories_places365.txt").write_text("/b/bar 1\n/a/airfield 0\n")
    images = _read("places365", tmp_path)
    assert images.classes == ("airfield", "bar")
    assert images.labels.tolist() == [1, 0]
    (tmp_path / "places365_val.txt").write_text("p1.jpg one\n")
    with pytest.raises(BadInput, match=r"line 1: 'p1\.jpg one': must be 'NAME NUMBER'"):
        _read("places365", tmp_path)


def test_lsun_and_isun_are_folders_and_lmdb_is_refused(tmp_path):
    _picture(tmp_path / "iSUN" / "1.jpeg", size=(36, 36))
    assert len(_read("isun", tmp_path / "iSUN")) == len(_read("lsun", tmp_path / "iSUN")) == 1
    (tmp_path / "LSUN" / "church_val_lmdb").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"church_val_lmdb.*Export their pictures"):
        _read("lsun", tmp_path / "LSUN")


def test_parquet_source_keeps_its_given_name(tmp_path):
    path = write_set(tmp_path / "x.parquet", 2, 0)
    assert _read("parquet", path).name == "toy"
    assert cifar10_url().startswith("http")
