"""Counts lines of code by room: no blank lines, comments or docstrings.

.venv/bin/python tests/code_lines.py [CHECKOUT]
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

SILENT = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
}  # fmt: skip


def code_lines(text: str) -> int:
    """Lines of a Python source that hold code."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else ():  # a docstring, or one of an attribute
            value = one.value if isinstance(one, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts.update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line
        for token in tokens
        if token.type not in SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - texts)


def main(root: Path) -> None:
    """Print files and lines of every room of ``study`` and ``analysis``."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for top in ("study", "analysis"):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).parts
            room = "/".join(parts[:2]) if len(parts) > 2 else f"{top}/*.py"
            files[room] += 1
            lines[room] += code_lines(path.read_text(encoding="utf-8"))
    for room in sorted(lines):
        print(f"{room:24}{files[room]:5}{lines[room]:8,}")
    print(f"{'together':24}{files.total():5}{lines.total():8,}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
