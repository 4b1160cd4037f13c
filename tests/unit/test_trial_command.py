"""The commands that make pictures of one trial: what they do with a run before they read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from study import embedding, saliency


@pytest.mark.parametrize("main", [embedding.main, saliency.main])
def test_run_that_lost_its_plugin_exits_2_with_a_sentence(
    main: Callable[[Sequence[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"plugins": [{"name": "norm.py", "sha256": "0" * 64}]}
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    assert main([str(tmp_path), "0", "--out", str(tmp_path / "out")]) == 2
    assert "is missing, and the run was made with it" in capsys.readouterr().err
