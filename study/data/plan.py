"""Which source serves which role: decided before anything is read, printable, and recorded.

Test sources are kept sealed: a plan can name them, compare them and write them down, but has no
way to read them. :mod:`study.data.test_access` is the only opener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from study.data import demo
from study.data.catalogue import (
    ROLES,
    RootListing,
    beside_splits,
    list_root,
    loose_pictures,
    resolve,
    unused,
)
from study.data.class_names import checked_ood_set
from study.data.classes import like, names_of, with_classes
from study.data.contradictions import contradictions
from study.data.file_formats import own_size, read_source, suffixes
from study.data.id_choice import DATA_CHOICES, choose_id
from study.data.images import ImageSet, concatenate
from study.data.kept import keep_part
from study.data.openood import OPENOOD, absent_tests, openood_listing
from study.data.roles import (
    OODValidation,
    Outliers,
    StudyData,
    TrainID,
    ValidationID,
    given_validation,
    split_validation,
)
from study.data.section import DataSection, HoldOut
from study.data.sources import DEMO, SYNTHETIC, Source
from study.data.synthetic import VALIDATION_NAMES, make_synthetic
from study.data.walk import told_left_out
from study.errors import BadInput, Fault, gathered
from study.records.files import TEST_ID, VAL_ID

DEFAULT_ROOT = Path("data")
DEFAULT_SIZE = 32  # pixels, where the ID set has none of its own
VAL_FRACTION = 0.1  # of the training images, where nothing else is said
NUM_SYNTHETIC = 1000  # images a synthetic validation set has at most
_SYNTHETIC_NOTE = (
    "There is no OOD validation set: synthetic sets, made from validation ID images, stand in."
)
_HELD_OUT_NOTE = (
    "Held-out classes of the ID set are near-OOD: near_val has the training images of its "
    "classes, near_test the test images of its own; their other images are in no role."
)
_FRACTION_NOTE = (
    "data.val_fraction is not used: the ID set has validation images of its own, and all of its "
    "training images are trained on."
)
_OWN_WORDS = (VAL_ID, TEST_ID, "mean")  # what tables call the ID images, and all sets together
_NO_TEST_NOTE = "There is no OOD test set, so there will be no final test."


@dataclass(frozen=True)
class SealedSource:
    """A test source that can be named, but not read; ``description`` is Source.to_json's."""

    name: str
    description: Mapping[str, Any]

    @classmethod
    def seal(cls, source: Source) -> SealedSource:
        """Hide a source's reader from whoever holds the plan."""
        return cls(source.name, MappingProxyType(source.to_json()))

    def __reduce__(self) -> tuple[Callable[..., SealedSource], tuple[str, dict[str, Any]]]:
        """Mapping proxies do not pickle."""
        return SealedSource, (self.name, dict(self.description))


@dataclass(frozen=True)
class DataPlan:
    """Sources by role.

    Attributes:
        id: ID training images; validation ID is cut from them.
        outliers: auxiliary outliers, one or several; empty where there are none.
        ood_val: OOD validation sets by name.
        test_id: ID test images, sealed.
        ood_test: OOD test sets by name, sealed; may be empty.
        demo: whether ID is the embedded demo.
        notes: what a reader of the numbers must know, loudest first.
        outlier_id_classes: "refuse", "filter" or "tell": what becomes of ID classes in labelled
            OOD sets.
        val_id: ID validation images where they are not cut from the training images.
        classes: names of the ID classes by label, once the training images were read.
    """

    id: Source
    outliers: tuple[Source, ...]
    ood_val: dict[str, Source]
    test_id: SealedSource
    ood_test: dict[str, SealedSource]
    demo: bool
    notes: tuple[str, ...] = ()
    outlier_id_classes: str = "refuse"
    val_id: Source | None = None
    classes: tuple[str, ...] = ()

    def table(self) -> list[dict[str, str]]:
        """The roles as rows of role, set, reader and location, for printing."""
        role = "train ID" if self.val_id else "train ID + validation ID"
        rows = [_row(role, self.id.to_json())]
        rows += [_row("validation ID", self.val_id.to_json())] if self.val_id else []
        rows += [_row("outliers", source.to_json()) for source in self.outliers]
        rows += [_row("OOD validation", source.to_json()) for source in self.ood_val.values()]
        rows.append(_row("ID test (sealed)", self.test_id.description))
        rows += [_row("OOD test (sealed)", seal.description) for seal in self.ood_test.values()]
        return rows

    def load_study(self, section: DataSection) -> StudyData:
        """Read everything but the test roles.

        Raises:
            BadInput: with the faults of all sets that cannot be used.
        """
        own: _ReadID | None = None
        notes, faults = list(self.notes), list[Fault]()
        with gathered(faults):
            own = self._read_id(section)
        sets, told, wrong = self._read_ood_sets(section, own)
        faults += wrong
        if faults or own is None:
            raise BadInput(faults)
        train, val_id = own.train, own.val_id
        outliers, ood_val = sets["outliers"], sets["ood_val"]
        shown, kept = OODValidation({images.name: images for images in ood_val}), None
        if section.confirm_fraction:
            val_id, shown, kept = keep_part(
                val_id.images,
                shown.sets,
                section.confirm_fraction,
                section.split_seed,
                {
                    source.name: partial(_read_ood, source)
                    for source in self.ood_val.values()
                    if source.reader == SYNTHETIC
                },
            )
        every = [*own.read, *outliers, *ood_val]
        notes += [*own.notes, *contradictions(own.read), *told]
        notes += [*left_out_notes(every), *alike_notes(every)]
        notes += _codec_notes(every)
        return StudyData(
            train,
            val_id,
            Outliers(concatenate("outliers", outliers)) if outliers else None,
            shown,
            len(own.classes),
            self.demo,
            tuple(notes),
            kept,
        )

    def _read_id(self, section: DataSection) -> _ReadID:
        """Train and validation ID, of the same classes."""
        images, notes = with_classes(read_source(self.id))
        classes = names_of(images)
        if self.val_id is None:
            share = section.val_fraction or (demo.VAL_FRACTION if self.demo else VAL_FRACTION)
            train, val_id = split_validation(images, share, section.split_seed)
            return _ReadID(train, val_id, classes, [images], notes)
        if section.val_fraction is not None:
            notes.append(_FRACTION_NOTE)
        validation, told = like(read_source(self.val_id), classes, images.name)
        train, val_id = given_validation(images, validation)
        return _ReadID(train, val_id, classes, [images, validation], [*notes, *told])

    def _read_ood_sets(
        self, section: DataSection, own: _ReadID | None
    ) -> tuple[dict[str, list[ImageSet]], list[str], list[Fault]]:
        """The sets of the roles outliers and ood_val, notes on what was filtered, and faults."""
        wanted = {"outliers": self.outliers, "ood_val": tuple(self.ood_val.values())}
        sets: dict[str, list[ImageSet]] = {role: [] for role in wanted}
        notes: list[str] = []
        faults: list[Fault] = []
        policy = self.outlier_id_classes
        for role, source in [(role, each) for role, group in wanted.items() for each in group]:
            if own is None and source.reader == SYNTHETIC:
                continue  # made from ID images, whose own fault is told
            with gathered(faults):
                if own is None:
                    read_source(source)
                    continue
                images = _read_ood(source, own.val_id.images, section.split_seed)
                images, note = checked_ood_source(
                    source, images, own.train.images.classes, role, policy
                )
                sets[role].append(images)
                notes += [note] if note else []
        return sets, notes, faults

    def to_json(self) -> dict[str, Any]:
        """Plain form for the manifest, with whole paths; :meth:`from_json` is its inverse."""
        return {
            "id": _whole_path(self.id.to_json()),
            "outliers": [_whole_path(source.to_json()) for source in self.outliers],
            "ood_val": [_whole_path(source.to_json()) for source in self.ood_val.values()],
            "test_id": _whole_path(self.test_id.description),
            "ood_test": [_whole_path(one.description) for one in self.ood_test.values()],
            "demo": self.demo,
            "notes": list(self.notes),
            "outlier_id_classes": self.outlier_id_classes,
            **({"val_id": _whole_path(self.val_id.to_json())} if self.val_id else {}),
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> DataPlan:
        """The plan that :meth:`to_json` described, whatever the machine would choose by now.

        Raises:
            BadInput: for anything else.
        """
        try:
            sources = {role: [Source.from_json(item) for item in plain[role]] for role in ROLES}
            return cls(
                Source.from_json(plain["id"]),
                tuple(sources["outliers"]),
                {source.name: source for source in sources["ood_val"]},
                SealedSource.seal(Source.from_json(plain["test_id"])),
                {source.name: SealedSource.seal(source) for source in sources["ood_test"]},
                bool(plain["demo"]),
                tuple(plain["notes"]),
                str(plain["outlier_id_classes"]),
                Source.from_json(plain["val_id"]) if "val_id" in plain else None,
                tuple(plain.get("classes", ())),
            )
        except (KeyError, TypeError) as error:
            rule = f"is not a data plan of this program ({error!r})"
            raise BadInput(Fault("manifest", "data", rule)) from None


@dataclass(frozen=True, eq=False)
class _ReadID:
    """The ID sets of training: by role, names of their classes, as they were read, and notes."""

    train: TrainID
    val_id: ValidationID
    classes: tuple[str, ...]
    read: list[ImageSet]
    notes: list[str]


def checked_ood_source(
    source: Source, images: ImageSet, id_classes: Sequence[str], role: str, policy: str
) -> tuple[ImageSet, str | None]:
    """`checked_ood_set`, but for classes that were held out of the ID set: those are meant."""
    if source.only:
        return images, None
    return checked_ood_set(images, id_classes, f"data.{role}", policy)


def _whole_path(description: Mapping[str, Any]) -> dict[str, Any]:
    """A source's plain form that means the same from every working directory."""
    plain = dict(description)
    if plain["reader"] not in (DEMO, SYNTHETIC):
        plain["location"] = str(Path(plain["location"]).resolve())
    return plain


def make_plan(section: DataSection, data: str = "auto", data_root: Path | None = None) -> DataPlan:
    """Decide where each role's images come from; nothing is read or downloaded yet.

    ``--data`` wins over ``data.id`` where that is auto, cifar10 or demo. ``auto`` takes CIFAR-10
    where it is on disk, downloads it only where there is a GPU and its source answers a probe
    within 5 s, and else takes the embedded demo and says so.

    Args:
        section: the space's ``data:``.
        data: ``--data``: auto, demo, cifar10 or openood.
        data_root: ``--data-root``; by default ``data`` in the working directory.

    Raises:
        BadInput: with every fault that was found.
    """
    root = _checked_root(data, data_root)
    own, notes = choose_id(section, data, root, root_given=data_root is not None)
    openood = OPENOOD in ((data,) if data != "auto" else (section.id,))
    listing = openood_listing(root) if openood else list_root(root)
    notes += absent_tests(listing) if openood else []
    is_demo = own["train"].reader == DEMO
    roles, faults = _choose_roles(section, is_demo, root, listing)
    if section.hold_out is not None:
        own = _hold_out(section.hold_out, own, roles)
        notes.append(_HELD_OUT_NOTE)
    if not roles["ood_val"]:
        roles["ood_val"] = [Source(name, SYNTHETIC, name) for name in VALIDATION_NAMES]
        notes.append(_SYNTHETIC_NOTE)
    trained = [own[split] for split in ("train", "val") if split in own]
    faults += _clashes({"id": trained, **roles, "id_test": [own["test"]]})
    if faults:
        raise BadInput(faults)
    used = [one.location for group in (own.values(), *roles.values()) for one in group]
    if not is_demo:
        notes += _root_notes(listing, loose_pictures(root), unused(root, used))
        if beside := ", ".join(beside_splits(own)):
            told = f"The ID folder also holds what is no split and is not used: {beside}."
            notes.append(f"{told} Splits are train, val and test.")
    notes += [] if roles["ood_test"] else [_NO_TEST_NOTE]

    def sized(source: Source) -> Source:
        """The source with the study's one rule of sizes and colours."""
        grey = source.grey or section.grey == "rgb"
        size = section.image_size or DEFAULT_SIZE
        return replace(source, image_size=size, enlarge=section.enlarge, grey=grey)

    roles = {role: [sized(source) for source in sources] for role, sources in roles.items()}
    own = {split: sized(source) for split, source in own.items()}
    return DataPlan(
        own["train"],
        tuple(roles["outliers"]),
        {source.name: source for source in roles["ood_val"]},
        SealedSource.seal(own["test"]),
        {source.name: SealedSource.seal(source) for source in roles["ood_test"]},
        is_demo,
        tuple(notes),
        _policy(section, published=openood),
        own.get("val"),
    )


def _hold_out(
    held_out: HoldOut, own: dict[str, Source], roles: dict[str, list[Source]]
) -> dict[str, Source]:
    """The ID sources without the classes that are held out, whose sets join ``roles``."""
    for role, name, split, classes in (
        ("ood_val", "near_val", "train", held_out.near_val),
        ("ood_test", "near_test", "test", held_out.near_test),
    ):
        if classes:
            roles[role].append(replace(own[split], name=name, only=classes))
    return {split: replace(source, without=held_out.classes) for split, source in own.items()}


def size_of_id(
    section: DataSection, data: str = "auto", data_root: Path | None = None
) -> tuple[int, str]:
    """The images' size where the space says none, and where it comes from.

    Args:
        section: the space's ``data:``.
        data: as in `make_plan`.
        data_root: likewise.

    Raises:
        BadInput: where there is no ID set, or its files cannot be read.
    """
    root = _checked_root(data, data_root)
    own, _ = choose_id(section, data, root, root_given=data_root is not None)
    source = own["train"]
    if source.reader == DEMO or source.shorter_side or source.download:
        return DEFAULT_SIZE, "its images are brought to it"
    size = own_size(source)
    if size is None:
        return DEFAULT_SIZE, f"the images of '{source.name}' are no squares of one size"
    return size, f"that of the images of '{source.name}'"


def _policy(section: DataSection, *, published: bool) -> str:
    """What becomes of ID classes in OOD sets; a published protocol's are told, and kept."""
    asked = not published or "outlier_id_classes" in section.model_fields_set
    return section.outlier_id_classes if asked else "tell"


def missing_outliers(recipe: str) -> Fault:
    """The fault of a recipe that needs outliers on data that has none, with the ways to some."""
    rule = f"recipe '{recipe}' needs auxiliary outliers and there are none"
    way_out = (
        "Put a set (.parquet, .npy or a folder of pictures) at DIR/outliers/<name>_train and "
        "give --data-root DIR; or list names or paths in data.outliers "
        "(300k_random_images, places365, a path); or try --data demo, which has its own."
    )
    return Fault("data.outliers", "", rule, way_out)


def _checked_root(data: str, data_root: Path | None) -> Path:
    if data_root is not None and not data_root.is_dir():
        raise BadInput(
            Fault("--data-root", "", "is not a folder", "Check the path.", str(data_root))
        )
    if data not in DATA_CHOICES:
        rule = f"must be one of {', '.join(DATA_CHOICES)}"
        raise BadInput(Fault("--data", "", rule, value=data))
    return data_root or DEFAULT_ROOT


def _choose_roles(
    section: DataSection, is_demo: bool, root: Path, listing: RootListing
) -> tuple[dict[str, list[Source]], list[Fault]]:
    """The sources of each OOD role, and what is wrong with the names given."""
    roles: dict[str, list[Source]] = {}
    faults: list[Fault] = []
    for role in ROLES:
        asked: str | list[str] = getattr(section, role)
        if asked == "auto" and is_demo:
            roles[role] = [Source(name, DEMO, name) for name in demo.ROLE_SETS[role]]
        elif asked == "auto":
            roles[role] = listing.sets[role]
        else:
            items = [asked] if isinstance(asked, str) else asked
            found = [resolve(item, role, root, listing) for item in items]
            faults += [each for each in found if isinstance(each, Fault)]
            roles[role] = [each for each in found if isinstance(each, Source)]
    return roles, faults


def _clashes(roles: dict[str, list[Source]]) -> list[Fault]:
    """Sets whose images stand in two roles or twice in one, and two of one name in a role.

    Sets of one name in two roles are two sets where their files are: ood_val/flowers and
    ood_test/flowers.
    """
    placed = [(role, source) for role, sources in roles.items() for source in sources]
    way_out = "Give its file or folder another name."
    faults = [
        Fault(f"data.{role}", "", f"'{source.name}' is a word of the records' own", way_out)
        for role, source in placed
        if role in ROLES and source.name in _OWN_WORDS
    ]
    for index, (role, source) in enumerate(placed):
        for other_role, other in placed[index + 1 :]:
            alike = other_role == role and source.name == other.name
            if not alike and not source.shares_images(other):
                continue
            other_place = "the ID test set" if other_role == "id_test" else f"in data.{other_role}"
            place, rule = f"data.{role}", f"'{source.name}' is also {other_place}"
            if other_role == role:
                rule = f"'{source.name}' is named twice"
            elif role == "ood_val" and other_role in ("ood_test", "id_test"):
                rule += "; tuning on a test set invalidates the result"
            elif role != "ood_test" and other_role in ("ood_test", "id_test"):
                rule += "; training on a test set invalidates the result"
            else:
                rule += "; each role needs images of its own"
            way_out = "Pick another validation set." if role == "ood_val" else "Pick another set."
            faults.append(Fault(place, "", rule, way_out))
    return faults


def _root_notes(listing: RootListing, loose: list[str], other: list[str]) -> list[str]:
    notes = [
        f"{entry} has no role (its name ends neither in _train nor in _val) and is not used."
        for entry in listing.left_out
    ]
    known = ", ".join(suffixes())
    notes += [
        f"{entry} is of no format that is known ({known}, or a folder) and is not used."
        for entry in listing.unknown
    ]
    notes += [
        f"{role}/ holds pictures outside any sub-folder; they are not used." for role in loose
    ]
    told = f"The data root also holds what has no role and is not used: {', '.join(other)}."
    return notes + ([told] if other else [])


def left_out_notes(sets: Sequence[ImageSet]) -> list[str]:
    """What readers left out beside the images, a line a set."""
    return [
        f"'{images.name}': left out: {told_left_out(images.left_out)}."
        for images in sets
        if images.left_out
    ]


def alike_notes(sets: Iterable[ImageSet]) -> list[str]:
    """A warning for sets that are one under several names."""
    names: dict[str, list[str]] = {}
    for images in sets:
        names.setdefault(images.fingerprint, []).append(f"'{images.name}'")
    return [
        f"{' and '.join(alike)} hold the same images, which count twice in what is over all sets."
        for alike in names.values()
        if len(alike) > 1
    ]


def _read_ood(source: Source, val_id: ImageSet, seed: int) -> ImageSet:
    if source.reader == SYNTHETIC:
        return make_synthetic(source.location, val_id, seed, min(NUM_SYNTHETIC, len(val_id)))
    return read_source(source)


def _codec_notes(sets: Sequence[ImageSet]) -> list[str]:
    """A warning where sets can be told apart by how their files were encoded."""
    codecs: dict[str, list[str]] = {}
    for images in sets:
        if images.codec != "rendered":
            codecs.setdefault(images.codec, []).append(images.name)
    if len(codecs) < 2:
        return []
    told = "; ".join(f"{codec}: {', '.join(names)}" for codec, names in codecs.items())
    return [f"Sets differ in their encoding ({told}): a detector can learn the codec."]


def _row(role: str, description: Mapping[str, Any]) -> dict[str, str]:
    split = f" ({description['split']})" if description["split"] else ""
    return {
        "role": role,
        "set": description["name"],
        "reader": description["reader"],
        "location": f"{description['location']}{split}",
    }
