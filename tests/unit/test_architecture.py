"""The shape of the project, read from its sources: rooms, who imports whom, docstrings.

    .venv/bin/python tests/unit/test_architecture.py

writes the map of rooms into CONTRIBUTING.md and the picture into docs/architecture.md anew.
"""

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

from study.space.loading import load_space

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("study", "analysis")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef

# The rooms from the top floor down, a sentence each: a file imports from its own room and from
# those below it. CONTRIBUTING shows this list; `docs/architecture.md` draws it.
ROOMS = {
    "study.cli": "The command line: call, print, exit code.",
    "analysis": "A run read from its records alone: commands, Study for notebooks, conclusion.",
    "analysis.report": "The page, views of a terminal, texts and tables for papers.",
    "analysis.plots": "Figures.",
    "analysis.results": "Effects, importance, margins, the final test.",
    "analysis.choice": "Which trial, how sure, the frozen choice, its confirmation.",
    "analysis.statistics": "Bootstraps, paired differences, a surrogate of the search.",
    "analysis.bases": "What a run's bases were and saw.",
    "analysis.numbers": "How numbers and names are written for readers.",
    "analysis.tables": "The records of a run, and what is asked of them.",
    "analysis.table_files": "The files of a run, read and checked.",
    "study.run": "The whole flow of a study: begun, resumed, extended.",
    "study.replay": "One trial again from its record.",
    "study.saliency": "The command line of saliency maps: parse, call, print, exit code.",
    "study.saliency_maps": "Maps of a recorded trial, drawn and measured.",
    "study.score": "The command line of a model in use: pictures in, a CSV out.",
    "study.export": "The frozen winner as a folder of its own.",
    "study.winner": "An exported winner, read and used.",
    "study.cache": "The command line of the caches: listed, cleared, kept within a size.",
    "study.embedding": "Where images lie for a trial's network, drawn in a plane.",
    "study.final_test": "The test sets, opened once, on a frozen winner.",
    "study.forecast": "What a study will do and cost, told before it starts.",
    "study.warm_start": "Another study's trials as first knowledge of a search.",
    "study.validation_images": "The validation images of a recorded run.",
    "study.run_folder": "A run's folder from outside the trials: begun once, continued as it was.",
    "study.tune": "What a search decides and keeps; Ray behind its adapters.",
    "study.bases": "Which bases, brought from where, measured, cached.",
    "study.training": "One run of training and its trial, without Ray.",
    "study.space": "A YAML read and checked as a whole: a spec, or every fault in one message.",
    "study.space.checks": "What a space must satisfy beyond the form of its values.",
    "study.space.points": "A spec's search as searchers see it: points, and their parameters.",
    "study.space.study_spec": "A validated study, with every default written out.",
    "study.space.ablation": "What an ablation varies: designs, seeds, stopping, re-tuning.",
    "study.space.search": "What is searched: domains, conditions, the section `search`.",
    "study.space.reading": "A YAML as it stands: lines, places, sections and their fields.",
    "study.recipes": "What one kind of training is: a file a recipe, a file a loss.",
    "study.explain": "Saliency maps, and whether they mean anything.",
    "study.detectors": "Post-hoc detectors.",
    "study.watch": "What a terminal shows while a study runs.",
    "study.searchers": "Who proposes the parameters of trials, a file a searcher; ASHA's rungs.",
    "study.data": "Sources, roles, leak check, batches.",
    "study.records": "Files of a run: ledger, manifest, frozen choice, failures, disk.",
    "study.models": "Backbones, heads, weights and how they are loaded.",
    "study.losses": "Losses as pure functions and modules.",
    "study.scoring": "OOD scores, metrics, the objective: pure.",
    "study.device": "What is CUDA's own in training: precision, kernels, copies, graphs.",
    "study.section": "What every section of a space is.",
    "study.trial_command": "What the commands that make pictures of one trial take.",
    "study.arguments": "A command line read: its options, or every fault of them.",
    "study.options": "What the command line asks of a study.",
    "study.stdout": "Results on stdout, whoever reads it.",
    "study.counted": "Numbers with their nouns, lines that break between words.",
    "study.extras": "What few studies need, and how it is installed.",
    "study.invoked": "How the program was started, for what it says to type next.",
    "study.locks": "One process at a time, on every system.",
    "study.ending": "How a command ends before its time: signals, and what it runs on gone.",
    "study.seeding": "Named streams of random numbers.",
    "study.declared": "The one way to declare a parameter.",
    "study.literals": "Declarations in files that bring torch, read without running the file.",
    "study.plugins": "A user's own file as one of the project's.",
    "study.contents": "What a file holds, told by how it begins.",
    "study.errors": "Bad input and failures, told with place, rule and way out.",
    "study.terminal": "Text as a terminal may be given it, commands as a shell takes them.",
}
# Stricter than the order: these import of the project only what is named.
ALLOWED = {
    "analysis/*": (
        "analysis*", "study.records.columns", "study.records.files", "study.records.ledger",
        "study.records.failures",
        "study.records.frozen", "study.records.hold_outs", "study.records.scores",
        "study.records.sealed", "study.records.shapes", "study.records.words",
        "study.scoring.*", "study.seeding", "study.searchers.catalog", "study.searchers.rungs",
        "study.stdout", "study.invoked", "study.plugins", "study.counted", "study.ending",
        "study.terminal", "study.errors",
    ),
    "study/losses/*": ("study.errors", "study.declared", "study.literals", "study.losses*"),
    "study/models/*": (
        "study.errors", "study.contents", "study.literals", "study.models*",
    ),
    "study/scoring/*": ("study.errors", "study.plugins", "study.scoring*"),
    "study/training/schedules.py": ("study.errors",),
    "study/detectors/*": (
        "study.errors", "study.declared", "study.literals", "study.detectors*",
        "study.data.batches", "study.data.roles",
    ),
}  # fmt: skip
# Who may import a thing; nobody else.
ONLY_FROM = {
    "ray": ("study/tune/ray_*.py",),
    "study.data.test_access": ("study/final_test.py", "study/data/leaks/step.py"),
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


def module(source: str) -> str:
    """The dotted name of a file; of a package's ``__init__`` the package's."""
    return source.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room(name: str) -> str:
    """The room of a module: the longest of `ROOMS` that its name begins with."""
    parts = name.split(".")
    heads = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(head for head in heads if head in ROOMS)


@cache
def arrows() -> dict[str, set[str]]:
    """Module -> the modules of the project that it imports, packages only where meant."""
    files = sources(*SHIPPED)
    known = {module(source) for source in files}
    found = {}
    for source in files:
        names = imports(source) & known
        # "from a import b" names the package a too, which is meant only where b is not a module
        inner = {name.rpartition(".")[0] for name in names if "." in name}
        plain = {name for name in names if name not in inner or names_of_package(source, name)}
        found[module(source)] = plain - {module(source), "study"}
    return found


def names_of_package(source: str, package: str) -> bool:
    """Whether a file takes something from a package itself, not only modules out of it."""
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            if any(not is_module(f"{package}.{alias.name}") for alias in node.names):
                return True
        elif isinstance(node, ast.Import) and any(alias.name == package for alias in node.names):
            return True
    return False


def test_every_room_is_there_and_every_file_has_one() -> None:
    known = set(arrows())
    assert all(any(f"{name}.".startswith(f"{one}.") for name in known) for one in ROOMS)
    assert all(room(name) for name in known if name != "study")


@pytest.mark.parametrize("source", sources(*SHIPPED))
def test_imports_go_down_the_list_of_rooms(source: str) -> None:
    if source == "study/__init__.py":
        return
    floors = {name: floor for floor, name in enumerate(ROOMS)}
    own = room(module(source))
    up = {name for name in arrows()[module(source)] if floors[room(name)] < floors[own]}
    assert not up, f"{source} ({own}) imports {sorted(up)}, which stand above it"


def room_arrows() -> dict[str, set[str]]:
    """Room -> the other rooms that its files import."""
    found: dict[str, set[str]] = {name: set() for name in ROOMS}
    for name, others in arrows().items():
        if name != "study":
            found[room(name)] |= {room(other) for other in others} - {room(name)}
    return found


def shortest_arrows() -> dict[str, list[str]]:
    """The arrows between rooms that no longer way replaces, in the order of the rooms."""
    direct = room_arrows()

    def reached(name: str) -> set[str]:
        return direct[name].union(*(reached(other) for other in direct[name]))

    return {
        name: [
            other
            for other in ROOMS
            if other in direct[name]
            and not any(other in reached(way) for way in direct[name] - {other})
        ]
        for name in ROOMS
    }


def picture() -> str:
    """The rooms and the arrows between them, for Mermaid."""
    numbers = {name: f"r{number}" for number, name in enumerate(ROOMS)}
    lines = ["flowchart TD", *(f'    {numbers[name]}["{name}"]' for name in ROOMS)]
    lines += [
        f"    {numbers[name]} --> {' & '.join(numbers[other] for other in others)}"
        for name, others in shortest_arrows().items()
        if others
    ]
    return "\n".join(["```mermaid", *lines, "```"])


def map_of_rooms() -> str:
    """The rooms with their sentences, for CONTRIBUTING.md."""
    width = max(map(len, ROOMS))
    lines = [f"    {name:{width}}  {sentence}" for name, sentence in ROOMS.items()]
    return "\n".join(lines)


GENERATED = {"CONTRIBUTING.md": map_of_rooms, "docs/architecture.md": picture}
MARKS = ("<!-- rooms: begin -->\n", "\n<!-- rooms: end -->")


def between_marks(text: str) -> tuple[str, str, str]:
    """A document before, between and after the marks."""
    before, begin, rest = text.partition(MARKS[0])
    inside, end, after = rest.partition(MARKS[1])
    assert begin, f"no {MARKS[0]}"
    assert end, f"no {MARKS[1]}"
    return before, inside, after


@pytest.mark.parametrize("document", GENERATED)
def test_documents_show_the_rooms_as_they_are(document: str) -> None:
    inside = between_marks((ROOT / document).read_text(encoding="utf-8"))[1]
    told = "write it anew: python tests/unit/test_architecture.py"
    assert inside == GENERATED[document](), told


def test_no_two_files_import_each_other_in_a_ring() -> None:
    seen: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in seen:
            for other in sorted(arrows().get(name, ())):
                walk(other, (*path, name))
            seen.add(name)

    for name in sorted(arrows()):
        walk(name, ())


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
    names = [module(one) for one in sources("analysis") if not one.endswith("__main__.py")]
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
NOT_OURS = {".git", ".venv", "runs", "build", "site", "node_modules", ".hypothesis"}


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


def write_documents() -> None:
    for name, made in GENERATED.items():
        before, _, after = between_marks((ROOT / name).read_text(encoding="utf-8"))
        text = before + MARKS[0] + made() + MARKS[1] + after
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_documents()
