"""OpenOOD's splits of CIFAR-10, by its image lists where a user has the files.

Yang et al. 2022 (NeurIPS) and Zhang et al. 2023 (v1.5, arXiv:2306.09301). Under a data root, or in
``data`` below it, lie ``benchmark_imglist/cifar10/*.txt`` and the pictures in ``images_classic``.
Validation ID follows theirs: 1,000 images that they cut from CIFAR-10's test set, of which the
other 9,000 are the test; everywhere else this project cuts its own from the training images.
"""

from __future__ import annotations

from pathlib import Path

from study.data.catalogue import RootListing
from study.data.sources import Source
from study.errors import BadInput, Fault

OPENOOD = "openood"
LISTS = Path("benchmark_imglist") / "cifar10"
NEAR = ("cifar100", "tin")
FAR = ("mnist", "svhn", "texture", "places365")
NOTE = (
    "OpenOOD's splits: validation ID is 1,000 images of CIFAR-10's test set, the ID test the "
    "other 9,000. Pictures are brought to size as OpenOOD does (shorter side, bilinear, centre)."
)
_OUTLIERS = {"tin597_train": "train_tin597"}
_VALIDATION = {"tin_val": "val_tin"}


def openood_id(root: Path) -> dict[str, Source]:
    """The ID sources by split: train, val and test.

    Raises:
        BadInput: naming each list that is not there.
    """
    folder = _folder(root)
    places = {split: folder / f"{split}_cifar10.txt" for split in ("train", "val", "test")}
    missing = [path for path in places.values() if not path.is_file()]
    if missing:
        way_out = (
            "Fetch OpenOOD's benchmark_imglist and images_classic, and name the folder that has "
            "them with --data-root."
        )
        rule = "OpenOOD's image list is not there"
        raise BadInput([Fault(str(path), "", rule, way_out) for path in missing])
    return {split: _source(f"cifar10_{split}", path) for split, path in places.items()}


def openood_listing(root: Path) -> RootListing:
    """The sets of the OOD roles, those whose lists are there."""
    folder = _folder(root)
    roles = {
        "outliers": _OUTLIERS,
        "ood_val": _VALIDATION,
        "ood_test": {name: f"test_{name}" for name in (*NEAR, *FAR)},
    }
    sets = {
        role: [
            _source(name, path)
            for name, stem in lists.items()
            if (path := folder / f"{stem}.txt").is_file()
        ]
        for role, lists in roles.items()
    }
    return RootListing(sets)


def absent_tests(listing: RootListing) -> list[str]:
    """A note for what OpenOOD tests on and ``listing`` lacks; none where it has everything."""
    there = {source.name for source in listing.sets["ood_test"]}
    absent = [name for name in (*NEAR, *FAR) if name not in there]
    told = f"OpenOOD's test lists that are not there: {', '.join(absent)}."
    return [f"{told} Means over near or far sets do not compare with theirs."] if absent else []


def _folder(root: Path) -> Path:
    below = root / "data" / LISTS
    return below if below.is_dir() else root / LISTS


def _source(name: str, path: Path) -> Source:
    """A list whose pictures are brought to size and colours as OpenOOD does."""
    return Source(name, "imglist", str(path), grey=True, shorter_side=True)
