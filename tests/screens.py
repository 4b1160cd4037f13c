"""Pictures of what people see of a study, for docs/screens.md.

    python tests/screens.py RUN [--out docs/screens]

Needs a finished run, Chromium and aiohttp; optuna-dashboard is left out where it is not installed.
Each picture is of this run's own files: the live view is what a terminal showed at the middle of
the search, made again from its ledger.
"""

from __future__ import annotations

import argparse
import html
import io
import os
import pty
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

import analysis
from study.records.files import trial_id
from study.watch.progress_view import render
from study.watch.scoreboard import Scoreboard
from tests.browser import page

_COLOURS = 256  # of a palette: pages have few, a terminal's green is rare
_LINE = 19  # pixels of a line of a terminal
_COLUMN = 8.43


def board_of(run: Path, share: float = 0.5) -> tuple[Scoreboard, float]:
    """How the search stood after a share of its ledger's lines, and the seconds that took."""
    study = analysis.load(run)
    lines = study.ledger[: int(share * len(study.ledger))]
    start = datetime.fromisoformat(lines[0]["time"]).timestamp()
    board = Scoreboard(len(study.trials), study.metric, now=0.0)
    epochs, now = int(study.section("train")["epochs"]), 0.0
    reasons = study.trials.set_index("trial_id")["reason"]
    asked: dict[str, dict[str, object]] = {}
    for line in lines:
        now = datetime.fromisoformat(line["time"]).timestamp() - start
        name = trial_id(line["number"]) if "number" in line else ""
        if line["event"] == "ask":
            asked[name] = line["params"]
            board.start(name, line["params"])
        elif line["event"] == "promoted":
            board.start(name, asked[name])
        elif line["event"] == "result":
            board.epoch(name, line["epoch"], epochs, line["metrics"])
            if line["decision"] != "continue":
                board.end(name, line["decision"], line["metrics"])
                board.last = f"trial {name} {line['decision']}: {reasons[name]}"
    return board, now


def live(run: Path, columns: int) -> str:
    """The live view as a terminal of so many columns shows it."""
    board, now = board_of(run)
    console = Console(width=columns, force_terminal=True, file=io.StringIO(), record=True)
    console.print(render([], board, now, now, (columns, 30)))
    return console.export_text(styles=True)


def in_terminal(command: list[str], columns: int) -> str:
    """What a command writes to a terminal of so many columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    process.wait()
    return shown.decode().replace("\r\n", "\n")


def draw_terminal(text: str, columns: int, path: Path, lines: int) -> None:
    """Text with its escape sequences as a picture."""
    kept = "\n".join(text.splitlines()[:lines])
    console = Console(width=columns, record=True, file=io.StringIO())
    console.print(Text.from_ansi(kept), soft_wrap=True)
    body = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    style = "pre{margin:12px;font:14px/19px 'DejaVu Sans Mono',monospace;color:#ddd}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "terminal.html"
        told = (
            f"<meta charset=utf-8><body style='background:#1c1c1c;margin:0'><style>{style}</style>"
        )
        file.write_text(told + body)
        size = (int(columns * _COLUMN) + 26, (kept.count("\n") + 1) * _LINE + 26)
        page(file.as_uri(), size=size, picture=path)


def small(path: Path) -> None:
    """A palette in place of true colours."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def served(command: list[str], port: int) -> Iterator[str]:
    """A server of pages while it is looked at; its address."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Draw every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/screens"))
    options = parser.parse_args()
    run, out = options.run, options.out
    out.mkdir(parents=True, exist_ok=True)
    name = run.resolve().name
    for columns in (80, 120):
        table = in_terminal([sys.executable, "-m", "analysis", "trials", str(run)], columns)
        text = f"{live(run, columns)}\n{table}"
        draw_terminal(text, columns, out / f"terminal_{columns}.png", 46)
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run / "tensorboard")]
    command += ["--port", str(port), "--host", "127.0.0.1", "--load_fast=false"]
    with served(command, port) as address:
        shot = {"size": (1960, 700), "picture": out / "tensorboard_hparams.png"}
        page(f"{address}/#hparams", f"{name}/00002", **shot)  # type: ignore[arg-type]
        shot = {"size": (1200, 760), "picture": out / "tensorboard_energies.png"}
        page(f"{address}/#images", "energies and margins", **shot)  # type: ignore[arg-type]
    if find_spec("optuna_dashboard"):
        port = free_port()
        code = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, f"sqlite:///{run / 'study.db'}"]
        command += ["--port", str(port), "--host", "127.0.0.1"]
        with served(command, port) as address:
            shot = {"size": (1300, 1150), "picture": out / "optuna_dashboard.png", "settle_s": 8}
            page(f"{address}/dashboard/studies/1", "Timeline", **shot)  # type: ignore[arg-type]
    report = (run / "report.html").resolve().as_uri()
    for kind, size, media in (
        ("wide", (1100, 1500), ""), ("phone", (390, 1300), ""), ("paper", (794, 1123), "print"),
    ):  # fmt: skip
        picture = out / f"report_{kind}.png"
        page(report, html.unescape(name), size=size, picture=picture, media=media)
    for path in out.glob("*.png"):
        small(path)
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
