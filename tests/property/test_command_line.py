"""Whatever a space holds, its command ends in a plan or in exit 2 with sentences."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study import cli
from study.space.loading import SPACES

TOKENS = ["1e-4", "-1", "0", "null", "true", ".nan", "[1, 2]", "{}", "x", "''", "&a", "*a", "- ",
          ":", "\t", "}", "#", "---", "\x07", "é", "9" * 30, "lr", "search:", "20 GB",
          "!!python/name:os"]  # fmt: skip


class _Planned(BaseException):
    """The space was good: the next step would read data."""


@pytest.fixture(scope="module", autouse=True)
def _no_data() -> Any:
    from study import run

    def planned(*_: Any) -> None:
        raise _Planned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "make_plan", planned)
        yield


def _end(text: str, *more: str) -> tuple[int | str, str]:
    told = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "space.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        arguments = ["--space", str(file), "--dry-run", *more]
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            try:
                return cli.main(arguments), told.getvalue()
            except _Planned:
                return "planned", told.getvalue()


@settings(max_examples=150)
@given(st.data())
def test_mutated_space_ends_in_a_plan_or_in_exit_2(data: st.DataObject) -> None:
    names = sorted(path.name for path in SPACES.glob("*.yaml"))
    text = (SPACES / data.draw(st.sampled_from(names))).read_text(encoding="utf-8")
    for _ in range(data.draw(st.integers(1, 3))):
        position, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 12))
        text = text[:position] + data.draw(st.sampled_from(TOKENS)) + text[position + cut :]
    end, told = _end(text)
    assert end in ("planned", 2)
    assert "Traceback" not in told
    if end == 2:
        assert all(line.rstrip().endswith((".", "?", ")", ":")) for line in told.splitlines()), (
            told
        )


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_end_in_exit_2(content: bytes) -> None:
    end, told = _end(content.decode("latin-1"))
    assert end == 2
    assert "Traceback" not in told
    assert told


@settings(max_examples=100)
@given(st.text(max_size=20))
def test_any_checkpoint_budget_is_taken_or_told(text: str) -> None:
    end, told = _end("recipe: classifier\n", "--set", f"tune.checkpoint_budget={text}")
    assert end in ("planned", 2)
    assert "Traceback" not in told
