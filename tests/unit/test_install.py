"""What is installed, under which names, and what it needs to be there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ood_study.cli import COMMANDS, main
from study import __version__
from study.extras import EXTRAS, is_there
from study.space.loading import load_space

ROOT = Path(__file__).resolve().parents[2]
OURS = ("study", "analysis", "ood_study")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of Python's own modules those that are not on every system; who may import them.
POSIX_ONLY = {"fcntl": "study/locks.py", "msvcrt": "study/locks.py", "resource": "", "pwd": "",
              "grp": "", "termios": "", "tty": "", "pty": "", "syslog": ""}  # fmt: skip


def _imports() -> Iterator[tuple[str, str]]:
    """File, and the first part of the name of what it imports."""
    for path in (path for room in OURS for path in (ROOT / room).rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield file, node.module.split(".")[0]


def _bare(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_import_is_declared_and_every_declaration_is_imported() -> None:
    modules = {name for _, name in _imports()} - {*sys.stdlib_module_names, *OURS}
    of = packages_distributions()
    core = {_bare(one) for one in PROJECT["dependencies"]}
    extras = [extra for module, extra in EXTRAS.items() if module in of]
    extra = {_bare(one) for name in extras for one in PROJECT["optional-dependencies"][name]}
    declared = core | extra
    missing = {name for name in modules if not {_bare(one) for one in of[name]} & declared}
    assert not missing
    imported = {_bare(one) for name in {*modules, *EXTRAS} for one in of.get(name, [])}
    assert declared - imported == set()


def test_extras_are_of_no_core_dependency() -> None:
    core = {_bare(one) for one in PROJECT["dependencies"]}
    of = packages_distributions()
    assert not {_bare(one) for module in EXTRAS for one in of.get(module, [])} & core


def test_modules_of_one_system_are_imported_in_one_place() -> None:
    found = {(file, name) for file, name in _imports() if name in POSIX_ONLY}
    assert all(POSIX_ONLY[name] == file for file, name in found), found


def test_nothing_forks_or_kills_by_signal_0() -> None:
    calls = re.compile(r"os\.(fork|kill|getuid|setsid|killpg)\b|preexec_fn")
    for path in (path for room in OURS for path in (ROOT / room).rglob("*.py")):
        assert not calls.search(path.read_text(encoding="utf-8")), path


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules that are not to be found; a test names them."""
    import study.space.checks.extras as checks

    hidden: list[str] = []
    monkeypatch.setattr(checks, "is_there", lambda module: module not in hidden)
    return hidden


@pytest.mark.parametrize(
    ("module", "space", "changes", "told"),
    [
        ("timm", "energy", ["model.backbone=vit_tiny"], "vit_tiny needs timm"),
        ("pytorch_ood", "energy", ["train.detectors=[knn]"], "knn needs pytorch_ood"),
        ("pytorch_ood", "baselines", [], "needs pytorch_ood"),
        ("cmaes", "energy", ["tune.searcher=cmaes"], "cmaes needs cmaes"),
        ("captum", "nordf", [], "panels need captum"),
    ],
)
def test_space_that_needs_a_missing_extra_says_which(
    without: list[str], module: str, space: str, changes: list[str], told: str
) -> None:
    from study.errors import BadInput

    load_space(space, changes)
    without.append(module)
    with pytest.raises(BadInput) as caught:
        load_space(space, changes)
    assert told in str(caught.value)
    assert f"pip install 'ood-study[{EXTRAS[module]}]'" in str(caught.value)
    load_space("energy")  # needs none of them


def test_folder_that_is_called_as_a_module_is_not_that_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_such_tracker").mkdir()  # as wandb leaves one called wandb
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_there("no_such_tracker")


def test_command_tells_its_version_and_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ood-study {__version__}\n"
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name}" in told for name in COMMANDS)
    assert main(["analyze"]) == 2
    assert "'analyze': no such command" in capsys.readouterr().err


def _python(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with a study.py and an analysis.py of somebody else's."""
    for name in ("study", "analysis"):
        (tmp_path / f"{name}.py").write_text("mine = True\n")
    return tmp_path


def test_ood_study_works_beside_a_foreign_study(beside: Path) -> None:
    code = "import ood_study, study.errors; print(ood_study.load.__name__, study.__version__)"
    done = _python(beside, "-c", code)
    assert (done.returncode, done.stdout) == (0, f"load {__version__}\n"), done.stderr
    done = _python(beside, "-m", "ood_study", "run", "--space", "no_such_space")
    assert done.returncode == 2
    assert "no_such_space" in done.stderr
    assert "Traceback" not in done.stderr


def test_foreign_study_that_was_imported_first_is_named_in_a_sentence(beside: Path) -> None:
    done = _python(beside, "-c", "import study, ood_study")
    assert done.returncode == 1
    (last,) = done.stderr.strip().splitlines()[-1:]
    assert f"the name study is taken by {beside / 'study.py'}" in last
    assert "Import ood_study before it, or rename it." in last


@pytest.mark.parametrize("module", ["study.cli", "analysis", "study.score", "study.saliency"])
def test_module_run_by_name_does_what_its_command_does(tmp_path: Path, module: str) -> None:
    done = _python(tmp_path, "-m", module, "--help")
    assert done.returncode == 0
    assert "usage:" in done.stdout


@pytest.mark.slow
def test_wheel_is_whole_and_works_from_an_empty_folder(tmp_path: Path) -> None:
    source, environment = tmp_path / "source", tmp_path / "environment"
    parts = [*OURS, "search_spaces", "pyproject.toml", "README.md", "LICENSE"]
    files = subprocess.run(
        ["git", "ls-files", *parts], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run([*pip, *build], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    (packages,) = environment.glob("[Ll]ib/**/site-packages")
    install = ["--python", environment / "bin" / "python", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, *install, wheel], check=True)
    theirs = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "theirs.pth").write_text(f"{theirs}\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    command = environment / "bin" / "ood-study"
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def told(*arguments: str) -> str:
        done = subprocess.run([command, *arguments], cwd=empty, env=plain, check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout

    assert told("--version") == f"ood-study {__version__}\n"
    for space in (ROOT / "search_spaces").glob("*.yaml"):
        assert (packages / "search_spaces" / space.name).exists()
    for room in OURS:
        assert (packages / room / "py.typed").exists()
    assert (packages / "study" / "data" / "wordnet" / "nouns.tsv.xz").exists()
    assert "# Forecast" in told(
        "run", "--space", "energy", "--smoke", "--data", "demo", "--dry-run"
    )
    assert "usage: ood-study analyse" in told("analyse", "--help")
