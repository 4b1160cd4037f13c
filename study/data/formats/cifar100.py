"""CIFAR-100 in torchvision's folder ``cifar-100-python``, by torchvision."""

from __future__ import annotations

from torchvision.datasets import CIFAR100

from study.data.formats.cifar10 import read_cifar
from study.data.images import ImageSet
from study.data.sources import Source

FORMAT = {
    "marks": ["cifar-100-python"],
    "sets": {"cifar100": [".", "cifar100"]},
    "splits": {"outliers": "train", "ood_val": "train", "ood_test": "test"},
}


def read(source: Source) -> ImageSet:
    """Read a split, with the 100 fine classes; see `read_cifar`."""
    return read_cifar(source, CIFAR100)
