"""The final test's first half: open the test sets, once, and keep what the frozen winner says.

``python -m analysis test DIR`` starts this in a process of its own and turns the scores that it
leaves into numbers. Nobody else reads test images, but for the leak check's fingerprints.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from study import ending
from study.bases.saved_models import SavedModel, base_name_of, load_model
from study.data.test_access import TestData, open_test
from study.errors import BadInput, Fault, exit_code
from study.plugins import with_plugins_of
from study.records.files import BASE, TEST_ID, TEST_OPENED, WEIGHTS, RunFolder, write_json
from study.records.frozen import SELECTED, frozen_models, read_frozen, refuse_unfrozen
from study.records.ledger import Ledger
from study.records.manifest import manifest_entry
from study.records.sealed import changed_files, note_test, reached
from study.records.test_accesses import machine_ledger, note_access
from study.run_folder import recorded_plan
from study.terminal import Parser, pasted, visible
from study.training.evaluation import evaluate_sets


def final_test(folder: Path, again: str | None, command: str) -> None:
    """Score the test sets with the frozen winner, all its fresh seeds, and its base.

    Leaves final_test/winner.npz (the exported seed), winner_<trial>.npz (each other one),
    base.npz and access.json, and a line in the run's ledger and in the machine's. The line is
    written once everything that can be refused has been looked at, and before the first image is
    scored; a test that was cut off after it goes on.

    Args:
        folder: of the run.
        again: the reason for another opening; None for the first.
        command: for the ledger.

    Raises:
        BadInput: without an intact frozen choice or an OOD test set, on a second opening without a
            reason, or where weights or test sets are not those of the choice and of the leak
            check.
    """
    run = RunFolder(folder)
    frozen = read_frozen(folder)
    with Ledger(run.ledger) as ledger:
        if ledger.torn_bytes:
            torn = f"dropped a torn last line ({ledger.torn_bytes} bytes)"
            sys.stderr.write(visible(f"{run.ledger}: {torn}\n"))
        refuse_unfrozen(run, frozen, ledger.events(SELECTED))
        anew = run.test_results if again is None else run.final_test
        if changed := changed_files(run, reached(ledger.records), but=anew):
            raise BadInput(changed)
        opening = next(iter(ledger.events(TEST_OPENED)[-1:]), None)
        cut_off = opening is not None and opening["selection"] == frozen["sha256"]
        cut_off = cut_off and not (run.final_test / "winner.npz").exists()
        if opening is not None and again is None and not cut_off:
            raise BadInput(_opened_before(run, opening["time"]))
        plan = recorded_plan(run)
        if not plan.ood_test:
            raise BadInput(_nothing_to_test(run))
        machine_ledger()  # where there is none, this is told before anything is opened
        test = open_test(plan)
        sets = test.fingerprints()
        _refuse_other_sets(run, sets, manifest_entry(run, "data", "test_fingerprints"))
        models = _models(run, frozen, test)
        if opening is None or again is not None:
            why, seal = again or "", frozen["sha256"]
            told = {"command": command, "reason": why, "selection": seal, "sets": sets}
            opening = ledger.append(TEST_OPENED, **told)
        earlier = note_access(opening, run=str(folder.resolve()))
        access = {"sets": sets, "earlier_on_this_machine": earlier}
        write_json(run.final_test / "access.json", access)
        for name, saved in models.items():
            _score(run, name, saved, test)
        note_test(ledger, run)


def _models(run: RunFolder, frozen: Mapping[str, Any], test: TestData) -> dict[str, SavedModel]:
    """What is scored, by its file; that of the exported seed says that all is there."""
    winner, *others = frozen_models(frozen)
    trials = {f"winner_{trial}": trial for trial in others} | {"winner": winner}  # last
    base = base_name_of(run, winner)
    if (run.trial_checkpoints(base) / WEIGHTS).exists():
        trials = {BASE: base} | trials
    num_classes = len(test.id.classes) or int(test.id.labels.max()) + 1
    size = test.id.pixels.shape[1]
    return {name: load_model(run, trial, num_classes, size) for name, trial in trials.items()}


def _score(run: RunFolder, name: str, saved: SavedModel, test: TestData) -> None:
    """Per-image test scores of one model, as final_test/<name>.npz."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, fitted = saved.model, saved.fitted
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    evaluation = evaluate_sets(saved.recipe, model, test.id, test.ood, device, fitted)
    evaluation.as_epoch(1, id_name=TEST_ID).save(run.final_test / f"{name}.npz")


def _nothing_to_test(run: RunFolder) -> Fault:
    return Fault(
        place=str(run.manifest),
        key="data.plan.ood_test",
        rule="the study has no OOD test set, so there is nothing to test its choice on",
        way_out="Start it anew with sets in data.ood_test.",
    )


def _opened_before(run: RunFolder, when: str) -> Fault:
    rule = f"the test sets were opened for this study on {when}; once is what makes it a test"
    way_out = 'Read the result in the report, or give --again "why", which the ledger keeps.'
    return Fault(str(run.ledger), "", rule, way_out)


def _refuse_other_sets(run: RunFolder, sets: dict[str, str], checked: dict[str, str]) -> None:
    other = sorted(name for name in {*sets, *checked} if sets.get(name) != checked.get(name))
    if other:
        key, names = "data.test_fingerprints", ", ".join(other)
        rule = "these test sets are not the ones that were checked for leaks at set-up"
        way_out = "Bring back the files of then, or run the study anew on these."
        raise BadInput(Fault(str(run.manifest), key, rule, way_out, names))


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m study.final_test DIR [--again WHY]``; exit codes as everywhere."""
    parser = Parser(prog="python -m study.final_test", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--again", metavar="WHY")
    arguments = parser.parse_args(argv)
    command = pasted(["python", "-m", "study.final_test", *(argv or sys.argv[1:])])
    run = partial(final_test, arguments.directory, arguments.again, command)
    answer = partial(exit_code, run, failed="The final test failed: {}")
    return with_plugins_of([arguments.directory], "study.final_test", argv, answer)


if __name__ == "__main__":
    ending.open_standard()
    raise SystemExit(main())
