"""Files of weights that a space names: looked at before any data is read, and told where unfit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from study.bases.needed import base_spec
from study.data.plan import DEFAULT_SIZE
from study.errors import BadInput, Fault, gathered
from study.models.checkpoints import is_average
from study.models.names import Network
from study.models.pretrained import DoesNotFit, Pretrained, pretrained
from study.models.registry import build_classifier
from study.records.cache import cache_folder
from study.space.checks.bases import NO_FILES
from study.space.reading.sections import OWN_FLOOR
from study.space.reading.yamlfile import KeyPath, dotted
from study.space.study_spec import StudySpec
from study.training.starting import network_of
from study.watch.progress import Progress


def check_files(spec: StudySpec, progress: Progress) -> None:
    """Look at every file of weights that trials or bases start from; tell what is taken of it.

    Raises:
        BadInput: naming every one that cannot be read or is another network's, or lacks the
            trained head that the recipe needs.
    """
    faults: list[Fault] = []
    for path, init, backbones, network in _named(spec):
        for backbone in backbones:
            with gathered(faults):
                with usable(spec, path, init):
                    found = _looked_at(spec, init, backbone, network)
                _tell(progress, backbone, init, found)
                if path == ("model", "init") and not found.heads:
                    faults += _needing_a_head(spec, init)
    if faults:
        raise BadInput(faults)


def _needing_a_head(spec: StudySpec, init: str) -> Iterator[Fault]:
    """What a study asks of a classifier's head, where its file of weights has none."""
    rule = "this file has no head on the features that the network here gives"
    need, floor = spec.params.needs_head, spec.select.floor
    if need is not None:
        place, line = spec.places.of(("model", "init"))
        yield Fault(place, "model.init", f"{need.why}, and {rule}", need.way_out, init, line)
    elif spec.base is None and floor is not None and floor.kind == "below_base":
        place, line = spec.places.of(("select", "floor"))
        told = f"below_base needs a classifier as its reference, and {rule}"
        yield Fault(place, "select.floor", told, OWN_FLOOR, floor.plain(), line)


def _tell(progress: Progress, backbone: str, file: str, found: Pretrained) -> None:
    """Which of a file's networks is taken, and what of it is not."""
    told, layout = found.loaded, found.loaded.layout or "the top"
    if told.layout:
        progress.note(f"{backbone}: from {layout} of {file}")
    if told.copies:
        kind = " (a moving average)" if is_average(told.layout) else ""
        others = ", ".join(one or "the top" for one in told.copies)
        progress.warning(
            f"{file} holds several networks: taken is {layout}{kind}, and not {others}; "
            "model.weights_key names another"
        )
    if told.tensors:
        progress.warning(f"{backbone}: not taken from {file}: {', '.join(told.tensors)}")


def _named(spec: StudySpec) -> Iterator[tuple[KeyPath, str, list[str], Network]]:
    """Every file: where it is named, its path, and the networks that it is to fit."""
    model = network_of(spec.model.model_dump())
    if spec.model.init not in NO_FILES:
        backbones = list(dict.fromkeys(map(str, spec.values_of("model.backbone"))))
        yield ("model", "init"), spec.model.init, backbones, model
    if spec.base is None:
        return
    own: list[tuple[str, KeyPath]] = [(spec.base.init, ("base", "init"))]
    given = spec.ablate.set_at("base.init") if spec.ablate is not None else []
    for init, path in {**dict(own), **{str(value): place for value, place in given}}.items():
        if init not in NO_FILES:
            yield path, init, [base_spec(spec).backbone], model


def _looked_at(spec: StudySpec, init: str, backbone: str, network: Network) -> Pretrained:
    model = build_classifier(
        backbone, 2, image_size=spec.data.image_size or DEFAULT_SIZE, seed=0, network=network
    )
    return pretrained(backbone, model, Path(init), spec.model.weights_key)


@contextmanager
def usable(spec: StudySpec, path: KeyPath, init: str) -> Iterator[None]:
    """Within, what is wrong with a file of weights becomes the fault of the key that names it.

    Every tensor that does not fit is listed in a file of the cache, which the message names.

    Raises:
        BadInput: with that fault.
    """
    try:
        yield
    except (BadInput, ValueError) as error:
        place, line = spec.places.of(path)
        rule, way_out = f"no weights: {error}", ""
        if isinstance(error, BadInput):
            (fault,) = error.faults[:1]
            rule, way_out = f"{fault.place} {fault.rule}", fault.way_out
        if isinstance(error, DoesNotFit) and error.listing:
            rule += _listed_in(error.listing)
        raise BadInput(Fault(place, dotted(path), rule, way_out, init, line)) from error


def _listed_in(listing: str) -> str:
    """Write every tensor that does not fit beside, and say where; nothing where that fails."""
    name = f"{sha256(listing.encode()).hexdigest()[:16]}.txt"
    file = cache_folder() / "weights_that_do_not_fit" / name
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(listing)
        return f" (all {listing.count(chr(10))} are listed in {file})"
    return ""
