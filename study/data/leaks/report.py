"""What the leak check found and did: for the manifest, the terminal and the fault that stops."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from study.counted import counted
from study.data.images import ImageSet
from study.errors import Fault

Role = Literal[
    "outliers", "ood_val", "confirm_ood", "train", "val_id", "confirm_id", "id_test", "ood_test"
]
Kind = Literal["exact", "near", "group"]
Action = Literal["stop", "drop", "tell"]

# From the side that gives way first to the sides that never do.
ROLE_ORDER: tuple[Role, ...] = get_args(Role)
TEST_ROLES = frozenset({"id_test", "ood_test"})
FOLDER = "leaks"
"""Where a run's folder has pictures of pairs."""
_SEVERAL = frozenset({"ood_val", "confirm_ood", "ood_test"})
_TITLES: dict[Role, str] = {
    "outliers": "outliers",
    "ood_val": "OOD validation",
    "confirm_ood": "OOD kept for confirmation",
    "train": "train ID",
    "val_id": "validation ID",
    "confirm_id": "ID kept for confirmation",
    "id_test": "ID test",
    "ood_test": "OOD test",
}
_RELATIONS: dict[Kind, str] = {
    "exact": "exact copies of each other",
    "near": "near-duplicates",
    "group": "cut from the same source images",
}
_SHORT: dict[Kind, str] = {
    "exact": "exact copies", "near": "near-duplicates", "group": "same sources",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Member:
    """One set in its role."""

    role: Role
    images: ImageSet

    @property
    def key(self) -> str:
        """``role``, or ``role/set`` where a role has several sets (as in StudyData.sets)."""
        return f"{self.role}/{self.images.name}" if self.role in _SEVERAL else self.role

    @property
    def title(self) -> str:
        """The key in words."""
        name = f" '{self.images.name}'" if self.role in _SEVERAL else ""
        return f"{_TITLES[self.role]}{name}"


@dataclass(frozen=True)
class Collision:
    """What two sets share, by one kind.

    Attributes:
        weaker: key of the side that gives way where one does.
        stronger: key of the other side.
        kind: exact, near or group.
        num_weaker: images of the weaker side that collide.
        num_stronger: images of the stronger side that collide.
        action: what follows: stop, drop (from the weaker side) or tell.
        examples: up to three pairs of ids (for ``group``: group names), weaker side first.
        remark: what to know or do about it, for people; may be empty.
        titles: both sides in words.
        share_stronger: ``num_stronger`` as a fraction of that set.
        picture: the examples side by side; None where they could not be drawn.
    """

    weaker: str
    stronger: str
    kind: Kind
    num_weaker: int
    num_stronger: int
    action: Action
    examples: tuple[tuple[str, str], ...]
    remark: str
    titles: tuple[str, str]
    share_stronger: float
    picture: Path | None = None

    @property
    def picture_name(self) -> str:
        """Name of the picture in a run's folder."""
        return f"{self.weaker}_{self.stronger}_{self.kind}.png".replace("/", "_")

    def __str__(self) -> str:
        """One sentence."""
        examples = ", ".join(f"{first} = {second}" for first, second in self.examples)
        more = " and more" if self.num_weaker > len(self.examples) else ""
        sentence = (
            f"{self.titles[0]} ({counted(self.num_weaker, 'image')}) and {self.titles[1]} "
            f"({counted(self.num_stronger, 'image')}, {self.share_stronger:.1%}) are "
            f"{_RELATIONS[self.kind]}: {examples}{more}"
        )
        return f"{sentence}. {self.remark}" if self.remark else sentence

    @property
    def line(self) -> str:
        """The counts alone, for a terminal; the report has the examples and what to do."""
        what = (
            f"{self.num_weaker:,} of {self.titles[0]}, {self.num_stronger:,} of {self.titles[1]}"
        )
        done = {"tell": "kept", "drop": "dropped", "stop": "stopped"}[self.action]
        return f"{_SHORT[self.kind]}: {what} ({self.share_stronger:.1%}); {done}"

    def fault(self) -> Fault:
        """The collision as the fault that stops the study."""
        rule = str(self).removesuffix(f". {self.remark}")
        seen = f" (side by side in {self.picture})" if self.picture else ""
        return Fault("data", "leaks", f"{rule}{seen}", self.remark)


@dataclass(frozen=True)
class LeakReport:
    """The outcome of a leak check.

    Attributes:
        collisions: by pair of sets and kind; pairs that share nothing are not listed.
        num_images: images compared, by set.
        test_fingerprints: sha256 of each test set, "test_id" and the OOD sets by name: all that
            stays of the test images at set-up.
        dropped: images dropped, by set; sets that lost none are not listed.
        rule: when two images are near-duplicates, in words.
        time_s: duration of the comparison; with the reading of the test files where
            :func:`study.data.leaks.step.run_leak_check` made it.
    """

    collisions: tuple[Collision, ...]
    num_images: Mapping[str, int]
    dropped: Mapping[str, int] = field(default_factory=dict)
    rule: str = ""
    time_s: float = 0.0
    test_fingerprints: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain form for the manifest: collisions, num_images, dropped, rule, time_s."""
        hidden = ("titles", "examples", "picture")
        return {
            "collisions": [
                {name: value for name, value in asdict(found).items() if name not in hidden}
                | {"examples": [list(pair) for pair in found.examples]}
                | ({"picture": f"{FOLDER}/{found.picture_name}"} if found.picture else {})
                for found in self.collisions
            ],
            "num_images": dict(self.num_images),
            "dropped": dict(self.dropped),
            "rule": self.rule,
            "time_s": round(self.time_s, 2),
        }

    def copy_pictures(self, run: Path) -> None:
        """Put the pictures of pairs into a run's folder, under ``leaks``."""
        for found in self.collisions:
            if found.picture is not None and found.picture.exists():
                (run / FOLDER).mkdir(exist_ok=True)
                shutil.copyfile(found.picture, run / FOLDER / found.picture_name)

    def lines(self) -> list[str]:
        """For the terminal: a summary, then one line a collision and one a set that lost images.

        The summary counts leaks apart from what is only told.
        """
        total = sum(self.num_images.values())
        leaks = sum(found.action != "tell" for found in self.collisions)
        summary = (
            f"leak check: {total:,} images of {len(self.num_images)} sets in {self.time_s:.1f} s; "
            f"collisions handled: {leaks}, only told: {len(self.collisions) - leaks}"
        )
        lost = [f"  dropped from {k}: {counted(num, 'image')}" for k, num in self.dropped.items()]
        more = ["  the report shows them, and what to do"] if self.collisions else []
        return [summary, *(f"  {found.line}" for found in self.collisions), *lost, *more]
