"""Leak check: the same picture in two roles, found on pixels and on source groups.

Every two sets of different roles are compared (sets of one role are not). Three kinds of
collision:

- ``exact``: equal pixels, by BLAKE2b.
- ``near``: the same picture re-encoded, mirrored, turned by 90, 180 or 270 degrees, as its
  negative, shifted, brightened or slightly cropped, by
  `study.data.leaks.near_duplicates.Likeness`; exact copies but for a turn count here, exact
  copies do not.
- ``group``: crops of one source image on both sides. Only rows whose group differs from their id
  name a source; that two files have the same name says nothing.

What follows (``stop`` becomes ``drop`` with ``data.leaks: drop``):

====================================  ==================  =====================================
roles                                 kind                consequence
====================================  ==================  =====================================
any two                               exact, group        stop
outliers or OOD val x a test role     near                stop
train or val ID x ID test             near                told; ``data.id_near_duplicates: drop``
                                                          drops it from the training side
train x val ID                        near                the same
outliers x OOD val                    near                told; dropped with ``data.leaks: drop``:
                                                          it flatters the selection, not the test
any ID role x any OOD role            near                told, where no line above applies: a
                                                          question of labels, no leak
====================================  ==================  =====================================

CIFAR-10 has near-duplicates between train and test by nature (Barz & Denzler 2020 count 3.3 % of
the test images, by eye and with a wider notion); it may not have exact ones, lossless or as JPEG.
What is kept for confirmation counts as validation, and as another role than the rest of it: no
source may be on both sides, and near-duplicates between the two parts are told.

An OOD validation set made from validation ID images (every one of its groups is a group of theirs)
inherits their groups and their resemblances, so those are handled as the ID images' own.

Dropping removes the image from the weaker side, in the order outliers, OOD validation, train,
validation ID; nothing is ever dropped from a test role, so a collision between ID test and OOD
test stops in any case.

Measured by ``benchmarks/leak_rule.py`` on the 32x32 JPEG images of the development data (Clopper-
Pearson intervals, 95 %). False positives of the near-duplicate rule: 0 of 1,650,038,976 pairs of
sets that cannot share a picture (CIFAR-10 against crops of ImageNet images and textures; crops of
different source images), so a rate below 2.2e-9. Read it as an order of magnitude: crops of one
image are not independent, and the thresholds were chosen with these pairs in view (at the looser
correlation .8 and detail .5, without ``structure``, there were 2). Sets of more than 30,000,000
pairs were compared by cells there (``--parts pairs``). Planted copies found, of all 2,840
pictures of CIFAR-10, objects and textures, and of those with enough structure; 4.8 % (of
CIFAR-10's 0.5 %, of textures 13 %) have too little or vary in one direction alone, and are left to
the hashes:

===================================  ======  ============  ======  =============
alteration                              all  interval        with  interval
===================================  ======  ============  ======  =============
exact, mirror                        95.3 %  [94.4, 96.0]   100 %  [99.9, 100]
JPEG quality 75, mirror and it       95.2 %  [94.4, 96.0]  99.96 %  [99.8, 100]
JPEG quality 50                      92.2 %  [91.2, 93.2]  96.8 %  [96.1, 97.5]
brightness +-30 %, clipped           93.0 %  [92.0, 93.9]  97.7 %  [97.0, 98.2]
shift by 1 px                        94.8 %  [93.9, 95.7]  99.6 %  [99.2, 99.8]
shift by 2 px                        91.2 %  [90.1, 92.3]  95.8 %  [95.0, 96.5]
shift by 2 px, JPEG quality 75       89.2 %  [88.0, 90.3]  93.6 %  [92.6, 94.5]
crop of 30/32, resized               92.5 %  [91.5, 93.5]  97.2 %  [96.5, 97.8]
the same, JPEG quality 75            90.8 %  [89.7, 91.9]  95.3 %  [94.5, 96.1]
crop of 28/32, resized               58.9 %  [57.0, 60.7]  61.8 %  [60.0, 63.7]
quarter turn, JPEG quality 75        95.2 %  [94.3, 95.9]  99.9 %  [99.7, 100]
half turn, JPEG quality 75           95.2 %  [94.4, 96.0]  99.96 %  [99.8, 100]
upside down, negative, each and it   95.2 %  [94.4, 96.0]  99.96 %  [99.8, 100]
===================================  ======  ============  ======  =============

Exact, turned and negative copies of every picture are found by hash. Of CIFAR-10's 10,000 test
images 330 have a near-duplicate among a study's 45,000 training images. Pairs that share no
picture, in drawn, written and textured sets, are taken for copies as follows.

==================================================  ==========  =====  ==================
halves of                                                pairs  found  rate, interval
==================================================  ==========  =====  ==================
strokes on a plain ground                           16,000,000      0  [0, 2.3e-7]
letters, one family of fonts against another's      16,000,000     38  [1.7e-6, 3.3e-6]
crossed waves                                       16,000,000      1  [1.6e-9, 3.5e-7]
textures (seven of Describable Textures)               176,400      7  [1.6e-5, 8.2e-5]
digits written by hand, of 8x8 pixels                  807,300      0  [0, 4.6e-6]
==================================================  ==========  =====  ==================

300,000 outliers beside CIFAR-10 took 43 seconds (51 of CPU time), a million 135 (121), on two
cores that had other things to do (``--outliers N``). Of the proposals among all pairs cells find
86 to 88 % (objects_val and the test set, each against CIFAR-10's training images), of those whose
cosine is .8 or more 98.7 and 99.6 %, of .9 or more 99.5 and 100 % (``--parts cells``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from study.data.images import Pixels, picture_hashes
from study.data.leaks.known import keep, kept_at, read_kept
from study.data.leaks.near_duplicates import Likeness, describe, find_near_duplicates
from study.data.leaks.pictures import save_pairs
from study.data.leaks.proposals import Descriptors, Index, Mask
from study.data.leaks.report import (
    ROLE_ORDER,
    TEST_ROLES,
    Action,
    Collision,
    Kind,
    LeakReport,
    Member,
)
from study.data.leaks.turns import TURNS
from study.errors import BadInput

Keys = npt.NDArray[np.bytes_]

_MAX_EXAMPLES = 3
_CHUNK = 4096  # images whose colours are counted at once
_RULE = Likeness()
_NONE: Index = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class _Side:
    """A member with what its comparisons need, each found where one asks for it."""

    member: Member
    derived: bool

    @cached_property
    def hashes(self) -> Keys:
        """Of the pixels."""
        return picture_hashes(self.member.images.pixels)

    @cached_property
    def known(self) -> frozenset[bytes]:
        """All of the hashes."""
        return frozenset(self.hashes.tolist())

    @cached_property
    def colours(self) -> npt.NDArray[np.int64]:
        """Sums of red, green and blue of each image as one number, which no turn changes, (N,)."""
        pixels = self.member.images.pixels
        chunks = (pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK))
        return np.concatenate([_joined(_sums(one)) for one in chunks])

    @property
    def own_and_opposite(self) -> npt.NDArray[np.int64]:
        """The same of each image and of its negative, (N, 2)."""
        _, height, width, channels = self.member.images.pixels.shape
        white = _joined(np.full((1, channels), 255 * height * width))
        return np.stack([self.colours, white - self.colours], axis=1)

    def turned(self, rows: Index) -> Iterator[Keys]:
        """Hashes of these images in every turn but the first, (N,); empty of all others.

        Empty too where a turn gives the same picture, and for pictures of one colour: black is no
        negative of a white one.
        """
        pixels = self.member.images.pixels[rows]
        told = np.array([not (image == image[0, 0]).all() for image in pixels], dtype=bool)
        for turn in TURNS[1:]:
            keys = np.zeros(len(self.member.images), dtype=self.hashes.dtype)
            found = picture_hashes(turn.of(pixels[told]))
            keys[rows[told]] = np.where(found == self.hashes[rows[told]], b"", found)
            yield keys

    @cached_property
    def descriptors(self) -> Descriptors:
        """For near-duplicates."""
        return describe(self.member.images.pixels, _RULE)


@dataclass(frozen=True, eq=False)
class _Found:
    """Rows of both sides that collide, and pairs of row numbers as examples."""

    weaker: Index
    stronger: Index
    examples: list[tuple[int, int]]


def check_leaks(
    members: Sequence[Member],
    *,
    leaks: Literal["stop", "drop"] = "stop",
    id_near_duplicates: Literal["keep", "drop"] = "keep",
) -> tuple[LeakReport, dict[str, Mask]]:
    """Compare all sets of different roles.

    Args:
        members: the sets with their roles.
        leaks: whether a collision that stops does, or drops the image from the weaker side.
        id_near_duplicates: whether near-duplicates among the ID roles are kept or dropped.

    Returns:
        The report, and by key of the set the mask of images to drop, shape (N,).

    Raises:
        BadInput: naming every collision that stops the study.
    """
    started = time.perf_counter()
    ordered = sorted(members, key=lambda member: ROLE_ORDER.index(member.role))
    sides = [_Side(member, _is_derived(member, ordered)) for member in ordered]
    collisions: list[Collision] = []
    dropped: dict[str, Mask] = {}
    for weaker, stronger in combinations(sides, 2):
        if weaker.member.role == stronger.member.role:
            continue
        for kind, found in _compare(weaker, stronger).items():
            if not len(found.weaker):
                continue
            action, remark = _consequence(weaker, stronger, kind, leaks, id_near_duplicates)
            collisions.append(_collision(weaker, stronger, kind, found, (action, remark)))
            if action == "drop":
                size = len(weaker.member.images)
                mask = dropped.setdefault(weaker.member.key, np.zeros(size, dtype=bool))
                mask[found.weaker] = True
    faults = [collision.fault() for collision in collisions if collision.action == "stop"]
    if faults:
        raise BadInput(faults)
    report = LeakReport(
        tuple(collisions),
        {side.member.key: len(side.member.images) for side in sides},
        {key: int(mask.sum()) for key, mask in dropped.items()},
        str(_RULE),
        time.perf_counter() - started,
    )
    return report, dropped


def _is_derived(member: Member, members: Sequence[Member]) -> bool:
    """Whether an OOD validation set was made from validation ID images, of its own part."""
    own = {"ood_val": "val_id", "confirm_ood": "confirm_id"}.get(member.role)
    sources = [other.images.groups for other in members if other.role == own]
    if not sources:
        return False
    return bool(np.isin(member.images.groups, np.concatenate(sources)).all())


def _sums(pixels: Pixels) -> npt.NDArray[np.int64]:
    """Of red, green and blue over each image, (N, 3); exact."""
    num, height, width, _ = pixels.shape
    exact = np.float32 if 255 * height * width < 2**24 else np.float64
    chosen = np.tile(np.eye(3, dtype=exact), (height * width, 1))
    return (pixels.reshape(num, -1).astype(exact) @ chosen).astype(np.int64)


def _joined(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Three sums as one number, (N,); what wraps around is only a rarer coincidence."""
    joined: npt.NDArray[np.int64] = sums @ np.array([1 << 42, 1 << 21, 1])
    return joined


def _compare(weaker: _Side, stronger: _Side) -> dict[Kind, _Found]:
    """What two sides share by kind; what their pixels say is kept in the cache."""
    entry = kept_at(weaker.member.images, stronger.member.images, repr(_RULE))
    found = {kind: _Found(*parts) for kind, parts in read_kept(entry, ("exact", "near")).items()}
    if not found:
        exact = _shared(weaker.hashes, stronger.hashes, weaker.known & stronger.known)
        found = {"exact": exact, "near": _near(weaker, stronger)}
        keep(
            entry, {kind: (one.weaker, one.stronger, one.examples) for kind, one in found.items()}
        )
    group = _shared(*_sources(weaker.member, stronger.member))
    return {"exact": found["exact"], "near": found["near"], "group": group}


def _shared(weaker: Keys, stronger: Keys, common: frozenset[bytes] | None = None) -> _Found:
    """Rows whose keys the other side has too; an empty key matches nothing.

    ``common``: the keys of both, where they are at hand.
    """
    if common is None:
        common = frozenset(weaker.tolist()) & frozenset(stronger.tolist())
    common = common - {b""}
    keys = np.array(sorted(common), dtype=weaker.dtype)
    examples = [
        (int(np.argmax(weaker == key)), int(np.argmax(stronger == key)))
        for key in keys[:_MAX_EXAMPLES]
    ]
    if not examples:
        return _Found(_NONE, _NONE, [])
    in_weaker, in_stronger = np.isin(weaker, keys), np.isin(stronger, keys)
    return _Found(np.flatnonzero(in_weaker), np.flatnonzero(in_stronger), examples)


def _near(weaker: _Side, stronger: _Side) -> _Found:
    """Near-duplicates that are no exact copies; exact ones, turned, whatever their structure."""
    pairs = find_near_duplicates(
        weaker.member.images.pixels,
        stronger.member.images.pixels,
        _RULE,
        (weaker.descriptors, stronger.descriptors),
    )
    first, second = weaker.hashes[pairs.first], stronger.hashes[pairs.second]
    differ = first != second
    turned = _turned(weaker, stronger)
    examples = [(int(a), int(b)) for a, b in zip(pairs.first, pairs.second, strict=True)]
    examples = [pair for pair, kept in zip(examples, differ, strict=True) if kept]
    for one in turned:
        examples += one.examples
    return _Found(
        np.unique(np.concatenate([pairs.first[differ], *(one.weaker for one in turned)])),
        np.unique(np.concatenate([pairs.second[differ], *(one.stronger for one in turned)])),
        list(dict.fromkeys(examples))[:_MAX_EXAMPLES],
    )


def _turned(weaker: _Side, stronger: _Side) -> list[_Found]:
    """Exact copies but for a turn, turn by turn.

    Of the smaller set those are hashed, each way, whose colours are some picture's of the other.
    """
    smaller = len(weaker.member.images) <= len(stronger.member.images)
    few, many = (weaker, stronger) if smaller else (stronger, weaker)
    rows = np.flatnonzero(np.isin(few.own_and_opposite, many.colours).any(axis=1))
    found = []
    for keys in few.turned(rows) if len(rows) else ():
        common = many.known.intersection(keys.tolist())
        sides = (keys, many.hashes) if smaller else (many.hashes, keys)
        found.append(_shared(*sides, common))
    return found


def _sources(weaker: Member, stronger: Member) -> tuple[Keys, Keys]:
    """Source images by row; empty where a row names none.

    Outliers that were joined from several sets carry the set's name before the group's, which is
    taken away where that makes it a group of the other side.
    """
    first, second = (
        np.where(side.images.groups == side.images.ids, b"", side.images.groups)
        for side in (weaker, stronger)
    )
    if weaker.role == "outliers":
        bare = np.array([name.partition(b"/")[2] for name in first], dtype=first.dtype)
        first = np.where(np.isin(first, second) | ~np.isin(bare, second), first, bare)
    return first, second


def _consequence(
    weaker: _Side, stronger: _Side, kind: Kind, leaks: str, id_near: str
) -> tuple[Action, str]:
    """The table of the module's docstring: what follows, and a remark that says so."""
    roles = {weaker.member.role, stronger.member.role}
    title = weaker.member.title
    if roles <= TEST_ROLES and kind != "near":
        return "stop", "Mend the test sets: nothing is dropped from a test role."
    if kind == "group" and weaker.derived and stronger.member.role in ("val_id", "confirm_id"):
        return "tell", "The set is made from validation ID images."
    ood = {"outliers", "ood_val", "confirm_ood"}
    to_test = stronger.member.role in TEST_ROLES and bool(roles & ood)
    inherited = weaker.derived and stronger.member.role == "id_test"
    if kind != "near" or (to_test and not inherited):
        if leaks == "drop":
            return "drop", f"Dropped from {title}."
        remark = f"Take them out of {title}, or set data.leaks: drop, which leaves them out."
        return "stop", remark
    if inherited or roles <= {"train", "val_id", "confirm_id", "id_test"}:
        if id_near == "drop":
            return "drop", f"Dropped from {title}."
        return "tell", "Kept; data.id_near_duplicates: drop leaves them out of training."
    if roles <= ood:
        if leaks == "drop":
            return "drop", f"Dropped from {title}."
        what = "confirmation" if "confirm_ood" in roles else "selection"
        return "tell", f"Kept; they flatter the {what}, and data.leaks: drop leaves them out."
    return "tell", "Kept; their labels contradict each other."


def _collision(
    weaker: _Side, stronger: _Side, kind: Kind, found: _Found, outcome: tuple[Action, str]
) -> Collision:
    first, second = weaker.member.images, stronger.member.images
    names = (first.groups, second.groups) if kind == "group" else (first.ids, second.ids)
    examples = tuple(
        (names[0][row].decode(errors="replace"), names[1][column].decode(errors="replace"))
        for row, column in found.examples
    )
    picture = save_pairs(first.pixels, second.pixels, found.examples) if found.examples else None
    return Collision(
        weaker.member.key,
        stronger.member.key,
        kind,
        len(found.weaker),
        len(found.stronger),
        outcome[0],
        examples,
        outcome[1],
        (weaker.member.title, stronger.member.title),
        len(found.stronger) / len(second),
        picture,
    )
