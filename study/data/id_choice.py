"""Which ID set a study runs on: the rule of ``--data auto|demo|cifar10`` and of ``data.id``."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path

from study.data import demo
from study.data.catalogue import cifar10_sources, find_cifar10, id_folder
from study.data.openood import NOTE, OPENOOD, openood_id
from study.data.section import DataSection
from study.data.sources import DEMO, Source
from study.errors import BadInput, Fault

DATA_CHOICES = ("auto", "demo", "cifar10", OPENOOD)

PROBE_TIMEOUT_S = 5.0
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
    if has_gpu() and answers(cifar10_url()):
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
    from study.data.formats import cifar10  # seconds to import, and only asked with a GPU

    return cifar10.url()
