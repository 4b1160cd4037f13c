"""What class names mean: WordNet's physical things, by ImageNet's ids and by their words.

WordNet 3.0 (Fellbaum 1998; Princeton University, licence beside the table) is what ImageNet's
classes are ids of. ``benchmarks/wordnet_nouns.py`` makes the table.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parent / "wordnet" / "nouns.tsv.xz"
_ID = re.compile(r"n(\d{8})(?:$|[_\-. ])")


@dataclass(frozen=True)
class Nouns:
    """The table.

    Attributes:
        parents: by id (eight digits), what a thing is a kind of.
        senses: a word by its letters and digits alone -> the ids that it names, the most common
            first.
        imagenet: the ids of ImageNet-1k's classes.
    """

    parents: Mapping[str, tuple[str, ...]]
    senses: Mapping[str, tuple[str, ...]]
    imagenet: frozenset[str]

    def meant(self, name: str) -> tuple[str, ...]:
        """The things that a class name may mean; none where it is not known.

        An id at its beginning tells (``n01440764``, ``n01440764_tench``). A word that ImageNet
        has as a class means that; any other its most common sense. Of several names between
        commas the first that is known counts.
        """
        marked = _ID.match(name.strip())
        if marked and marked[1] in self.parents:
            return (marked[1],)
        for variant in re.sub(r"^n\d{8}[_\- ]", "", name.strip()).split(","):
            for form in forms(variant):
                if found := self.senses.get(form):
                    classes = tuple(one for one in found if one in self.imagenet)
                    return classes or found[:1]
        return ()


def forms(name: str) -> list[str]:
    """A name by its letters and digits alone, and without the ends of a plural."""
    plain = re.sub(r"[\W_]+", "", name.lower())
    cut = [plain.removesuffix(end) for end in ("s", "es") if plain.endswith(end)]
    cut += [f"{plain.removesuffix('ies')}y"] if plain.endswith("ies") else []
    return [plain, *(one for one in cut if len(one) > 1 and not one.endswith("s"))]


@cache
def above(one: str) -> frozenset[str]:
    """A thing, by its id, and all that it is a kind of."""
    return frozenset({one}).union(*map(above, nouns().parents.get(one, ())))


@cache
def nouns() -> Nouns:
    """The table, read once: a tenth of a second."""
    parents: dict[str, tuple[str, ...]] = {}
    classes: set[str] = set()
    ranked: dict[str, list[tuple[int, str]]] = {}
    for line in lzma.decompress(_TABLE.read_bytes()).decode().splitlines():
        mark, above, words = line.split("\t")
        one = mark.removesuffix("*")
        parents[one] = tuple(above.split())
        if mark != one:
            classes.add(one)
        for word in words.split(","):
            bare, _, rank = word.partition("#")
            ranked.setdefault(forms(bare)[0], []).append((int(rank or 1), one))
    senses = {word: tuple(one for _, one in sorted(found)) for word, found in ranked.items()}
    return Nouns(parents, senses, frozenset(classes))
