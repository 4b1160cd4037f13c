"""Compare two versions of the project to the last bit, on the golden studies.

    git worktree add ../old COMMIT
    python tests/golden/compare_studies.py ../old .

Each version runs energy, NORD-F and an ablation (``tests/golden/spaces`` with a ResNet-20) by its
own command line, with one thread and one trial at a time, in a cache of its own; then what lies on
disk is compared: what was asked, every result and decision, the base, all per-image scores, the
weights, and the choice. Two minutes a version on one core. The code is taken as it lies in the
folders, committed or not.

Words and layouts may change between versions, numbers may not: asks are compared by parameters and
seed, results by metrics and decision, arrays by name and bytes. Exit 0 where all is equal, 1 where
something differs, 2 where a study did not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from safetensors.numpy import load_file

from tests.golden.driving import SHIPPED, STUDIES, WALL_CLOCK, Checkout

_CHOICE = ("trial_id", "winner", "epoch", "value", "interval", "threshold", "corrected_value",
           "corrected_interval", "seed_trials")  # fmt: skip
Found = dict[str, Any]
"""Names of what is compared -> plain values, or bytes."""


def main() -> int:
    """Run both, print the table, and give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, help="checkout of the version before")
    parser.add_argument("new", type=Path, help="checkout of the version after")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=STUDIES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        old, new = (
            Checkout.copied(source, Path(folder) / name)
            for name, source in (("old", options.old), ("new", options.new))
        )
        equal = True
        say(f"{'study':<10}{'what':<12}{'compared':>9}{'different':>11}")
        for study in options.only:
            runs = []
            for checkout in (old, new):
                done = checkout.begin(study, study, *SHIPPED[study])
                if done.returncode != 0:
                    say(f"{study} by {checkout.folder.name}: exit {done.returncode}")
                    say(done.stderr)
                    return 2
                runs.append(checkout.folder / study)
            equal &= compared(study, *runs)
        say("Equal to the last bit." if equal else "Different.")
        return 0 if equal else 1


def compared(study: str, old: Path, new: Path) -> bool:
    """Print what two runs have in common; whether that is all."""
    all_equal = True
    for what, read in READERS.items():
        before, after = read(old), read(new)
        names = list(dict.fromkeys([*before, *after]))
        different = [name for name in names if _bits(before, name) != _bits(after, name)]
        # Nothing to compare is a difference too: then the reader looks in the wrong place.
        all_equal &= bool(names) and not different
        say(f"{study:<10}{what:<12}{len(names):>9}{len(different):>11}")
        for name in different[:5]:
            say(f"    {name}: {_told(before, name)} -> {_told(after, name)}")
    return all_equal


def _asks(run: Path) -> Found:
    """Parameters and seed of every trial, in order."""
    asked = [one for one in ledger(run) if one["event"] == "ask"]
    return {
        f"trial {one['number']}": {"params": one["params"], "seed": one["seed"]} for one in asked
    }


def _results(run: Path) -> Found:
    """Every metric of every epoch."""
    return {
        f"trial {one['number']}, epoch {one['epoch']}, {name}": value
        for one in ledger(run)
        if one["event"] == "result"
        for name, value in one["metrics"].items()
        if name not in WALL_CLOCK
    }


def _decisions(run: Path) -> Found:
    """What was decided after every epoch, and every failure, in order."""
    told = [one for one in ledger(run) if one["event"] in ("result", "failed")]
    return {
        str(place): [one["event"], one["number"], one["epoch"], one.get("decision")]
        for place, one in enumerate(told)
    }


def _scores(run: Path) -> Found:
    """All arrays of per-image scores, the base's too."""
    found = {}
    for path in sorted((run / "scores").glob("*.npz")):
        with np.load(path) as file:
            found |= {f"{path.stem}, {name}": _array(file[name]) for name in file.files}
    return found


def _weights(run: Path) -> Found:
    """All tensors of the chosen weights, the base's too."""
    return {
        f"{path.parent.name}, {name}": _array(values)
        for path in sorted(run.glob("checkpoints/*/weights.safetensors"))
        for name, values in load_file(path).items()
    }


def _choice(run: Path) -> Found:
    """What selection.json chose."""
    frozen = json.loads((run / "selection.json").read_text())
    return {name: frozen[name] for name in _CHOICE}


READERS: Mapping[str, Callable[[Path], Found]] = {
    "asks": _asks,
    "results": _results,
    "decisions": _decisions,
    "scores": _scores,
    "weights": _weights,
    "choice": _choice,
}


def ledger(run: Path) -> list[dict[str, Any]]:
    """Events in order."""
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


def _array(values: np.ndarray) -> tuple[str, Sequence[int], bytes]:
    return str(values.dtype), values.shape, values.tobytes()


def _bits(found: Found, name: str) -> Any:
    """Floats by their shortest text, which tells every bit but a NaN's."""
    value = found.get(name, "missing")
    return value if isinstance(value, tuple) else json.dumps(value, sort_keys=True)


def _told(found: Found, name: str) -> str:
    value = found.get(name, "missing")
    if isinstance(value, tuple):
        dtype, shape, content = value
        if dtype.startswith("float"):
            return f"{dtype} {shape} of sum {np.frombuffer(content, dtype).sum():.17g}"
        return f"{dtype} {shape}"
    return json.dumps(value)


def say(text: str) -> None:
    """A line of the table."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
