"""Record what the golden studies ask, decide and measure, for ``test_golden_studies.py``.

    python tests/golden/record_studies.py

writes ``tests/golden/studies.json``. The studies are ``tests/golden/spaces`` with the backbone
``smooth`` of ``tiny.py``, which a copy of the code is given; they run in one process on that copy,
without Ray, with one thread. A change that means to move a number records them anew and says why;
``compare_studies.py`` shows first that nothing else moved.
"""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from study.data.plan import make_plan
from study.records.files import RunFolder
from study.records.ledger import Ledger, Record
from study.space.loading import load_space
from study.training.trial import run_trial
from study.tune.decisions import Decisions
from study.tune.searching import search_plan
from study.tune.session import Limits, Session
from study.tune.setup import CheckedStudy, Setup, prepare
from study.watch.progress import Progress
from tests.golden.driving import HERE, SMOOTH, SPACES, STUDIES, WALL_CLOCK, Checkout

ROOT = HERE.parents[1]
RECORDED = HERE / "studies.json"
_DIGITS = 7  # significant; what is compared to 1e-3 needs no more


def main() -> None:
    """Run all and write what they did."""
    if len(sys.argv) == 2:  # in the copy
        _run_all(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        RECORDED.write_text(_as_lines(found_now(Path(folder))))


def found_now(folder: Path) -> dict[str, Any]:
    """What this checkout's studies do, by name; see `searched`."""
    checkout = Checkout.copied(ROOT, folder).with_backbone()
    there = checkout.code / "tests" / "golden"
    shutil.copytree(HERE, there, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    done = checkout.run(str(there / Path(__file__).name), "found.json")
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def _run_all(out: Path) -> None:
    torch.set_num_threads(1)
    out.write_text(json.dumps({name: searched(name, Path(name)) for name in STUDIES}))


def searched(name: str, folder: Path) -> dict[str, Any]:
    """What one golden study did: its base's metrics, and by trial what was asked and told.

    Returns:
        ``base``: metrics; ``asks``: number, seed and params of each trial; ``results``: number,
        epoch, decision and metrics of each epoch, in the order in which they came.
    """
    setup = prepared(name)
    folder.mkdir()
    run = RunFolder(folder)
    run.manifest.touch()  # by which a worker sees that the folder is shared
    with Ledger(run.ledger) as ledger:
        _search(setup, run, ledger)
        asks = [_only(one, "number", "seed", "params") for one in ledger.events("ask")]
        results = [
            {**_only(one, "number", "epoch", "decision"), "metrics": _rounded(one["metrics"])}
            for one in ledger.events("result")
        ]
        assert not ledger.events("failed")
    assert setup.base is not None
    return {"base": _rounded(setup.base.metrics), "asks": asks, "results": results}


def prepared(name: str) -> Setup:
    """The study on the embedded demo, its base trained; without the leak check."""
    spec = load_space(str(SPACES / f"{name}.yaml"), SMOOTH[name])
    plan = make_plan(spec.data, "demo")
    nothing: Any = None
    with Progress(io.StringIO(), live=False, quiet=True) as progress:
        data = plan.load_study(spec.data)
        study = CheckedStudy(spec, plan, data, nothing)
        return prepare(study, progress=progress, device="cpu")


def _search(setup: Setup, run: RunFolder, ledger: Ledger) -> None:
    decisions = Decisions(search_plan(setup), ledger)
    limits = Limits(setup.spec.tune.num_trials, None, max_failures=1)
    session = Session(decisions, setup.assign, limits, [])
    setting = setup.trial_setting(run.path.resolve(), threads=1, device="cpu")
    while not session.exhausted:
        assignment = session.next_assignment()
        assert assignment is not None, "one trial at a time: there is a next one, or the end"
        for message in run_trial(assignment, setting):
            if session.told(assignment.number, message):
                break
        session.left(assignment.number)


def _only(record: Record, *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names}


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    plain = {name: value for name, value in metrics.items() if name not in WALL_CLOCK}
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in plain.items()}


def _as_lines(found: dict[str, Any]) -> str:
    """JSON with a line for each trial and epoch, so that a diff shows which one moved."""
    studies = []
    for name, parts in found.items():
        lines = [f'"base": {json.dumps(parts["base"])}']
        for part in ("asks", "results"):
            rows = ",\n  ".join(json.dumps(row) for row in parts[part])
            lines.append(f'"{part}": [\n  {rows}]')
        body = ",\n ".join(lines)
        studies.append(f'"{name}": {{\n {body}}}')
    return "{" + ",\n".join(studies) + "}\n"


if __name__ == "__main__":
    main()
