from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study import plugins
from study.errors import BadInput
from tests.examples import ROOT, example
from tests.unit.test_examples import (
    BACKBONE,
    DETECTOR,
    FORMAT,
    METRIC,
    RECONSTRUCTION,
    SEARCHER,
    USES,
)

LOSS = """
new = ["train.loss=quiet", "search.oe_weight=null"]
assert not told("outlier_exposure", *new, "search.quiet_weight={loguniform: [0.01, 1]}")
assert "torch" not in sys.modules
import study.recipes.outlier_losses.quiet as module
assert module.__file__.endswith("own/quiet.py")
"""
EXAMPLES = {
    "A file format": ("npz", FORMAT),
    "A loss against outliers": ("quiet", LOSS),
    "A reconstruction loss": ("minkowski", RECONSTRUCTION),
    "A post-hoc detector": ("norm", DETECTOR),
    "A metric": ("errors", METRIC),
    "A searcher": ("joint", SEARCHER),
    "A backbone": ("plain", BACKBONE),
}
DETECTOR_FILE = 'DETECTOR = {"needs": ["features"]}\nclass Method: pass\n'


def write_example(folder: Path, title: str) -> Path:
    """README's example as a file of somebody's own folder."""
    path = folder / "own" / f"{EXAMPLES[title][0]}.py"
    path.parent.mkdir(exist_ok=True)
    before = "from study.scoring.metrics import metric\n\n\n" if title == "A metric" else ""
    path.write_text(before + example(title), encoding="utf-8")
    return path


def _run(folder: Path, files: list[Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    variable = os.pathsep.join(map(str, files))
    environment = os.environ | {"PYTHONPATH": str(ROOT), plugins.VARIABLE: variable}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("title", EXAMPLES)
def test_example_works_from_a_folder_of_its_own(tmp_path: Path, title: str) -> None:
    file = write_example(tmp_path, title)
    done = _run(tmp_path, [file], "-c", USES + EXAMPLES[title][1])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("gone.py", None, "cannot be read: No such file"),
        ("norm.txt", "x = 1", "a plugin is a file NAME.py"),
        ("My-Norm.py", DETECTOR_FILE, "a plugin is a file NAME.py"),
        ("broken.py", "DETECTOR = {\n", "broken.py:1: this is no Python"),
        ("unnamed.py", "DETECTOR = {\n", "(unnamed.py, line 1)"),
        ("empty.py", "", "declares nothing that a study knows"),
        ("both.py", DETECTOR_FILE + "FORMAT = {}\n", "several kinds at once: DETECTOR, FORMAT"),
        ("knn.py", DETECTOR_FILE, "detectors/methods/knn.py has this name already"),
    ],
)
def test_plugin_that_cannot_be_one_is_refused_in_a_sentence(
    tmp_path: Path, name: str, text: str | None, told: str
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput) as caught:
        plugins.read_plugins([file])
    assert told in str(caught.value)
    assert name in str(caught.value)


def test_all_faults_of_all_plugins_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "norm.py").write_text(DETECTOR_FILE)
    named = [tmp_path / "empty.py", *(tmp_path / one / "norm.py" for one in ("one", "two", "one"))]
    with pytest.raises(BadInput) as caught:
        plugins.read_plugins(named)
    first, second = caught.value.faults
    assert "declares nothing" in str(first)
    assert f"{tmp_path / 'one' / 'norm.py'} has this name already" in str(second)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0\n" + DETECTOR_FILE, "norm.py:1: raises ZeroDivisionError when it is imported"),
        (DETECTOR_FILE + "raise SystemExit(3)\n", "norm.py:3: raises SystemExit"),
        ("DETECTOR = {'needs': ['wings']}\nclass Method: pass\n", "norm.py:1: DETECTOR.needs"),
        ("DETECTOR = {'needs': ['features']}\n", "has a class Method. Write class Method(Det"),
        ("from study.scoring.metrics import metric\n@metric('AUROC', 'higher')\n"
         "def auroc(tally): return tally.auroc()\n",
         "auroc: a metric of this name is declared already"),
    ],
)  # fmt: skip
def test_plugin_that_is_wrong_ends_the_command_with_a_sentence(
    tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "norm.py"
    file.write_text(text)
    asked = ("--space", "energy", "--smoke", "--data", "demo", "--dry-run")
    done = _run(tmp_path, [], "-m", "study.cli", *asked, "--plugin", str(file))
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_plugin_is_no_option_of_a_study_that_is_there(tmp_path: Path) -> None:
    done = _run(tmp_path, [], "-m", "study.cli", "--resume", ".", "--plugin", "norm.py")
    assert done.returncode == 2
    assert "--plugin: cannot go with --resume: the study's record says it" in done.stderr


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A user's file, and a run's folder that keeps a copy of it."""
    file = tmp_path / "norm.py"
    file.write_text(DETECTOR_FILE)
    monkeypatch.setenv(plugins.VARIABLE, str(file))
    told = plugins.keep(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"plugins": told}))
    return file, tmp_path / "run"


def test_run_keeps_a_copy_and_uses_it_from_then_on(kept: tuple[Path, Path]) -> None:
    file, run = kept
    copy = run / "plugins" / "norm.py"
    assert os.environ[plugins.VARIABLE] == str(copy)
    (told,) = json.loads((run / "manifest.json").read_text())["plugins"]
    (one,) = plugins.of_folder(run)
    assert (one.file, one.sha256) == (copy, told["sha256"])
    assert (told["kind"], told["file"]) == ("post-hoc detector", str(file))
    assert plugins.changed_since([told]) == []
    file.write_text("# another\n" + DETECTOR_FILE)
    (line,) = plugins.changed_since([told])
    assert line == f"{file} has changed; the run goes on with its own copy of it"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda copy: copy.write_text("x = 1"), "is not the plugin that the run was made with"),
        (lambda copy: copy.unlink(), "is missing, and the run was made with it"),
    ],
)
def test_copy_that_was_changed_is_refused(kept: tuple[Path, Path], change: Any, told: str) -> None:
    _, run = kept
    change(run / "plugins" / "norm.py")
    with pytest.raises(BadInput, match=told):
        plugins.of_folder(run)


def test_records_from_python_take_the_plugins_along_or_say_how(kept: tuple[Path, Path]) -> None:
    _, run = kept
    for first, told in (("", "no "), ("import study.declared; ", f"with {plugins.VARIABLE}=")):
        code = f"{first}import analysis; analysis.load({str(run)!r})"
        done = _run(run, [], "-c", code)
        assert done.returncode == 1
        assert told in done.stderr.splitlines()[-1]


def test_backbones_code_is_part_of_the_key_of_its_bases(tmp_path: Path) -> None:
    code = "from study.bases.training_code import code_version as v; "
    code += "print(v('plain'), v('resnet20'))"
    file = write_example(tmp_path, "A backbone")
    own, other = _run(tmp_path, [file], "-c", code).stdout.split()
    file.write_text(file.read_text() + "\nWIDER = True\n")
    changed, same = _run(tmp_path, [file], "-c", code).stdout.split()
    assert own != changed
    assert other == same
