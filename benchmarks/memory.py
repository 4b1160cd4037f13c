"""Private memory of a trial that has its data, beside an actor that has none.

    python benchmarks/memory.py --data-root ../shared/data

Claim: the private memory (USS, psutil) of the second of two concurrent trials on CIFAR-10's
50,000 training images (a tenth of them for validation) and 19,440 outliers, before its first
step, is under 60 MB (10^6 bytes) above that of an actor that has torch and the model but no data.

- trial: ``study.training.trial.run_trial`` with the data in its ``TrialSetting``, which reaches
  the workers by ``run_session`` as in a study. Measured once its model is built and holds the
  base's weights, and again when optimizer, the epoch's draws and the first batch are made, before
  the first step.
- no data: an actor started in the same way that has imported the same modules. Measured once the
  same model is built, and again when it has torch's own SGD, which imports torch._dynamo and
  sympy (some 80 MB, torch 2.15); ``study.training.optimizers`` keeps that out of the trials.

Both kinds run two at a time, since library pages that one process alone maps count as its own.
Each round starts new actors. Memory does not depend on the machine's load. About two minutes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from common import Spread, options, print_table, say_how, study_data, verdict

from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.training.assignment import Assignment
from study.tune.decisions import Decisions
from study.tune.plan import SearchPlan
from study.tune.ray_tuner import ray_running, run_session
from study.tune.resources import Resources
from study.tune.session import Limits, Session

if TYPE_CHECKING:
    from study.data.batches import Batch
    from study.recipes.base import TrainingLoss
    from study.training.trial import TrialSetting

TARGET_MB = 60.0
ROUNDS = 3
PAIR = Resources(cpus=1, gpus=0, max_concurrent=2)
MODEL = {"backbone": "resnet20", "dropout": 0.0}
TRAIN = {"epochs": 1, "batch_size": 128, "outlier_batch_size": 64, "m_in": -9.0, "m_out": -5.0}
WAIT_S = 300.0
BUILT, READY = "model built", "before the first step"  # moments at which USS is taken

Pairs = dict[str, list[float]]  # moment -> USS of the first and the second actor, MB


def note_uss(folder: Path, moment: str, number: int) -> None:
    """Wait for the other actor, write the USS of this one, wait until both have."""
    _meet(folder, f"at {moment}", number, "")
    uss = psutil.Process().memory_full_info().uss
    _meet(folder, f"uss {moment}", number, str(uss / 1e6))


def _meet(folder: Path, what: str, number: int, text: str) -> None:
    """Leave a file and wait until both actors have."""
    unfinished = folder / f".{what}-{number}"
    unfinished.write_text(text)
    unfinished.rename(folder / f"{what}-{number}")
    deadline = time.monotonic() + WAIT_S
    while len(list(folder.glob(f"{what}-*"))) < PAIR.max_concurrent:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the other actor is not {what} after {WAIT_S:.0f} s")
        time.sleep(0.05)


def trial(config: dict[str, Any], setting: TrialSetting, folder: Path) -> None:
    """A trial up to its first step."""
    from ray import tune

    from study.errors import TrialFailed
    from study.recipes import energy
    from study.training.trial import run_trial

    assignment = Assignment(**config["assignment"])

    class Measured(energy.EnergyRecipe):
        """The energy recipe, which stops once the first batch is made."""

        def loss(self) -> TrainingLoss:
            note_uss(folder, BUILT, assignment.number)
            return super().loss()

        def batches(self, *args: Any, **named: Any) -> Iterator[Batch]:
            batches = super().batches(*args, **named)
            first = next(batches)
            note_uss(folder, READY, assignment.number)
            raise TrialFailed(f"measured with a batch of {len(first.images)}")

    energy.EnergyRecipe = Measured  # type: ignore[misc]
    for message in run_trial(assignment, setting):
        tune.report({"message": message})


def no_data(config: dict[str, Any], folder: Path) -> None:
    """The model alone, then with an optimizer."""
    import torch
    from ray import tune

    from study.recipes.registry import make_recipe
    from study.training.trial import fresh_model

    assignment = Assignment(**config["assignment"])
    torch.set_num_threads(PAIR.threads)
    model = fresh_model(make_recipe("energy", assignment.train), assignment, 10, 32)
    note_uss(folder, BUILT, assignment.number)
    optimizer = torch.optim.SGD(model.parameters(), lr=assignment.train["lr"])
    note_uss(folder, READY, assignment.number)
    message = {"failed": f"measured with {type(optimizer).__name__}", "cause": "", "traceback": ""}
    tune.report({"message": json.dumps(message)})


def uss_of_pair(function: Callable[..., None], payload: dict[str, Any]) -> Pairs:
    """USS of the first and the second of two actors at both moments, in MB."""
    space = {"lr": optuna.distributions.FloatDistribution(1e-3, 1e-2)}
    plan = SearchPlan(0, "random", "none", 1, 3, "best", space, lambda _: 1)
    with tempfile.TemporaryDirectory() as name, Ledger(Path(name) / "ledger.jsonl") as ledger:
        meeting = Path(name) / "meeting"
        meeting.mkdir()
        decisions = Decisions(plan, ledger)
        session = Session(
            decisions,
            lambda record: Assignment(record.number, 0, MODEL, TRAIN | record.params),
            Limits(num_trials=PAIR.max_concurrent, time_budget_s=None, max_failures=9),
            [],
        )
        session.max_concurrent = PAIR.max_concurrent
        run_session(session, function, payload | {"folder": meeting}, PAIR, Path(name) / "ray")
        wrong = [r for r in decisions.trials if not r.reason.startswith("measured")]
        if wrong:
            raise SystemExit(f"{wrong[0].reason}\n{wrong[0].traceback}")
        return {
            moment: [float((meeting / f"uss {moment}-{n}").read_text()) for n in (0, 1)]
            for moment in (BUILT, READY)
        }


def new_setting(root: Path | None, share: float, run: Path) -> TrialSetting:
    """What a study's trials share, weights of a base among it."""
    from study.models.registry import build_classifier
    from study.training.loop import Goal
    from study.training.starting import Starting
    from study.training.trial import TrialSetting

    state = build_classifier("resnet20", 10, seed=0).state_dict()
    weights = {name: tensor.numpy() for name, tensor in state.items()}
    return TrialSetting(
        recipe="energy",
        data=study_data(root, share=share),
        starting=Starting(weights={"resnet20": weights}),
        run=run,
        goal=Goal("val/fpr95", None),
        checkpoint_rule="best",
        threads=PAIR.threads,
        device="cpu",
    )


def measure(setting: TrialSetting, rounds: int) -> tuple[list[Pairs], list[Pairs]]:
    """What the actors without data and the trials showed, by round."""
    without, with_data = [], []
    with ray_running(None, PAIR.max_concurrent):
        for _ in range(rounds):
            without.append(uss_of_pair(no_data, {}))
            with_data.append(uss_of_pair(trial, {"setting": setting}))
    return without, with_data


def report(without: list[Pairs], with_data: list[Pairs], *, judged: bool) -> None:
    """Print every measurement, and what the second trial has above the second other actor."""
    rows = [["actor", "moment", "USS of the first, MB", "USS of the second, MB"]]
    for kind, rounds in (("no data", without), ("trial", with_data)):
        for moment in (BUILT, READY):
            both = [Spread([pairs[moment][n] for pairs in rounds]).text(1) for n in (0, 1)]
            label = "torch's optimizer made" if kind == "no data" and moment == READY else moment
            rows.append([kind, label, *both])
    print_table(rows)
    print(
        "\nthe second trial before its first step, above the second actor with torch and the "
        f"model (MB; target {TARGET_MB:.0f})"
    )
    pairs = zip(with_data, without, strict=True)
    above = Spread([one[READY][1] - other[BUILT][1] for one, other in pairs])
    word = verdict(above.median < TARGET_MB) if judged else ""
    print(f"  {above.text(1)}  {word}".rstrip())


def main() -> None:
    """Measure and print."""
    given = options(__doc__, data=True).parse_args()
    rounds = given.rounds or (1 if given.quick else ROUNDS)
    with tempfile.TemporaryDirectory() as run:
        RunFolder(Path(run)).manifest.write_text("{}")  # a trial looks for its run's folder
        setting = new_setting(given.data_root, 0.05 if given.quick else 1.0, Path(run))
        sets = setting.data.sets()
        size = sum(images.pixels.nbytes for images in sets.values()) / 1e6
        counts = ", ".join(f"{role} {len(images):,}" for role, images in sets.items())
        say_how(["ray", "torch", "numpy"], f"{rounds} rounds; images: {counts}; {size:.0f} MB")
        without, with_data = measure(setting, rounds)
    report(without, with_data, judged=not given.quick)


if __name__ == "__main__":
    main()
