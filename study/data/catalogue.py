"""What a data root holds, and what a name in a YAML's list means.

Layout of a root, by role: ``cifar10/{train,test}.parquet`` (or torchvision's folder in it or
beside it), ``outliers/*_train`` (auxiliary outliers), ``outliers/*_val`` and ``ood_val/*``
(OOD validation), ``ood_test/*`` (OOD test). A set is a .parquet, a .npy or a folder of pictures.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from study.data import demo
from study.data.folders import SUFFIXES
from study.data.sources import DEMO, SYNTHETIC, Source
from study.data.synthetic import SYNTHETIC_NAMES
from study.data.torchvision_sets import CIFAR10_FOLDER, CIFAR100_FOLDER
from study.errors import Fault

ROLES = ("outliers", "ood_val", "ood_test")


@dataclass(frozen=True)
class KnownSet:
    """A public set: its reader, where it lies under a root, what marks it, its splits by role."""

    reader: str
    places: tuple[str, ...]
    sign: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)


_TRAIN_TEST = {"outliers": "train", "ood_val": "train", "ood_test": "test"}
_TRAIN_VAL_TEST = {"outliers": "train", "ood_val": "val", "ood_test": "test"}
KNOWN_SETS: dict[str, KnownSet] = {
    "300k_random_images": KnownSet(
        "npy", ("300K_random_images.npy", "outliers/300K_random_images.npy")
    ),
    "svhn": KnownSet("svhn", ("svhn", "SVHN", "."), "*_32x32.mat", _TRAIN_TEST),
    "dtd": KnownSet("dtd", ("dtd/dtd", "dtd", "DTD"), "labels/*1.txt", _TRAIN_VAL_TEST),
    "cifar100": KnownSet("cifar100", (".", "cifar100"), CIFAR100_FOLDER, _TRAIN_TEST),
    "places365": KnownSet("places365", ("places365", "Places365")),
    "lsun": KnownSet("lsun", ("LSUN", "lsun")),
    "lsun_c": KnownSet("lsun", ("LSUN_C", "lsun_c")),
    "lsun_resize": KnownSet("lsun", ("LSUN_resize", "lsun_resize")),
    "isun": KnownSet("isun", ("iSUN", "isun")),
}


@dataclass(frozen=True)
class RootListing:
    """Sets found under a root, by role, and what lay there that no role takes."""

    sets: dict[str, list[Source]]
    left_out: tuple[str, ...]


def list_root(root: Path, size: int) -> RootListing:
    """The sets of ``root`` by the layout in the module's text, in the order of their names."""
    found: dict[str, list[Source]] = {role: [] for role in ROLES}
    left_out = []
    for entry in _sets_in(root / "outliers"):
        if entry.stem.endswith("_train"):
            found["outliers"].append(source_of_path(entry, size, "outliers"))
        elif entry.stem.endswith("_val"):
            found["ood_val"].append(source_of_path(entry, size, "ood_val"))
        else:
            left_out.append(f"outliers/{entry.name}")
    for role in ("ood_val", "ood_test"):
        found[role] += [source_of_path(entry, size, role) for entry in _sets_in(root / role)]
    return RootListing(found, tuple(left_out))


def source_of_path(path: Path, size: int, role: str = "", name: str | None = None) -> Source:
    """The source that a file or folder is, told by its suffix or its contents.

    Args:
        path: a .parquet, a .npy, an image list (.txt), a folder that torchvision or LSUN left, or
            one of pictures.
        size: edge in pixels.
        role: for sets whose split goes by the role.
        name: the set's name; by default the file's stem.
    """
    reader = {".parquet": "parquet", ".npy": "npy", ".txt": "imglist"}.get(path.suffix.lower())
    if reader:
        return Source(name or path.stem, reader, str(path), image_size=size)
    for known in KNOWN_SETS.values():
        if known.sign and any(path.glob(known.sign)):
            split = known.splits.get(role, "train")
            return Source(name or path.name, known.reader, str(path), split, size)
    reader = "lsun" if any(path.glob("*_lmdb")) else "folder"
    return Source(name or path.name, reader, str(path), image_size=size)


def find_cifar10(root: Path, size: int) -> tuple[Source, Source] | None:
    """CIFAR-10's train and test sources under ``root``; None where it is not there."""
    parquet = root / "cifar10"
    if (parquet / "train.parquet").exists() or (parquet / "test.parquet").exists():
        return id_folder(parquet, size)
    for place in (root / "cifar10", root):
        if (place / CIFAR10_FOLDER).is_dir():
            return cifar10_sources(place, size, download=False)
    return None


def cifar10_sources(place: Path, size: int, *, download: bool) -> tuple[Source, Source]:
    """CIFAR-10 in torchvision's folder in ``place``, train and test."""
    train = Source("cifar10_train", "cifar10", str(place), "train", size, download)
    return train, replace(train, name="cifar10_test", split="test")


def id_folder(folder: Path, size: int) -> tuple[Source, Source]:
    """``FOLDER/train`` and ``FOLDER/test``, each a Parquet file or a folder of class folders."""

    def part(split: str) -> Source:
        file = folder / f"{split}.parquet"
        path = file if file.exists() or not (folder / split).is_dir() else folder / split
        return source_of_path(path, size, name=f"{folder.name}_{split}")

    return part("train"), part("test")


def resolve(item: str, role: str, root: Path, listing: RootListing, size: int) -> Source | Fault:
    """What ``item`` of the list ``data.<role>`` names, or what is wrong with it.

    Looked up in this order: demo sets, synthetic sets, sets of the root by their stem (in any
    role's folder), public sets under the root, paths.
    """
    if item in demo.demo_names():
        return Source(item, DEMO, item, image_size=size)
    if item in SYNTHETIC_NAMES:
        if role != "ood_val":
            rule = f"'{item}' is made from validation images, so it can only be in data.ood_val"
            return Fault(f"data.{role}", "", rule, "Name another set.")
        return Source(item, SYNTHETIC, item, image_size=size)
    for source in _everything(root, listing, size):
        if source.name == item:
            return source
    if item.lower() in KNOWN_SETS:
        return _known(item.lower(), role, root, size)
    for path in (Path(item).expanduser(), root / item):
        if path.exists():
            return source_of_path(path, size, role)
    return _unknown(item, role, root, listing, size)


def _known(name: str, role: str, root: Path, size: int) -> Source | Fault:
    known = KNOWN_SETS[name]
    for place in (root / part for part in known.places):
        if any(place.glob(known.sign)) if known.sign else place.exists():
            return Source(name, known.reader, str(place), known.splits.get(role, ""), size)
    rule = f"'{name}' is not under {root} (looked for {', '.join(known.places)})"
    return Fault(f"data.{role}", "", rule, "Put it there, or name the root with --data-root.")


def _unknown(item: str, role: str, root: Path, listing: RootListing, size: int) -> Fault:
    names = [source.name for source in _everything(root, listing, size)]
    names += [*KNOWN_SETS, *SYNTHETIC_NAMES, *demo.demo_names()]
    near = difflib.get_close_matches(item, names, n=1)
    rule = f"'{item}' is neither a known set, nor a set under {root}, nor a path"
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(set(names)))}."
    return Fault(f"data.{role}", "", rule, hint)


def _everything(root: Path, listing: RootListing, size: int) -> list[Source]:
    in_roles = [source for sources in listing.sets.values() for source in sources]
    return in_roles + [source_of_path(root / part, size) for part in listing.left_out]


def _sets_in(folder: Path) -> list[Path]:
    """Entries of a role's folder that are sets, by name."""
    if not folder.is_dir():
        return []
    entries = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (".parquet", ".npy")
        or (path.is_dir() and not path.name.startswith((".", "_")))
    ]
    return sorted(entries, key=lambda path: path.name)


def loose_pictures(root: Path) -> list[str]:
    """Role folders of ``root`` that hold pictures directly, where sets (sub-folders) belong."""
    return [
        role
        for role in ROLES
        if any(path.suffix.lower() in SUFFIXES for path in (root / role).glob("*"))
    ]
