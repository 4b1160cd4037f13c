"""The examples of docs/extend.md, and copies of the project to put them into."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def example(title: str) -> str:
    """The code below the bullet of docs/extend.md that begins with ``title`` in bold."""
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    bullet = page.split(f"- **{title}**", 1)[1].split("\n- **", 1)[0]
    code = re.search(r"```python\n(.*?)```", bullet, re.DOTALL)
    assert code is not None, f"docs/extend.md shows no code for {title}"
    return textwrap.dedent(code[1])


Write = Callable[..., Path]


def joined_folder(package: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Adds files to a package whose files declare, for as long as a test runs."""
    folder.mkdir()
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])

    def write(text: str, name: str = "toy") -> Path:
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def copied_project(folder: Path) -> Path:
    """A copy of the project's code, compiled as it is, without its tests but for two helpers."""
    for room in ("study", "analysis", "search_spaces"):
        shutil.copytree(ROOT / room, folder / room)
    (folder / "tests").mkdir()
    for file in ("run_study.py", "tests/toys.py", "tests/without_ray.py"):
        shutil.copy(ROOT / file, folder / file)
    return folder


def run_in(project: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Code in a fresh process that has a copy of the project."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
