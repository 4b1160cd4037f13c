"""docs/screens.md: its pictures are there, and small."""

from __future__ import annotations

import re

import pytest

from tests.conftest import PROJECT

NAMES = re.findall(r"\]\((screens/[^)]+)\)", (PROJECT / "docs" / "screens.md").read_text())


def test_page_shows_terminal_tensorboard_dashboard_and_report() -> None:
    kinds = {name.removeprefix("screens/").split("_")[0] for name in NAMES}
    assert kinds == {"terminal", "tensorboard", "optuna", "report"}
    files = {f"screens/{path.name}" for path in (PROJECT / "docs" / "screens").iterdir()}
    assert files == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_small(name: str) -> None:
    assert 1000 < (PROJECT / "docs" / name).stat().st_size < 150_000
