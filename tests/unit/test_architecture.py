"""The shape of the project, read from its sources: who imports whom, sizes, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from study.space.spec import load_space

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("study", "analysis")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 40
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef

# What each room may import of the project; a room that is not named may import anything.
ALLOWED = {
    "analysis/*": (
        "analysis*", "study.records.files", "study.records.ledger", "study.records.failures",
        "study.records.frozen", "study.scoring.metrics", "study.scoring.objective",
        "study.space.yamlfile", "study.seeding", "study.errors",
    ),
    "study/losses/*": ("study.errors", "study.losses*"),
    "study/models/*": ("study.errors", "study.models*"),
    "study/scoring/scores.py": ("study.errors",),
    "study/scoring/metrics.py": ("study.errors",),
    "study/training/schedules.py": ("study.errors",),
    "study/training/reversal_schedules.py": ("study.errors",),
    "study/scoring/feature_scores.py": ("study.errors",),
    "study/detectors/*": (
        "study.errors", "study.detectors*", "study.data.batches", "study.data.roles",
    ),
    "study/errors.py": (),
}  # fmt: skip
# Who may import a thing; nobody else.
ONLY_FROM = {
    "ray": ("study/tune/ray_*.py", "study/tune/trainable.py"),
    "study.data.test_access": ("study/final_test.py", "study/data/leak_step.py"),
}
HEAVY = ("torch", "torchvision", "ray")


def sources(*folders: str) -> list[str]:
    """Python files of the folders, relative to the project's root."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in files)


@cache
def tree(source: str) -> ast.Module:
    return ast.parse((ROOT / source).read_text(encoding="utf-8"))


def imports(source: str) -> set[str]:
    """Dotted names that a file imports anywhere, also inside functions and for typing only."""
    package = source.removesuffix(".py").split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # "from a import b" may mean the module a.b.
            found.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_imports_of_a_file_are_found_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import a.b\nfrom study import x\ndef f():\n    from . import y\n    from ..z import w\n"
    )
    monkeypatch.setitem(globals(), "tree", lambda _: ast.parse(code))
    assert imports("study/data/one.py") == {
        "a.b", "study", "study.x", "study.data", "study.data.y", "study.z", "study.z.w",
    }  # fmt: skip


@pytest.mark.parametrize("source", sources(*SHIPPED))
def test_room_imports_only_what_it_may(source: str) -> None:
    for room, allowed in ALLOWED.items():
        if not fnmatch(source, room):
            continue
        own = {name for name in imports(source) if is_module(name) and "." in name}
        wrong = sorted(
            name for name in own if not any(fnmatch(name, pattern) for pattern in allowed)
        )
        assert not wrong, f"{source} imports {wrong}; it may import {allowed}"


@pytest.mark.parametrize("source", [*sources(*SHIPPED), "run_study.py"])
def test_guarded_modules_are_imported_only_where_they_may_be(source: str) -> None:
    for guarded, allowed in ONLY_FROM.items():
        uses = any(name == guarded or name.startswith(f"{guarded}.") for name in imports(source))
        may = any(fnmatch(source, pattern) for pattern in allowed)
        assert may or not uses, f"{source} imports {guarded}, which only {allowed} may"


@pytest.mark.parametrize("source", sources("analysis"))
def test_analysis_never_names_torch_or_ray(source: str) -> None:
    heads = {name.split(".")[0] for name in imports(source)}
    assert not heads & set(HEAVY)


def imported_with(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules))"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_of_the_packages_loads_nothing_heavy() -> None:
    loaded = imported_with("import study, analysis")
    assert not loaded & {*HEAVY, "optuna", "matplotlib"}


def test_every_module_of_analysis_works_without_torch_and_ray() -> None:
    names = [
        source.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for source in sources("analysis")
        if not source.endswith("__main__.py")
    ]
    assert not imported_with("import " + ", ".join(names)) & set(HEAVY)


def public(node: ast.Module | Documented, prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Public functions, classes and methods with their dotted names; nothing nested deeper."""
    for child in node.body:
        if not isinstance(child, Documented) or child.name.startswith("_"):
            continue
        if any("overload" in ast.unparse(mark) for mark in child.decorator_list):
            continue
        yield prefix + child.name, child
        if isinstance(child, ast.ClassDef):
            yield from public(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("source", [*sources(*SHIPPED, "benchmarks"), "run_study.py"])
def test_public_names_have_docstrings(source: str) -> None:
    assert ast.get_docstring(tree(source)), f"{source} does not say what it is"
    missing = [name for name, node in public(tree(source)) if not ast.get_docstring(node)]
    assert not missing, f"{source}: no docstring: {missing}"


@pytest.mark.parametrize("source", [*sources(*SHIPPED, "benchmarks", "tests"), "run_study.py"])
def test_file_is_one_concept_long(source: str) -> None:
    lines = len((ROOT / source).read_text(encoding="utf-8").splitlines())
    assert lines < MAX_FILE_LINES, f"{source} has {lines} lines"


def code_lines(function: Function, text: list[str]) -> int:
    """Lines of a function that are neither blank nor its docstring."""
    first, last = function.lineno, function.end_lineno or function.lineno
    head = function.body[0]
    documented = range(0)
    if ast.get_docstring(function) is not None:
        documented = range(head.lineno, (head.end_lineno or head.lineno) + 1)
    numbers = (number for number in range(first, last + 1) if number not in documented)
    return sum(1 for number in numbers if text[number - 1].strip())


@pytest.mark.parametrize("source", [*sources(*SHIPPED, "benchmarks"), "run_study.py"])
def test_functions_are_short(source: str) -> None:
    text = (ROOT / source).read_text(encoding="utf-8").splitlines()
    functions = [node for node in ast.walk(tree(source)) if isinstance(node, Function)]
    long = {node.name: code_lines(node, text) for node in functions}
    too_long = {name: lines for name, lines in long.items() if lines >= MAX_FUNCTION_LINES}
    assert not too_long, f"{source}: not under {MAX_FUNCTION_LINES} lines: {too_long}"


SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))


def test_spaces_are_shipped() -> None:
    assert {"energy", "cifar10"} <= {path.stem for path in SPACES}


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
@pytest.mark.parametrize("smoke", [False, True])
def test_shipped_space_loads_and_opens_with_its_command(path: Path, smoke: bool) -> None:
    load_space(str(path), [], smoke=smoke)
    load_space(path.stem, [], smoke=smoke)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# python run_study.py --space {path.stem}")


# Places of one machine and hosts of one network do not belong into files that travel.
ELSEWHERE = re.compile(
    r"(^|[^.\w])/(home|Users|root|work|farm|mnt|opt)/\w"
    r"|(extra-)?index[-]url|find[-]links|/simple[/]?[\"' ]"
)
TEXT = ("*.py", "*.md", "*.yaml", "*.yml", "*.toml", "*.ipynb", "*.html", "*.j2", "Makefile")
NOT_OURS = {".git", ".venv", "runs", "build", "node_modules", ".hypothesis"}


def text_files() -> list[Path]:
    files = (path for pattern in TEXT for path in ROOT.rglob(pattern))
    return sorted(
        path
        for path in files
        if not NOT_OURS & set(path.relative_to(ROOT).parts) and path != Path(__file__).resolve()
    )


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in [*text_files(), ROOT / ".ci" / "run"]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if ELSEWHERE.search(line)
    ]
    assert not found, "\n".join(found)
