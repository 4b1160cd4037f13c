from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study.locks import sync_path, take_lock


def test_lock_is_for_one_process_and_is_let_go_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = "from study.locks import take_lock; import sys; file = open(sys.argv[1], 'a'); "
    with path.open("a") as file:
        take_lock(file.fileno(), wait=False)
        code += "take_lock(file.fileno(), wait=False)"
        command = [sys.executable, "-c", code, str(path)]
        project = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
        assert "BlockingIOError" in done.stderr
    with path.open("a") as other:
        take_lock(other.fileno(), wait=True)


@pytest.mark.parametrize("name", ["", "file"])
def test_sync_takes_files_and_folders(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    sync_path(tmp_path / name)
