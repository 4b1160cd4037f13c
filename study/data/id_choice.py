"""Which ID set a study runs on: the rule of ``--data auto|demo|cifar10`` and of ``data.id``."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path

from study.data import demo
from study.data.catalogue import (
    CIFAR10_FOLDER,
    ID_FOLDERS,
    cifar10_sources,
    find_id,
    holds_sets,
    id_splits,
    lies_there,
)
from study.data.openood import NOTE, OPENOOD, openood_id
from study.data.section import DataSection
from study.data.sources import DEMO, Source
from study.errors import BadInput, Fault
from study.terminal import typed_path

DATA_CHOICES = ("auto", "demo", "cifar10", OPENOOD)

PROBE_TIMEOUT_S = 5.0


def choose_id(
    section: DataSection, data: str, root: Path, *, root_given: bool
) -> tuple[dict[str, Source], list[str]]:
    """The ID sources by split (train, test and perhaps val), and what must be said about them.

    Args:
        section: the space's ``data:``.
        data: ``--data``: auto, demo, cifar10 or openood.
        root: the data root.
        root_given: whether it was named, and not only the default: nothing stands in for it then.

    Raises:
        BadInput: for a path that has no train and test, or that ``data`` contradicts, and for a
            root that was named and has no ID set.
    """
    if section.id not in DATA_CHOICES:
        return _own_id(typed_path(section.id), data), []
    choice = data if data != "auto" else section.id
    if choice == "demo":
        told = "Embedded demo set: its numbers compare with nothing else."
        return _demo_id(section), [told]
    if choice == OPENOOD:
        return openood_id(root), [NOTE]
    found = find_id(root)
    if found is not None:
        return found, []
    if data == "cifar10":
        note = f"CIFAR-10 is not under {root}: it is downloaded into it."
        return cifar10_sources(root, download=True), [note]
    if root_given or section.id != "auto" or holds_sets(root):
        raise BadInput(_no_id_set(root))
    if has_gpu() and answers(cifar10_url()):
        note = f"CIFAR-10 is not under {root}: there is a GPU, so it is downloaded into it."
        return cifar10_sources(root, download=True), [note]
    note = (
        f"NOT CIFAR-10: it is not under {root}. This runs on the embedded demo set (the digits "
        "of scikit-learn); its numbers compare with nothing else. --data cifar10 downloads "
        "CIFAR-10; --data-root DIR names a folder that has it."
    )
    return _demo_id(section), [note]


_NEEDED = (
    "class folders, .parquet (shards too), .npy with labels or image lists; their names are train "
    "and test, and val where there is one"
)


def _no_id_set(root: Path) -> Fault:
    """The fault of a root without an ID set, with what lies there in its place."""
    folders = [root / name for name in ID_FOLDERS if (root / name).is_dir()]
    if folders:
        told = "; ".join(_lacking(folder) for folder in folders)
    else:
        there = lies_there(root)
        told = f"there is no folder {' or '.join(ID_FOLDERS)}"
        told += f"; it holds: {', '.join(there)}" if there else "; it is empty"
    way_out = (
        f"Put the ID images at {root / 'id'} as {_NEEDED}; or name their folder, "
        "--set data.id=DIR; or --data cifar10, which downloads CIFAR-10, or --data demo."
    )
    return Fault(str(root), "", f"no ID set here: {told}", way_out)


def _own_id(path: Path, data: str) -> dict[str, Source]:
    """A folder with train and test, named in data.id."""
    if data != "auto":
        rule = f"is a path, which --data {data} contradicts"
        raise BadInput(Fault("data.id", "", rule, "Leave one of them out.", str(path)))
    if (path / CIFAR10_FOLDER).is_dir():
        return cifar10_sources(path, download=False)
    found = id_splits(path)
    if not {"train", "test"} <= set(found):
        rule = f"needs train and test in it: {_lacking(path)}"
        raise BadInput(Fault("data.id", "", rule, f"They are {_NEEDED}.", str(path)))
    return found


def _lacking(folder: Path) -> str:
    """What is not in an ID folder, and what is."""
    found = id_splits(folder)
    lacking = " and no ".join(split for split in ("train", "test") if split not in found)
    there = ", ".join(lies_there(folder)) or "nothing"
    return f"{folder.name} has no {lacking}, it holds: {there}"


def _demo_id(section: DataSection) -> dict[str, Source]:
    size = section.image_size
    if size not in (None, demo.IMAGE_SIZE) and not section.enlarge:
        rule = f"must be {demo.IMAGE_SIZE} for the embedded demo set"
        way_out = "Set data.enlarge: true, or name other data."
        raise BadInput(Fault("data.image_size", "", rule, way_out, size))
    names = {"train": demo.ID_TRAIN, "test": demo.ID_TEST}
    return {split: Source(name, DEMO, name) for split, name in names.items()}


def has_gpu() -> bool:
    """Whether torch sees a CUDA device."""
    import torch  # seconds to import, and only asked where CIFAR-10 is not on disk

    return bool(torch.cuda.is_available())


def answers(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether ``url`` answers a HEAD request within ``timeout_s`` seconds, all in all."""
    reached = threading.Event()

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                reached.set()
        except (OSError, ValueError):
            pass  # no answer is an answer

    # a thread of its own: a name look-up that hangs does not heed the socket's timeout
    threading.Thread(target=probe, daemon=True).start()
    return reached.wait(timeout_s)


def cifar10_url() -> str:
    """Where torchvision takes CIFAR-10 from."""
    from torchvision.datasets import CIFAR10  # seconds to import, and only asked with a GPU

    return str(CIFAR10.url)
