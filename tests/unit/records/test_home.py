from __future__ import annotations

from pathlib import Path

import pytest

from study.records.cache import cache_folder
from study.records.test_accesses import machine_ledger


def test_relative_folders_mean_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OOD_STUDY_CACHE", " cache ")
    monkeypatch.setenv("OOD_STUDY_STATE", "state")
    found = [cache_folder(), machine_ledger().parent]
    elsewhere = tmp_path / "trial"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert found == [tmp_path / "cache", tmp_path / "state"]
    assert [cache_folder(), machine_ledger().parent] == found
