from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms as transforms
from PIL import Image

from study.data.file_formats import read_source
from study.data.openood import FAR, LISTS, NEAR
from study.data.plan import DataPlan, make_plan
from study.data.section import DataSection
from study.data.sources import Source
from study.data.test_access import open_test
from study.errors import BadInput
from study.space.loading import load_space
from tests.fake_data import noise

CLASSES = ("airplane", "automobile", "bird")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOD_STUDY_CACHE", str(tmp_path / "cache"))


def _picture(path: Path, seed: int, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = noise(1, seed, max(size))[0][:height, :width]
    Image.fromarray(pixels).convert(mode).save(path)


def _list(root: Path, name: str, rows: list[tuple[str, int]]) -> Path:
    path = root / LISTS / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row} {label}\n" for row, label in rows))
    return path


def _id_list(root: Path, split: str, num: int, seed: int) -> Path:
    folder = "train" if split == "train" else "test"
    rows = []
    for i in range(num):
        row = f"cifar10/{folder}/{CLASSES[i % 3]}/{seed + i:04d}.png"
        _picture(root / "images_classic" / row, seed + i)
        rows.append((row, i % 3))
    return _list(root, f"{split}_cifar10", rows)


def _ood_list(root: Path, name: str, rows: list[str], seed: int, mode: str = "RGB") -> Path:
    for i, row in enumerate(rows):
        _picture(root / "images_classic" / row, seed + i, (40, 36), mode)
    return _list(root, name, [(row, -1) for row in rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """OpenOOD's folders, a few pictures to a list."""
    _id_list(tmp_path, "train", 12, 100)
    _id_list(tmp_path, "val", 6, 200)
    _id_list(tmp_path, "test", 9, 300)
    _ood_list(tmp_path, "val_tin", [f"tin/val/n{i}/a.png" for i in range(4)], 400)
    for i, name in enumerate((*NEAR, *FAR)):
        mode = "L" if name == "mnist" else "RGB"
        rows = [f"{name}/test/{kind}/b.png" for kind in ("apple", "lamp")]
        _ood_list(tmp_path, f"test_{name}", rows, 500 + 10 * i, mode)
    return tmp_path


def _plan(root: Path, **changes: str) -> DataPlan:
    return make_plan(DataSection(**changes), "openood", root)


def test_profile_puts_every_list_in_its_role(root: Path) -> None:
    plan = _plan(root)
    assert list(plan.ood_test) == [*NEAR, *FAR]
    assert list(plan.ood_val) == ["tin_val"]
    assert not plan.outliers
    data = plan.load_study(DataSection())
    assert (len(data.train.images), len(data.val_id.images)) == (12, 6)
    assert data.train.images.classes == CLASSES
    assert data.val_id.images.labels.tolist() == [0, 1, 2] * 2
    test = open_test(plan)
    assert (len(test.id), len(test.ood["mnist"])) == (9, 2)
    assert any("1,000 images of CIFAR-10's test set" in note for note in data.notes)


def test_profile_named_in_a_space_is_the_same_as_on_the_command_line(root: Path) -> None:
    spec = load_space("cifar10", ["data.id=openood", "data.ood_test=[tin, mnist]"])
    plan = make_plan(spec.data, "auto", root)
    assert plan.id == _plan(root).id
    assert list(plan.ood_test) == ["tin", "mnist"]


def test_profile_survives_the_manifest(root: Path) -> None:
    plan = _plan(root)
    back = DataPlan.from_json(plan.to_json())
    assert back.val_id == plan.val_id
    assert back.table() == plan.table()


def test_profile_below_data_and_without_some_test_lists_tells_which(root: Path) -> None:
    (root / LISTS / "test_svhn.txt").unlink()
    (root / "data").mkdir()
    for name in ("benchmark_imglist", "images_classic"):
        (root / name).rename(root / "data" / name)
    plan = _plan(root)
    assert "svhn" not in plan.ood_test
    assert any("not there: svhn." in note for note in plan.notes)


def test_missing_id_list_is_told_with_its_path(root: Path) -> None:
    (root / LISTS / "val_cifar10.txt").unlink()
    with pytest.raises(BadInput, match=r"val_cifar10\.txt.*is not there.*--data-root"):
        _plan(root)


def test_missing_picture_is_told_with_its_path(root: Path) -> None:
    (root / "images_classic" / "tin/val/n2/a.png").unlink()
    with pytest.raises(BadInput, match=r"val_tin\.txt.*there is no .*images_classic/tin/val/n2"):
        _plan(root).load_study(DataSection())


def test_missing_folder_of_pictures_is_told(root: Path) -> None:
    (root / "images_classic").rename(root / "elsewhere")
    with pytest.raises(BadInput, match=r"its first picture, .* is in none of the folders"):
        _plan(root).load_study(DataSection())


def test_line_without_a_label_is_told_with_its_number(root: Path) -> None:
    path = root / LISTS / "val_tin.txt"
    path.write_text(path.read_text() + "tin/val/n0/a.png\n")
    with pytest.raises(BadInput, match=r"line 5.*a path below the pictures' folder and a label"):
        read_source(Source("toy", "imglist", str(path)))


def test_id_classes_in_a_published_list_are_told_unless_the_space_says_more(root: Path) -> None:
    rows = ["tin/val/sports_car/a.png", "tin/val/lamp/a.png"]
    _ood_list(root, "val_tin", rows, 900)
    data = _plan(root).load_study(DataSection())
    assert len(data.ood_val.sets["tin_val"]) == 2
    (note,) = (note for note in data.notes if "sports_car" in note)
    assert note.startswith("'tin_val' holds ID classes, kept as it was published")
    with pytest.raises(BadInput, match="sports_car"):
        _plan(root, outlier_id_classes="refuse").load_study(DataSection())
    data = _plan(root, outlier_id_classes="filter").load_study(DataSection())
    assert data.ood_val.sets["tin_val"].ids.tolist() == [b"tin/val/lamp/a.png"]


def test_class_of_tiny_imagenets_pictures_is_the_folder_above_images(tmp_path: Path) -> None:
    rows = [f"tin597/test/{one}/images/{one}_0.JPEG" for one in ("n01440764", "n02099601")]
    for row in rows:
        _picture(tmp_path / "images_classic" / row, 1)
    path = _list(tmp_path, "toy", [(row, -1) for row in rows])
    assert read_source(Source("toy", "imglist", str(path))).classes == ("n01440764", "n02099601")


def test_openoods_own_lists_are_read(shared_data: Path, tmp_path: Path) -> None:
    packed = shared_data / "openood_imglist.tar.xz"
    if not packed.exists():
        pytest.skip("OpenOOD's own lists are not here")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    # One picture of each kind, under as many names as a list has lines; every 40th line of the
    # long lists, so that the test takes seconds.
    counts = {}
    for path in sorted((tmp_path / LISTS).glob("*.txt")):
        lines = path.read_text().splitlines()[:: 1 if path.stem.startswith("val") else 40]
        path.write_text("\n".join(lines) + "\n")
        counts[path.stem] = len(lines)
        for number, line in enumerate(lines):
            place = tmp_path / "images_classic" / line.rpartition(" ")[0]
            kind = tmp_path / f"{number % 7}{place.suffix}"
            if not kind.exists():
                _picture(kind, number % 7, (40, 36), "L" if "mnist" in line else "RGB")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(kind)
    plan = _plan(tmp_path)
    data = plan.load_study(DataSection())
    cifar10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
    assert data.train.images.classes == (*cifar10, "truck")
    assert len(data.train.images) == counts["train_cifar10"]
    assert len(data.val_id.images) == counts["val_cifar10"] == 1000
    assert np.bincount(data.val_id.images.labels).tolist() == [100] * 10
    assert data.outliers is not None
    assert len(data.outliers.images) == counts["train_tin597"]
    assert len(data.ood_val.sets["tin_val"]) == counts["val_tin"]
    told = " ".join(data.notes)
    assert "'tin597_train' holds ID classes, kept as it was published: 'n01795545'" in told
    test = open_test(plan)
    assert {name: len(images) for name, images in test.ood.items()} == {
        name: counts[f"test_{name}"] for name in (*NEAR, *FAR)
    }
    assert len(test.id) == counts["test_cifar10"]


def test_outliers_are_theirs_where_the_list_is_there(root: Path) -> None:
    _ood_list(root, "train_tin597", [f"tin597/n{i}/c.png" for i in range(3)], 700)
    assert [source.name for source in _plan(root).outliers] == ["tin597_train"]


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (75, 40), (33, 51), (32, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_are_brought_to_size_as_theirs(
    size: tuple[int, int], mode: str, tmp_path: Path
) -> None:
    file = tmp_path / "images_classic" / "x" / "a.png"
    _picture(file, 3, size, mode)
    path = str(_list(tmp_path, "toy", [("x/a.png", -1)]))
    images = read_source(Source("toy", "imglist", path, grey=True, shorter_side=True))
    steps = [
        transforms.Resize(32, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.CenterCrop(32),
    ]
    theirs = transforms.Compose(steps)(Image.open(file).convert("RGB"))
    np.testing.assert_array_equal(images.pixels[0], np.asarray(theirs))


def test_list_is_named_by_its_path_in_any_role(root: Path, tmp_path: Path) -> None:
    mine = _ood_list(root, "mine", ["mine/a.png", "mine/b.png"], 800)
    plan = _plan(root, ood_val=[str(mine)])  # type: ignore[arg-type]
    assert (list(plan.ood_val), plan.ood_val["mine"].reader) == (["mine"], "imglist")
    assert len(plan.load_study(DataSection()).ood_val.sets["mine"]) == 2
