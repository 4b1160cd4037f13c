from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from study.data import formats
from study.data.file_formats import file_formats, format_of, public_sets, read_source
from study.data.plan import make_plan
from study.data.sources import Source
from study.errors import BadInput
from tests.examples import Write, joined_folder
from tests.fake_data import noise, section, write_root

NPZ = '''
"""Arrays of one .npz file."""

import numpy as np

from study.data.images import ImageSet

FORMAT = {"suffixes": [".npz"]}


def read(source):
    with np.load(source.location) as arrays:
        return ImageSet.make(source.name, arrays["images"], labels=arrays["labels"])
'''


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    return joined_folder(formats, tmp_path / "more", monkeypatch)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))
    return write_root(tmp_path / "root")


def _npz(path: Path) -> Path:
    np.savez(path, images=noise(4, seed=9), labels=np.arange(4))
    return path


def test_format_of_a_path_goes_by_suffix_then_by_marks_then_any_folder(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    assert format_of(tmp_path / "a.PARQUET") == "parquet"
    assert format_of(tmp_path / "300K.npy") == "npy"
    assert format_of(tmp_path / "list.txt") == "imglist"
    assert format_of(tmp_path / "digits") == "folder"
    (tmp_path / "digits" / "test_32x32.mat").touch()
    assert format_of(tmp_path / "digits") == "svhn"
    assert format_of(tmp_path / "a.h5") is None


def test_public_sets_name_their_formats() -> None:
    assert public_sets()["lsun_resize"] == "lsun"
    assert public_sets()["300k_random_images"] == "npy"
    assert set(public_sets().values()) <= set(file_formats())


def test_file_in_the_folder_is_a_format_in_every_role(write: Write, root: Path) -> None:
    write(NPZ)
    _npz(root / "outliers" / "dots_train.npz")
    _npz(root / "ood_test" / "dots.npz")
    plan = make_plan(section(), "auto", root)
    assert [(s.name, s.reader) for s in plan.outliers] == [
        ("dots_train", "toy"), ("things_train", "parquet"),
    ]  # fmt: skip
    assert "dots" in plan.ood_test
    images = read_source(plan.outliers[0])
    assert images.labels.tolist() == [0, 1, 2, 3]


def test_file_of_no_format_is_told_and_not_used(root: Path, tmp_path: Path) -> None:
    _npz(root / "outliers" / "dots_train.npz")
    (root / "ood_val" / "notes.md").parent.mkdir(exist_ok=True)
    (root / "ood_val" / "notes.md").touch()
    (root / "ood_val" / ".hidden").touch()
    plan = make_plan(section(), "auto", root)
    told = [note for note in plan.notes if "of no format that is known" in note]
    assert [note.split()[0] for note in told] == ["outliers/dots_train.npz", "ood_val/notes.md"]
    assert "(.txt, .npy, .parquet, or a folder) and is not used" in told[0]
    named = str(_npz(tmp_path / "named.npz"))
    with pytest.raises(BadInput, match=r"named\.npz: is of no format.*study/data/formats"):
        make_plan(section(ood_val=[named]), "auto", root)


def test_folder_with_marks_of_two_formats_is_refused_with_both(root: Path) -> None:
    folder = root / "ood_test" / "both"
    (folder / "cifar-100-python").mkdir(parents=True)
    (folder / "train_32x32.mat").touch()
    with pytest.raises(BadInput, match=r"both: is of several formats at once: cifar100, svhn"):
        make_plan(section(), "auto", root)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('FORMAT = {"suffixes": [".npz"]}\n', r"has a function read\. Write def read\(source\)"),
        (NPZ.replace(".npz", ".npy"), r"npy\.py declares this too"),
        (NPZ.replace('".npz"', '"npz"'), "a suffix is a dot and small letters"),
        (NPZ.replace('"suffixes"', '"suffix"'), r"FORMAT\.suffix: .*there is no such key"),
        (NPZ.replace('[".npz"]', '".npz"'), r"FORMAT\.suffixes"),
        (NPZ.replace('{"suffixes": [".npz"]}', '{"any_folder": True}'), "takes every folder"),
    ],
)
def test_format_file_at_fault_is_told_with_its_name(write: Write, text: str, told: str) -> None:
    write(text)
    with pytest.raises(BadInput, match=rf"toy\.py.*{told}"):
        file_formats()


def test_reader_that_is_no_format_is_told_with_those_that_are(write: Write) -> None:
    write(NPZ)
    with pytest.raises(BadInput, match=r"no reader 'tape'; there are cifar10, .*, toy"):
        read_source(Source("a", "tape", "x"))
