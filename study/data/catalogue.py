"""What a data root holds, and what a name in a YAML's list means.

Layout of a root, by role: ``id/{train,val,test}`` or ``cifar10/{train,test}`` (or torchvision's
folder of CIFAR-10 in it or beside it), ``outliers/*_train`` (auxiliary outliers),
``outliers/*_val`` and ``ood_val/*`` (OOD validation), ``ood_test/*`` (OOD test). A set is a file
or folder that a format of ``study/data/formats`` takes.

Sources are of no size yet: `study.data.plan` gives all of them the study's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from study.contents import kind_of
from study.counted import some
from study.data import demo
from study.data.decode import picture_suffixes
from study.data.file_formats import (
    file_formats,
    format_of,
    is_later_shard,
    public_sets,
    set_name,
    suffixes,
)
from study.data.images import printable
from study.data.sources import DEMO, SYNTHETIC, Source
from study.data.synthetic import SYNTHETIC_NAMES
from study.data.walk import entries
from study.errors import BadInput, Fault
from study.terminal import typed_path

ROLES = ("outliers", "ood_val", "ood_test")
FOLDER = "folder"  # what a path that is not there is read as, and then told
CIFAR10_FOLDER = "cifar-10-batches-py"
ID_FOLDERS = ("id", "cifar10")
_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


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


def list_root(root: Path) -> RootListing:
    """The sets of ``root`` by the layout in the module's text, in the order of their names."""
    found: dict[str, list[Source]] = {role: [] for role in ROLES}
    left_out, unknown = [], []
    for folder in ROLES:
        for entry in _sets_in(root / folder):
            name, role = set_name(entry), folder
            if folder == "outliers":
                role = "ood_val" if name.endswith("_val") else "outliers"
            reader = format_of(entry)
            if reader is None:
                loose = entry.suffix.lower() in picture_suffixes()
                unknown += [] if loose else [f"{folder}/{entry.name}"]
            elif _by_name_only(entry):
                continue
            elif folder == "outliers" and not name.endswith(("_train", "_val")):
                left_out.append(f"outliers/{entry.name}")
            else:
                found[role].append(source_of_path(entry, role))
    return RootListing(found, tuple(left_out), tuple(unknown))


def source_of_path(path: Path, role: str = "", name: str | None = None) -> Source:
    """The source that a file or folder is, told by its suffix or its contents.

    Args:
        path: what a format of ``study/data/formats`` takes.
        role: for sets whose split goes by the role.
        name: the set's name; by default told by the file's.

    Raises:
        BadInput: where no format takes it, or two do.
    """
    reader = format_of(path)
    if reader is None and path.is_file():
        known, kind = ", ".join(suffixes()), kind_of(path)
        rule = f"is of no format that is known ({known}, or a folder)"
        rule += f"; it holds {kind}" if kind else ""
        way_out = (
            "Unpack it, convert it, or give it the suffix of what it is; or add a file to "
            "study/data/formats that reads it."
        )
        raise BadInput(Fault(str(path), "", rule, way_out))
    reader = reader or FOLDER
    declared = file_formats()[reader]
    return Source(name or set_name(path), reader, str(path), declared.split(role))


def find_id(root: Path) -> dict[str, Source] | None:
    """The ID sources under ``root`` by split; None where there are not both train and test.

    Raises:
        BadInput: where a split lies there in two forms.
    """
    for name in ID_FOLDERS:
        place = root / name
        if (place / CIFAR10_FOLDER).is_dir():
            return cifar10_sources(place, download=False)
        found = id_splits(place)
        if {"train", "test"} <= set(found):
            return found
    if (root / CIFAR10_FOLDER).is_dir():
        return cifar10_sources(root, download=False)
    return None


def cifar10_sources(place: Path, *, download: bool) -> dict[str, Source]:
    """CIFAR-10 in torchvision's folder in ``place``, train and test."""
    train = Source("cifar10_train", "cifar10", str(place), "train", download=download)
    return {"train": train, "test": replace(train, name="cifar10_test", split="test")}


def id_splits(folder: Path) -> dict[str, Source]:
    """The splits that lie in an ID folder: ``train``, ``test`` and, where there is one, ``val``.

    They lie in it, in ``data`` below it, or in the only other folder below it that has them; as
    files, numbered shards or folders.

    Raises:
        BadInput: where a split lies there in two forms, or in two folders.
    """
    below = [path for path in entries(folder) if path.is_dir()]
    places = [folder, *sorted(below, key=lambda path: path.name != "data")]
    having = [place for place in places if "train" in _splits_in(place)]
    if not having:
        return {}
    if len(having) > 1 and having[0] not in (folder, folder / "data"):
        told = ", ".join(place.name for place in having)
        rule = f"has several folders with a train set: {told}"
        raise BadInput(Fault(str(folder), "", rule, "Name the one that is meant in data.id."))
    found, faults = {}, []
    for split, paths in _splits_in(having[0]).items():
        if len(paths) > 1:
            rule = f"{split} is there more than once: {', '.join(path.name for path in paths)}"
            faults.append(Fault(str(having[0]), "", rule, "Leave the one that is meant."))
        found[split] = source_of_path(
            paths[0], name=f"{printable(folder.absolute().name)}_{split}"
        )
    if faults:
        raise BadInput(faults)
    return found


def _splits_in(place: Path) -> dict[str, list[Path]]:
    """Split -> what it is in a folder."""
    found: dict[str, list[Path]] = {}
    for path in _sets_in(place):
        split = _SPLITS.get(set_name(path).lower())
        if split is not None and format_of(path) is not None:
            found.setdefault(split, []).append(path)
    for split, paths in found.items():
        # a text beside a folder or a file is a list of what is in it
        found[split] = [path for path in paths if not _by_name_only(path)] or paths
    return found


def _by_name_only(path: Path) -> bool:
    form = format_of(path) if path.is_file() else None
    return form is not None and file_formats()[form].by_name_only


def resolve(item: str, role: str, root: Path, listing: RootListing) -> Source | Fault:
    """What ``item`` of the list ``data.<role>`` names, or what is wrong with it.

    Looked up in this order: demo sets, synthetic sets, sets of the root by their stem (in the
    role's own folder, then in any other), public sets under the root, paths.
    """
    if item in demo.demo_names():
        return Source(item, DEMO, item)
    if item in SYNTHETIC_NAMES:
        if role != "ood_val":
            rule = f"'{item}' is made from validation images, so it can only be in data.ood_val"
            return Fault(f"data.{role}", "", rule, "Name another set.")
        return Source(item, SYNTHETIC, item)
    for source in (*listing.sets[role], *_everything(root, listing)):
        if source.name == item:
            return source
    if item.lower() in public_sets():
        return _known(item.lower(), role, root)
    for path in (typed_path(item), root / item):
        if path.exists():
            try:
                return source_of_path(path, role)
            except BadInput as error:
                return error.faults[0]
    return _unknown(item, role, root, listing)


def _known(name: str, role: str, root: Path) -> Source | Fault:
    reader = public_sets()[name]
    declared = file_formats()[reader]
    for place in (root / part for part in declared.sets[name]):
        if declared.lies_at(place):
            return Source(name, reader, str(place), declared.split(role))
    rule = f"'{name}' is not under {root} (looked for {', '.join(declared.sets[name])})"
    return Fault(f"data.{role}", "", rule, "Put it there, or name the root with --data-root.")


def _unknown(item: str, role: str, root: Path, listing: RootListing) -> Fault:
    names = [source.name for source in _everything(root, listing)]
    names += [*public_sets(), *SYNTHETIC_NAMES, *demo.demo_names()]
    near = difflib.get_close_matches(item, names, n=1)
    rule = f"'{item}' is neither a known set, nor a set under {root}, nor a path"
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(set(names)))}."
    return Fault(f"data.{role}", "", rule, hint)


def _everything(root: Path, listing: RootListing) -> list[Source]:
    in_roles = [source for sources in listing.sets.values() for source in sources]
    return in_roles + [source_of_path(root / part) for part in listing.left_out]


def _sets_in(folder: Path) -> list[Path]:
    """What may be a set in a folder: one path a set, without what belongs to another."""
    declared = file_formats().values()
    return [
        path
        for path in entries(folder)
        if not any(one.belongs_to_another(path) for one in declared)
        and not (path.is_file() and is_later_shard(path))
    ]


def lies_there(root: Path) -> list[str]:
    """What lies in a root, for messages: names, folders with a slash, and what is in them."""
    told = []
    for path in entries(root):
        below = [each.name for each in entries(path)] if path.is_dir() else []
        held = f" ({some(below, 4)})" if below else ""
        told.append(printable(f"{path.name}/{held}" if path.is_dir() else path.name))
    return told


def holds_sets(root: Path) -> bool:
    """Whether a root has anything in the folders of its layout."""
    return any(entries(root / name) for name in (*ID_FOLDERS, *ROLES))


def unused(root: Path, used: Iterable[str]) -> list[str]:
    """Folders and sets in a root that no role takes: not ``used``, and no place of roles."""
    public = [
        place for one in file_formats().values() for each in one.sets.values() for place in each
    ]
    lists = ("benchmark_imglist", "images_classic", "images_largescale")
    known = {*ROLES, CIFAR10_FOLDER, *lists, *(one.split("/")[0] for one in public)}
    known -= set(ID_FOLDERS)  # one that is not taken is told
    taken = [Path(place).resolve() for place in used]
    return [
        printable(path.name)
        for path in entries(root)
        if path.name not in known
        and (path.is_dir() or (format_of(path) is not None and not _by_name_only(path)))
        and not any(path.resolve() in (place, *place.parents) for place in taken)
    ]


def beside_splits(own: Mapping[str, Source]) -> list[str]:
    """Folders and sets beside the splits of an ID set that are none; splits of no known format."""
    declared = file_formats()
    for one in own.values():
        split = set_name(Path(one.location)).lower()
        if declared[one.reader].by_name_only or split not in _SPLITS:
            return []  # lists lie among their pictures, public sets where they please
    taken = {Path(one.location) for one in own.values()}
    return [
        printable(path.name)
        for path in _sets_in(Path(own["train"].location).parent)
        if path not in taken and not _by_name_only(path)
        if path.is_dir() or format_of(path) is not None or path.stem.lower() in _SPLITS
    ]


def loose_pictures(root: Path) -> list[str]:
    """Role folders of ``root`` that hold pictures directly, where sets (sub-folders) belong."""
    return [
        role
        for role in ROLES
        if any(path.suffix.lower() in picture_suffixes() for path in entries(root / role))
    ]
