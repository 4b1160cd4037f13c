"""Saliency maps of a trial: ``python -m study.saliency RUN TRIAL --out DIR``.

Writes pictures (PNG) and numbers (saliency.json) about validation images, prints a table to
stdout and all else to stderr. Test sets are never opened. Exit codes: 0 done, 1 the maps cannot
be used, 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import BadInput, Fault, StudyFailed
from study.explain.options import CHECKS, METHODS, MapOptions
from study.records.files import VAL_ID, RunFolder, write_json

if TYPE_CHECKING:
    from study.bases.saved_models import SavedModel
    from study.explain.choice import ChosenImages
    from study.explain.explanation import Explanation
    from study.explain.rows import ScoreTexts
    from study.explain.targets import PairLogit
    from study.records.files import ValidationScores

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_ROWS = 8  # of a set's picture
_OVERVIEW = 2  # of each set in the overview; ID has as many as two sets


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        run: the run's folder.
        trial: id, "winner" or "base".
        out: folder for pictures and numbers.
        method: of the maps.
        images: of each set.
        seed: of choices and draws.
        checks: of ``CHECKS``.
    """

    run: RunFolder
    trial: str
    out: Path
    method: str
    images: int
    seed: int
    checks: tuple[str, ...]


def parse(argv: Sequence[str]) -> Request:
    """The command line as a request.

    Raises:
        BadInput: with every fault of the values; unknown options end the program, exit 2.
    """
    parser = argparse.ArgumentParser(
        prog="python -m study.saliency",
        description="Saliency maps of a trial on validation images: pictures, and numbers that "
        "check them.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="the run's folder")
    parser.add_argument("trial", metavar="TRIAL", help="a trial's id, winner, or base")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="for what is made")
    parser.add_argument("--method", default=METHODS[0], help=f"{', '.join(METHODS)}; the first")
    parser.add_argument("--images", metavar="N", default="24", help="of each set; default 24")
    parser.add_argument("--seed", metavar="N", default="0", help="of choices and draws; default 0")
    parser.add_argument(
        "--checks", metavar="LIST", default="all", help=f"all, none, or of {','.join(CHECKS)}"
    )
    return _checked(parser.parse_args(argv))


def _checked(given: argparse.Namespace) -> Request:
    faults = []
    if given.method not in METHODS:
        rule = f"must be one of {', '.join(METHODS)}"
        faults.append(Fault("--method", "", rule, value=given.method))
    for name, least in (("images", 1), ("seed", 0)):
        text = getattr(given, name)
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            rule = f"must be a whole number of at least {least}"
            faults.append(Fault(f"--{name}", "", rule, value=text))
    named = {"all": CHECKS, "none": ()}.get(given.checks)
    checks = tuple(given.checks.split(",")) if named is None else named
    for unknown in [check for check in checks if check not in CHECKS]:
        rule = f"must be all, none, or some of {', '.join(CHECKS)}, with commas between"
        faults.append(Fault("--checks", "", rule, value=unknown))
    if given.out.exists() and not given.out.is_dir():
        rule = "is a file, not a folder"
        faults.append(Fault("--out", "", rule, "Choose another --out.", str(given.out)))
    if faults:
        raise BadInput(faults)
    return Request(
        RunFolder(given.run),
        given.trial,
        given.out,
        given.method,
        int(given.images),
        int(given.seed),
        checks,
    )


def run_saliency(request: Request) -> str:
    """Explain, measure, draw, write.

    Returns:
        The table, for stdout.

    Raises:
        BadInput: where run, trial or images cannot be used, or the method does not fit the model.
        StudyFailed: where the maps are not finite.
    """
    import torch

    from study import validation_images as loading
    from study.bases.saved_models import load_model
    from study.explain.choice import choose_images
    from study.explain.explanation import explain
    from study.explain.measure import Measurement, not_finite, table
    from study.explain.targets import PairLogit

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trial = loading.find_trial(request.run, request.trial)
    scores = loading.load_scores(request.run, trial)
    _say(f"{request.run.path}, trial {trial}: reading validation images")
    data = loading.load_validation(request.run, scores)
    size = data.val_id.pixels.shape[1]
    saved = load_model(request.run, trial, data.num_classes, size)
    pair = PairLogit.of_state(saved.loss)
    model = saved.model.to(device).eval()
    options = MapOptions(method=request.method, seed=request.seed)  # type: ignore[arg-type]
    sets = choose_images(data.val_id, data.ood, request.images, request.seed)
    explanations = {}
    for name, chosen in sets.items():
        _say(f"{name}: maps of {len(chosen)} images by {request.method}")
        try:
            explanations[name] = explain(model, chosen, options, device, pair)
        except ValueError as error:
            raise BadInput(Fault("--method", "", str(error), value=request.method)) from error
    if broken := not_finite(explanations):
        raise StudyFailed(f"maps of {', '.join(broken)} are not finite")
    _draw(request, saved, pair, sets, explanations, _score_texts(saved, scores))
    _say(f"checks: {', '.join(request.checks) or 'none'}")
    measurement = Measurement(model, options, pair, request.seed, device)
    numbers = measurement.of_sets(sets, explanations, request.checks)
    told = _facts(request, trial, saved, pair, sets)
    told |= {"options": asdict(options), "numbers": numbers}
    write_json(request.out / "saliency.json", told)
    return _as_text(table(numbers), request.out)


def _facts(
    request: Request,
    trial: str,
    saved: SavedModel,
    pair: PairLogit | None,
    sets: Mapping[str, ChosenImages],
) -> dict[str, Any]:
    """What the numbers are of."""
    return {
        "run": str(request.run.path),
        "trial": trial,
        "recipe": saved.recipe_name,
        "epoch": saved.epoch,
        "seed": request.seed,
        "similarity": None if pair is None else asdict(pair),
        "images": {
            name: [image.decode() for image in chosen.images.ids.tolist()]
            for name, chosen in sets.items()
        },
    }


def _score_texts(saved: SavedModel, scores: ValidationScores | None) -> ScoreTexts | None:
    from study.explain.rows import ScoreTexts

    if scores is None:
        return None
    epoch = saved.epoch if saved.epoch is not None else int(scores.epochs[-1])
    return ScoreTexts.of(scores.sets, saved.recipe.own_score, scores.at(epoch))


def _draw(
    request: Request,
    saved: SavedModel,
    pair: PairLogit | None,
    sets: Mapping[str, ChosenImages],
    explanations: Mapping[str, Explanation],
    scores: ScoreTexts | None,
) -> None:
    """A picture of each set, and the overview of all."""
    from study.explain.explanation import SIMILARITY
    from study.explain.panel import draw_panel, save_panel
    from study.explain.rows import rows_of

    overview = []
    for name, chosen in sets.items():
        rows = rows_of(chosen.first(_ROWS), explanations[name], scores)
        overview += rows[: 2 * _OVERVIEW if name == VAL_ID else _OVERVIEW]
        path = request.out / f"panel_{name}.png"
        save_panel(draw_panel(rows, method=request.method), path)
        _say(f"wrote {path}")
    path = request.out / "panel.png"
    save_panel(draw_panel(overview, method=request.method), path)
    _say(f"wrote {path}")
    if SIMILARITY not in explanations[VAL_ID].maps:
        _say(f"recipe {saved.recipe_name} has no upper branch: maps of the classification only")
    elif pair is None:
        _say("the weights do not tell the similarity's s and b: its logit is taken as -cos")


def _as_text(rows: Sequence[tuple[str, ...]], out: Path) -> str:
    last = f"numbers: {out / 'saliency.json'}; pictures: {out / 'panel.png'} and one of each set"
    if len(rows) < 2:
        return last
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "deletion in logits; intervals: bootstrap over sources", last])


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        text = run_saliency(parse(sys.argv[1:] if argv is None else argv))
    except BadInput as error:
        _say(str(error))
        return BAD_INPUT
    except StudyFailed as error:
        _say(f"No maps: {error}.")
        return FAILED
    except KeyboardInterrupt:
        _say("Interrupted.")
        return INTERRUPTED
    sys.stdout.write(f"{text}\n")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
