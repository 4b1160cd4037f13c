"""Changes single operators and numbers of the code and sees whether the tests notice.

    .venv/bin/pip install cosmic-ray
    .venv/bin/python tests/mutants.py                 300 mutants of all rooms below, 2 at a time
    .venv/bin/python tests/mutants.py study/losses    those of some files or folders
    .venv/bin/python tests/mutants.py --log FILE      goes on where FILE ends

Every mutant (cosmic-ray's operators) is made in a copy of the project and tried by the tests that
mirror the mutated module. The sample is drawn with ``--seed`` from all mutants of the chosen
files; annotations and the bare ``*`` of a signature are left out, since no test can tell. What
survives is printed as a diff: it wants a test, or a line in ``tests/mutants.md`` that says why no
test can or need tell it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha1
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "study/losses",
    "study/scoring",
    "study/training/schedules.py",
    "study/models/reversal_schedules.py",
    "study/tune/sampler.py",
    "study/searchers",
    "analysis/statistics",
    "analysis/choice",
)
# Tests of modules that they reach through another one.
MORE_TESTS = {
    "study/tune/sampler": ("unit/tune/test_searchers.py", "unit/tune/test_decisions.py"),
    "study/searchers": ("unit/tune/test_searchers.py", "unit/searchers/test_catalog.py"),
    "study/losses/reconstructions": (
        "unit/losses/test_reconstruction.py",
        "unit/losses/test_perceptual.py",
        "property/test_reconstruction.py",
    ),
    "study/scoring/ranking": ("unit/scoring/test_measuring.py", "golden/test_metrics_golden.py"),
    "analysis/statistics/surrogate": ("unit/analysis/results/test_importance.py",),
    "analysis/choice/cells": (
        "unit/analysis/choice/test_alternatives.py",
        "unit/analysis/choice/test_corrected.py",
    ),
    "analysis/choice/confirmation": ("unit/analysis/choice/test_confirmed_mean.py",),
    "analysis/choice/frozen": ("unit/analysis/choice/test_selection.py",),
    "analysis/statistics/compare": ("unit/analysis/choice/test_confirmation.py",),
}
# Of CPU: on a busy machine a slow test is no killed mutant. The other one is for tests that wait.
CPU_S = 300
TIMEOUT_S = 7200.0
MOST_BYTES = 8 * 2**30  # a mutant must not take the memory of what else runs
Span = tuple[tuple[int, int], tuple[int, int]]


def modules(chosen: list[str]) -> list[Path]:
    """The files to mutate, relative to the project's root."""
    paths = [ROOT / one for one in chosen]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        sys.exit(f"not there: {', '.join(missing)}")
    files = (sorted(path.rglob("*.py")) if path.is_dir() else [path] for path in paths)
    return [file.relative_to(ROOT) for group in files for file in group if file.stem != "__init__"]


@cache
def _imports(test: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(test.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


@cache
def tests_of(module: Path) -> tuple[Path, ...]:
    """The test file of a module's name, and property and golden tests that import it.

    Where there is none of its name, all that import it, or import a module which does.
    """
    name = ".".join(module.with_suffix("").parts)
    files = sorted((ROOT / "tests").glob("*/**/test_*.py"))
    tests = [file.relative_to(ROOT) for file in files if "integration" not in file.parts]
    found = [test for test in tests if name in _imports(ROOT / test)]
    path = module.with_suffix("").as_posix()
    more = [
        Path("tests") / test
        for room, few in MORE_TESTS.items()
        if path.startswith(room)
        for test in few
    ]
    if named := [test for test in found if test.stem == f"test_{module.stem}"]:
        found = named + [test for test in found if test.parts[1] in ("property", "golden")]
    if not found and not more:
        users = [file for top in ("study", "analysis") for file in (ROOT / top).rglob("*.py")]
        users = [file.relative_to(ROOT) for file in users if name in _imports(file)]
        names = {".".join(file.with_suffix("").parts) for file in users}
        found = [test for test in tests if names & _imports(ROOT / test)]
    return tuple(dict.fromkeys([*found, *more]))


def _never_run(module: Path) -> list[Span]:
    """Where annotations stand, and the bare ``*`` of signatures."""
    text = (ROOT / module).read_text(encoding="utf-8")
    stars = [
        ((row, found.start()), (row, found.end()))
        for row, line in enumerate(text.splitlines(), start=1)
        for found in re.finditer(r"\*(?=,)", line)
    ]
    nodes: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            nodes.append(node.annotation)
    return stars + [
        ((one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0))
        for one in nodes
        if one is not None
    ]


def all_mutants(files: list[Path]) -> list[Any]:
    """Every mutation of the files that could change what the program does."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(f"{folder}/session.sqlite", WorkDB.Mode.create) as found,
    ):
        init(files, found, {})
        items = [item.mutations[0] for item in found.work_items]
    spans = {file: _never_run(file) for file in files}

    def runs(mutation: Any) -> bool:
        start, end = tuple(mutation.start_pos), tuple(mutation.end_pos)
        return not any(low <= start and end <= high for low, high in spans[mutation.module_path])

    return [item for item in items if runs(item)]


def _copies(number: int, folder: Path) -> Iterator[Path]:
    left_out = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
    for one in range(number):
        target = folder / f"copy{one}"
        shutil.copytree(ROOT, target, ignore=left_out, symlinks=True)
        yield target


def main() -> None:
    """Draw, try, and print what survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", default=list(ROOMS), help="files or folders")
    parser.add_argument("--sample", type=int, default=300, help="mutants; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--log", type=Path, metavar="FILE",
        help="a JSON line for every mutant tried; what has one there is not tried again",
    )  # fmt: skip
    given = parser.parse_args()
    os.chdir(ROOT)
    files = modules(given.paths)
    untested = [file for file in files if not tests_of(file)]
    mutants = all_mutants([file for file in files if file not in untested])
    drawn = random.Random(given.seed).sample(
        mutants, min(given.sample or len(mutants), len(mutants))
    )
    print(f"{len(drawn)} of {len(mutants)} mutants in {len(files)} files", flush=True)
    for file in untested:
        print(f"{file}: no test file imports it", flush=True)
    before = _logged(given.log)
    with tempfile.TemporaryDirectory() as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in _copies(given.jobs, Path(folder)):
            free.put(copy)

        def tried(mutation: Any) -> dict[str, Any]:
            if (known := before.get(_key(mutation))) is not None:
                return known
            copy = free.get()
            try:
                return _tried(mutation, copy)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(given.jobs) as pool:
            alive = 0
            for number, result in enumerate(pool.map(tried, drawn), start=1):
                if given.log and result["mutant"] not in before:
                    with given.log.open("a", encoding="utf-8") as log:
                        log.write(json.dumps(result) + "\n")
                if result["outcome"] != "killed":
                    alive += 1
                    print(f"\n{number}: {result['outcome']}, {result['mutant']}", flush=True)
                    print(result["diff"], flush=True)
    print(f"\n{len(drawn) - alive} of {len(drawn)} killed, {alive} not")
    sys.exit(bool(alive))


def _key(mutation: Any) -> str:
    """What a mutant is called: of a file that has changed it is another one."""
    text = (ROOT / mutation.module_path).read_bytes()
    args = json.dumps(mutation.operator_args, sort_keys=True)
    name = mutation.operator_name.removeprefix("core/")
    return (
        f"{mutation.module_path}@{sha1(text).hexdigest()[:8]} {name} {mutation.occurrence} {args}"
    )


def _logged(log: Path | None) -> dict[str, dict[str, Any]]:
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    return {result["mutant"]: result for result in map(json.loads, lines)}


def _tried(mutation: Any, copy: Path) -> dict[str, Any]:
    """Outcome and diff of one mutant, made in a copy of the project by a process of its own."""
    told = {
        "module": str(mutation.module_path),
        "operator": mutation.operator_name,
        "occurrence": mutation.occurrence,
        "args": mutation.operator_args,
        "tests": [str(test) for test in tests_of(mutation.module_path)],
    }
    ours = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(told)],
        cwd=copy, env=os.environ | ours, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = (
        {"outcome": "not tried", "by": "", "diff": done.stderr[-2000:]}
        if done.returncode
        else json.loads(done.stdout.splitlines()[-1])
    )
    return {"mutant": _key(mutation), "s": round(time.monotonic() - begun), **found}


def try_one(told: dict[str, Any]) -> None:
    """Make one mutant in the working directory, run its tests, and print what came of it."""
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import MutationSpec

    nowhere = ((0, 0), (0, 1))
    mutation = MutationSpec(
        Path(told["module"]), told["operator"], told["occurrence"], *nowhere,
        operator_args=told["args"],
    )  # fmt: skip
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider {' '.join(told['tests'])}"
    result = mutate_and_test([mutation], command, TIMEOUT_S)
    # Pytest's last lines name the test and what it says; there are none when the time was over.
    said = [line for line in (result.output or "").splitlines() if line[:5] in ("FAILE", "ERROR")]
    found = {
        "outcome": str(result.test_outcome and result.test_outcome.value),
        "by": said[-1][:300] if said else "",
        "diff": result.diff or "",
    }
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        try_one(json.loads(sys.argv[2]))
    else:
        main()
