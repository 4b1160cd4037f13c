"""Which ID set a study runs on: the rule of ``--data auto|demo|cifar10`` and of ``data.id``."""

from __future__ import annotations

from pathlib import Path

from study.data import availability, demo, torchvision_sets
from study.data.catalogue import cifar10_sources, find_cifar10, id_folder
from study.data.openood import NOTE, OPENOOD, openood_id
from study.data.section import DataSection
from study.data.sources import DEMO, Source
from study.errors import BadInput, Fault

DATA_CHOICES = ("auto", "demo", "cifar10", OPENOOD)

_SIMPLE = (
    "The demo's digits are 8x8 pixels and much alike: the leak check, made for photographs, calls "
    "over half of them near-duplicates of another."
)


def choose_id(section: DataSection, data: str, root: Path) -> tuple[Source, Source, list[str]]:
    """ID train and test sources, and what must be said about the choice.

    Args:
        section: the space's ``data:``.
        data: ``--data``: auto, demo, cifar10 or openood.
        root: the data root.

    Raises:
        BadInput: for a path that has no train and test, or that ``data`` contradicts.
    """
    size = section.image_size
    if section.id not in DATA_CHOICES:
        return (*_own_id(Path(section.id).expanduser(), data, size), [])
    choice = data if data != "auto" else section.id
    if choice == "demo":
        told = "Embedded demo set: its numbers compare with nothing else."
        return (*_demo_id(size), [told, _SIMPLE])
    if choice == OPENOOD:
        train, _, test = openood_id(root, size)
        return train, test, [NOTE]
    found = find_cifar10(root, size)
    if found is not None:
        return (*found, [])
    if data == "cifar10":
        note = f"CIFAR-10 is not under {root}: it is downloaded into it."
        return (*cifar10_sources(root, size, download=True), [note])
    if availability.has_gpu() and availability.answers(torchvision_sets.cifar10_url()):
        note = f"CIFAR-10 is not under {root}: there is a GPU, so it is downloaded into it."
        return (*cifar10_sources(root, size, download=True), [note])
    note = (
        f"NOT CIFAR-10: it is not under {root}. This runs on the embedded demo set (the digits "
        "of scikit-learn); its numbers compare with nothing else. --data cifar10 downloads "
        "CIFAR-10; --data-root DIR names a folder that has it."
    )
    return (*_demo_id(size), [note, _SIMPLE])


def _own_id(path: Path, data: str, size: int) -> tuple[Source, Source]:
    """A folder with train and test, named in data.id."""
    if data != "auto":
        rule = f"is a path, which --data {data} contradicts"
        raise BadInput(Fault("data.id", "", rule, "Leave one of them out.", str(path)))
    sources = id_folder(path, size)
    places = [Path(source.location) for source in sources]
    if not all(place.exists() for place in places):
        rule = "needs train and test in it, as .parquet or as a folder of class folders"
        raise BadInput(Fault("data.id", "", rule, "Check the path.", str(path)))
    if all(source.reader == "folder" for source in sources):
        train, test = ({sub.name for sub in place.iterdir() if sub.is_dir()} for place in places)
        if train != test:  # classes are numbered by name, so a missing one would shift the rest
            rule = f"train and test differ in the classes {sorted(train ^ test)}"
            raise BadInput(Fault("data.id", "", rule, "Give both the same folders.", str(path)))
    return sources


def _demo_id(size: int) -> tuple[Source, Source]:
    if size != demo.IMAGE_SIZE:
        rule = f"must be {demo.IMAGE_SIZE} for the embedded demo set"
        raise BadInput(Fault("data.image_size", "", rule, "Name other data.", size))
    return Source(demo.ID_TRAIN, DEMO, demo.ID_TRAIN), Source(demo.ID_TEST, DEMO, demo.ID_TEST)
