"""What mkdocs does with these pages beside rendering them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([\w./-]+\.\w+|LICENSE)(#[\w-]+)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The first page is the README; what lies outside this folder is named, not linked."""
    if page.file.src_uri == "index.md":
        text = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
        markdown = re.sub(r"\]\((?=CONTRIBUTING|benchmarks/)", "](../", text)
    return _OUTSIDE.sub(r"\1 (`\2`)", markdown)
