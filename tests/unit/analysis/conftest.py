"""What tests of ``analysis`` share."""

from __future__ import annotations

import pytest

from analysis.report import figures


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a report are drawn as ever and not rendered, which takes half of its time."""
    monkeypatch.setattr(figures, "picture", lambda figure, alt: figures.Picture("data:,", alt))
