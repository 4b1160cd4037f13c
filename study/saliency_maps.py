"""Maps of a recorded trial on validation images: explained, measured, drawn, written."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from study.bases.saved_models import SavedModel, load_model
from study.counted import counted
from study.errors import BadInput, Fault, StudyFailed
from study.explain.choice import ChosenImages, choose_images
from study.explain.explanation import SIMILARITY, Explanation, explain
from study.explain.measure import Measurement, not_finite, table
from study.explain.options import MapOptions, Request
from study.explain.panel import draw_panel, save_panel
from study.explain.rows import ScoreTexts, rows_of
from study.explain.targets import PairLogit
from study.records.files import VAL_ID, write_json
from study.records.scores import ValidationScores
from study.terminal import visible
from study.validation_images import find_trial, load_scores, load_validation
from study.watch.progress_view import aligned

_ROWS = 8  # of a set's picture
_OVERVIEW = 2  # of each set in the overview; ID has as many as two sets


def run_saliency(request: Request) -> str:
    """Explain, measure, draw, write.

    Returns:
        The table, for stdout.

    Raises:
        BadInput: where run, trial or images cannot be used, or the method does not fit the model.
        StudyFailed: where the maps are not finite.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trial = find_trial(request.run, request.trial)
    scores = load_scores(request.run, trial)
    _say(f"{request.run.path}, trial {trial}: reading validation images")
    data = load_validation(request.run, scores)
    size = data.val_id.pixels.shape[1]
    saved = load_model(request.run, trial, data.num_classes, size)
    pair = PairLogit.of_state(saved.loss)
    model = saved.model.to(device).eval()
    options = MapOptions(method=request.method, seed=request.seed)
    sets = choose_images(data.val_id, data.ood, request.images, request.seed)
    explanations = {}
    for name, chosen in sets.items():
        _say(f"{name}: maps of {counted(len(chosen), 'image')} by {request.method}")
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
    told = "deletion in logits; intervals: bootstrap over sources"
    return "\n".join([*aligned(rows), told, last])


def _say(text: str) -> None:
    sys.stderr.write(f"{visible(text)}\n")
