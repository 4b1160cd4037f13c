"""Real trials recorded in full, for searches to be replayed on.

    python benchmarks/record_trials.py real --data-root ../shared/data --part 0

trains the random points 0 to 23 of ``search_tables/real.yaml`` to their end, with the project's
own recipe, data and training loop, and no scheduler; part 1 the next 24. Each part is a Parquet
file of its own beside the space, so that a table grows; one that was cut off goes on. The base is
the space's own: ``real.safetensors`` beside it, trained and written with the first part. So parts
that are recorded months apart, by another torch, start from the same weights; the column ``base``
must agree.

    python benchmarks/record_trials.py demo --trials 6 --set base.seed=1 --name demo-1 --out paths

records the same points from another base, or of another network, under a name of its own; what
`paths.py` judges.

A row is a state of one trial: an epoch (``alpha`` 1), or a point of the path from the base's
weights to those of the first or last epoch, base + alpha (tuned - base), BatchNorm's running
statistics likewise. The base itself is trial -1. Validation is cut into two halves by source
image; ``*_a`` and ``*_b`` are of the halves. ``*_noise`` are the same numbers on resamples of the
sources of half a, the same resamples in every row, so that differences between rows are paired.

Columns: base (hash of its weights), trial, epoch, alpha; every searched parameter by its dotted
name, and the margins in nats; accuracy, fpr95, auroc, each whole and as _a, _b and, for accuracy
and fpr95, _noise (a list of `NUM_RESAMPLES`); time_s (training and validation of the epoch).
Fractions, ID positive.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from study.bases.base_models import RecordedBase
from study.data.plan import make_plan
from study.errors import TrialFailed
from study.recipes.base import Recipe
from study.recipes.classifier import ClassifierRecipe
from study.recipes.params import TrialParams
from study.recipes.registry import make_recipe
from study.records.files import BASE, VAL_ID
from study.records.frozen import file_hash
from study.records.ledger import Ledger
from study.records.scores import SetScores
from study.scoring.measuring import ood_metric, resampled_metrics
from study.scoring.ranking import bootstrap_counts
from study.seeding import numpy_generator
from study.space.loading import load_space
from study.training.evaluation import Evaluation, evaluate
from study.training.linear import LinearTraining
from study.training.loop import Goal, train
from study.training.starting import tensors
from study.training.trial import fresh_model
from study.tune.decisions import Decisions
from study.tune.searching import search_plan
from study.tune.setup import CheckedStudy, Recorded, Setup, prepare, prepare_data
from study.watch.progress import Progress

TABLES = Path(__file__).resolve().parent / "search_tables"
PART = 24  # trials of a part: under an hour on one core of 2026
ALPHAS = (0.2, 0.4, 0.6, 0.8)
NUM_RESAMPLES = 64
CPU = torch.device("cpu")
Row = dict[str, Any]
State = Mapping[str, Tensor]


class Halves:
    """The images of one validation set by source: two halves, and resamples of the first."""

    def __init__(self, name: str, groups: NDArray[Any]) -> None:
        """Cut at random, by source and the set's name alone."""
        sources, self._source = np.unique(groups, return_inverse=True)
        order = numpy_generator(0, "halves", name).permutation(len(sources))
        in_a = np.isin(self._source, order[: len(sources) // 2])
        self.rows = {"a": np.flatnonzero(in_a), "b": np.flatnonzero(~in_a)}
        generator = numpy_generator(0, "noise", name)
        self.counts = bootstrap_counts(groups[self.rows["a"]], NUM_RESAMPLES, generator)


class Ruler:
    """Measures a state of a model on validation, whole, by halves and on resamples."""

    def __init__(self, score: str) -> None:
        """``score``: the recipe's own score."""
        self._score = score
        self._halves: dict[str, Halves] = {}

    def row(self, sets: Mapping[str, SetScores]) -> Row:
        """The numbers of a row; means over the OOD sets where there are several."""
        for name, one in sets.items():
            self._halves.setdefault(name, Halves(name, np.asarray(one.group)))
        id_, ood = sets[VAL_ID], {name: one for name, one in sets.items() if name != VAL_ID}
        right = (id_.prediction[-1] == id_.label).astype(np.float64)
        every = {name: np.arange(len(one.label)) for name, one in sets.items()}
        parts = {"": every} | {
            f"_{half}": {name: cut.rows[half] for name, cut in self._halves.items()}
            for half in ("a", "b")
        }
        row: Row = {}
        for suffix, rows in parts.items():
            row[f"accuracy{suffix}"] = float(right[rows[VAL_ID]].mean())
            pairs = [self._pair(id_, one, rows[VAL_ID], rows[name]) for name, one in ood.items()]
            counts = [
                (np.ones((1, len(a)), np.int64), np.ones((1, len(b)), np.int64)) for a, b in pairs
            ]
            fprs = [
                resampled_metrics(*pair, *count, names=("fpr95",))["fpr95"][0]
                for pair, count in zip(pairs, counts, strict=True)
            ]
            row[f"fpr95{suffix}"] = float(np.mean(fprs))
            row[f"auroc{suffix}"] = float(np.mean([ood_metric("auroc", *pair) for pair in pairs]))
        return row | self._noise(right, id_, ood)

    def _noise(
        self, right: NDArray[np.float64], id_: SetScores, ood: Mapping[str, SetScores]
    ) -> Row:
        of_id = self._halves[VAL_ID]
        total = of_id.counts.sum(axis=1)
        accuracy = of_id.counts @ right[of_id.rows["a"]] / total
        fprs = []
        for name, one in ood.items():
            cut = self._halves[name]
            pair = self._pair(id_, one, of_id.rows["a"], cut.rows["a"])
            fprs.append(
                resampled_metrics(*pair, of_id.counts, cut.counts, names=("fpr95",))["fpr95"]
            )
        fpr95 = np.mean(fprs, axis=0)
        return {
            "accuracy_noise": accuracy.astype(np.float32),
            "fpr95_noise": fpr95.astype(np.float32),
        }

    def _pair(
        self, id_: SetScores, ood: SetScores, id_rows: NDArray[np.intp], ood_rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return id_.scores[self._score][-1][id_rows], ood.scores[self._score][-1][ood_rows]


def between(start: State, end: State, alpha: float) -> dict[str, Tensor]:
    """Start + alpha (end - start) for every floating-point tensor; counters are ``end``'s."""
    return {
        name: torch.lerp(start[name], one, alpha) if one.is_floating_point() else one.clone()
        for name, one in end.items()
    }


def recorded(setup: Setup, number: int, record: Any, ruler: Ruler) -> Iterator[Row]:
    """Every state of one trial, as rows."""
    assignment = setup.assign(record)
    starting = setup.starting()
    weights = starting.weights_of(assignment.base, assignment.model["backbone"])
    assert weights is not None, "a path leads back to a base"
    recipe = make_recipe(setup.spec.recipe, assignment.train)
    model = _fresh(recipe, setup, assignment, tensors(weights))
    start = {name: one.clone() for name, one in model.state_dict().items()}
    epochs = train(
        recipe, model, setup.data, seed=assignment.seed,
        goal=Goal(setup.spec.select.metric, None), device=CPU,
    )  # fmt: skip
    scored = _scorer(recipe, model, setup, assignment.seed)
    told: Row = {"trial": number, **record.params}
    told |= {f"{name}.value": assignment.train[f"{name}"] for name in ("m_in", "m_out")}
    for result in epochs:
        one = told | {"epoch": result.epoch}
        yield (
            one
            | {"alpha": 1.0, "time_s": result.metrics["time_s"]}
            | ruler.row(result.scores.sets)
        )
        if result.epoch not in (1, recipe.params.epochs):
            continue
        end = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        for alpha in ALPHAS:
            model.load_state_dict(between(start, end, alpha))
            yield one | {"alpha": alpha} | ruler.row(scored().as_epoch(result.epoch).sets)
        model.load_state_dict(end)


def _scorer(
    recipe: Recipe[TrialParams], model: nn.Module, setup: Setup, seed: int
) -> Callable[[], Evaluation]:
    """Scores the model on validation; from features where the last layer alone moves."""
    if isinstance(recipe, ClassifierRecipe) and recipe.params.fine_tune == "linear":
        return LinearTraining(recipe, model, setup.data, seed, CPU).evaluate
    return partial(evaluate, recipe, model, setup.data, CPU)


def _fresh(
    recipe: Recipe[TrialParams], setup: Setup, assignment: Any, weights: State
) -> nn.Module:
    model = fresh_model(recipe, assignment, setup.data.num_classes, setup.data.image_size)
    recipe.load_start(model, weights)
    return model


def of_base(setup: Setup, ruler: Ruler, records: list[Any]) -> Row:
    """The row of the base itself, trial -1."""
    assignment = setup.assign(records[0])
    recipe = make_recipe(setup.spec.recipe, assignment.train)
    weights = setup.starting().weights_of(assignment.base, assignment.model["backbone"])
    assert weights is not None, "trials start from a base"
    model = _fresh(recipe, setup, assignment, tensors(weights)).to(
        memory_format=torch.channels_last
    )
    scored: Evaluation = evaluate(recipe, model, setup.data, CPU)
    return {"trial": -1, "epoch": 0, "alpha": 0.0} | ruler.row(scored.as_epoch(0).sets)


def prepared(checked: CheckedStudy, kept: Path, progress: Progress) -> Setup:
    """The study ready for its trials, on the base that ``kept`` holds; written where it is not."""
    if kept.exists():
        base = RecordedBase(kept, str(file_hash(kept)), saw_validation=False)
        recorded = Recorded(bases={BASE: base}, initial=(), confidence=None)
        return prepare(checked, progress=progress, device="cpu", recorded=recorded)
    setup = prepare(checked, progress=progress, device="cpu")
    shutil.copy(setup.models[BASE].path, kept)
    return setup


def of_weights(setup: Setup) -> str:
    """Hash of the weights that all trials start from."""
    weights = setup.starting().weights[setup.spec.model.backbone]
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:16]


def points(setup: Setup) -> list[Any]:
    """Every trial of the table: random searches ask for the same points whatever results say."""
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.jsonl") as ledger:
        decisions = Decisions(search_plan(setup), ledger)
        found = [decisions.ask() for _ in range(setup.spec.tune.num_trials)]
    return [one for one in found if one is not None]


def recorded_rows(part: Path, base: str) -> list[Row]:
    """The rows of a part that was begun; none where there is none.

    Raises:
        SystemExit: where it was recorded from another base.
    """
    if not part.exists():
        return []
    table = pd.read_parquet(part)
    if set(table["base"]) != {base}:
        raise SystemExit(f"{part} was recorded from the base {table['base'][0]}, this is {base}")
    found = (row.dropna() for _, row in table.iterrows())
    return [{str(name): value for name, value in row.items()} for row in found]


def main() -> None:
    """Record one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", help="a space in search_tables/, such as real")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--part", type=int, default=0, help=f"{PART} trials each, from 0")
    parser.add_argument("--trials", type=int, default=PART, help="fewer, to try it out")
    parser.add_argument("--set", nargs="+", default=[], help="changes of the space")
    parser.add_argument("--name", help="of the files, in place of the table's")
    parser.add_argument("--out", type=Path, default=TABLES, help="folder of the files")
    given = parser.parse_args()
    torch.set_num_threads(1)  # the same numbers wherever a part is recorded
    progress = Progress(sys.stderr, live=False, quiet=False)
    space = str(TABLES / f"{given.table}.yaml")
    spec = load_space(space, given.set, data_root=given.data_root)
    name = given.name or given.table
    plan = make_plan(spec.data, "auto", given.data_root)
    checked = prepare_data(spec, plan, progress)
    setup = prepared(checked, given.out / f"{name}.safetensors", progress)
    every = points(setup)
    ruler = Ruler(spec.own_score)
    base = of_weights(setup)
    target = given.out / f"{name}-{given.part:02}.parquet"
    rows = recorded_rows(target, base) or [of_base(setup, ruler, every)]
    done = {row["trial"] for row in rows}
    first = given.part * PART
    for number in range(first, min(first + given.trials, len(every))):
        if number in done:
            continue
        begun = time.perf_counter()
        try:
            rows += recorded(setup, number, every[number], ruler)
        except TrialFailed as error:
            rows.append({"trial": number, **every[number].params, "failed": str(error)})
        last = rows[-1]
        told = f"{last.get('accuracy', float('nan')):.3f} / {last.get('fpr95', float('nan')):.3f}"
        print(f"{number:3}  {told}  {time.perf_counter() - begun:.0f} s", flush=True)
        pd.DataFrame(rows).assign(base=base).to_parquet(target, compression="zstd", index=False)


if __name__ == "__main__":
    main()
