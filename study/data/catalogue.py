"""What a data root holds, and what a name in a YAML's list means.

Layout of a root, by role: ``cifar10/{train,test}.parquet`` (or torchvision's folder in it or
beside it), ``outliers/*_train`` (auxiliary outliers), ``outliers/*_val`` and ``ood_val/*``
(OOD validation), ``ood_test/*`` (OOD test). A set is a file or folder that a format of
``study/data/formats`` takes.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path

from study.data import demo
from study.data.file_formats import file_formats, format_of, public_sets, suffixes
from study.data.pictures import SUFFIXES
from study.data.sources import DEMO, SYNTHETIC, Source
from study.data.synthetic import SYNTHETIC_NAMES
from study.errors import BadInput, Fault

ROLES = ("outliers", "ood_val", "ood_test")
FOLDER = "folder"  # what a path that is not there is read as, and then told
CIFAR10_FOLDER = "cifar-10-batches-py"


@dataclass(frozen=True)
class RootListing:
    """What was found under a root.

    Attributes:
        sets: by role.
        left_out: sets that no role takes.
        unknown: files that are of no format.
    """

    sets: dict[str, list[Source]]
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def list_root(root: Path, size: int) -> RootListing:
    """The sets of ``root`` by the layout in the module's text, in the order of their names."""
    found: dict[str, list[Source]] = {role: [] for role in ROLES}
    left_out, unknown = [], []
    for folder in ROLES:
        for entry in _entries(root / folder):
            role = folder
            if folder == "outliers":
                role = "ood_val" if entry.stem.endswith("_val") else "outliers"
            reader = format_of(entry)
            if reader is None:
                unknown += [] if entry.suffix.lower() in SUFFIXES else [f"{folder}/{entry.name}"]
            elif entry.is_file() and file_formats()[reader].by_name_only:
                continue
            elif folder == "outliers" and not entry.stem.endswith(("_train", "_val")):
                left_out.append(f"outliers/{entry.name}")
            else:
                found[role].append(source_of_path(entry, size, role))
    return RootListing(found, tuple(left_out), tuple(unknown))


def source_of_path(path: Path, size: int, role: str = "", name: str | None = None) -> Source:
    """The source that a file or folder is, told by its suffix or its contents.

    Args:
        path: what a format of ``study/data/formats`` takes.
        size: edge in pixels.
        role: for sets whose split goes by the role.
        name: the set's name; by default the file's stem.

    Raises:
        BadInput: where no format takes it, or two do.
    """
    reader = format_of(path)
    if reader is None and path.is_file():
        known = ", ".join(suffixes())
        rule = f"is of no format that is known ({known}, or a folder)"
        way_out = "Convert it, or add a file to study/data/formats that reads it."
        raise BadInput(Fault(str(path), "", rule, way_out))
    reader = reader or FOLDER
    declared = file_formats()[reader]
    stem = path.stem if declared.takes_file(path) else path.name
    return Source(name or stem, reader, str(path), declared.split(role), size)


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
    """``FOLDER/train`` and ``FOLDER/test``: Parquet, or else class folders, or another format."""

    def part(split: str) -> Source:
        endings = dict.fromkeys((".parquet", "", *suffixes()))
        places = [folder / f"{split}{ending}" for ending in endings]
        path = next((place for place in places if place.exists()), places[0])
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
    if item.lower() in public_sets():
        return _known(item.lower(), role, root, size)
    for path in (Path(item).expanduser(), root / item):
        if path.exists():
            try:
                return source_of_path(path, size, role)
            except BadInput as error:
                return error.faults[0]
    return _unknown(item, role, root, listing, size)


def _known(name: str, role: str, root: Path, size: int) -> Source | Fault:
    reader = public_sets()[name]
    declared = file_formats()[reader]
    for place in (root / part for part in declared.sets[name]):
        if declared.lies_at(place):
            return Source(name, reader, str(place), declared.split(role), size)
    rule = f"'{name}' is not under {root} (looked for {', '.join(declared.sets[name])})"
    return Fault(f"data.{role}", "", rule, "Put it there, or name the root with --data-root.")


def _unknown(item: str, role: str, root: Path, listing: RootListing, size: int) -> Fault:
    names = [source.name for source in _everything(root, listing, size)]
    names += [*public_sets(), *SYNTHETIC_NAMES, *demo.demo_names()]
    near = difflib.get_close_matches(item, names, n=1)
    rule = f"'{item}' is neither a known set, nor a set under {root}, nor a path"
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(set(names)))}."
    return Fault(f"data.{role}", "", rule, hint)


def _everything(root: Path, listing: RootListing, size: int) -> list[Source]:
    in_roles = [source for sources in listing.sets.values() for source in sources]
    return in_roles + [source_of_path(root / part, size) for part in listing.left_out]


def _entries(folder: Path) -> list[Path]:
    """What lies in a role's folder, by name, without what a system or a tool has left there."""
    there = folder.iterdir() if folder.is_dir() else ()
    kept = (p for p in there if not p.name.startswith((".", "_") if p.is_dir() else "."))
    return sorted(kept, key=lambda path: path.name)


def loose_pictures(root: Path) -> list[str]:
    """Role folders of ``root`` that hold pictures directly, where sets (sub-folders) belong."""
    return [
        role
        for role in ROLES
        if any(path.suffix.lower() in SUFFIXES for path in (root / role).glob("*"))
    ]
