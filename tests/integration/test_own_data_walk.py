"""docs/own-data.md, every command as it stands there, on a stranger's pictures."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.__main__ import main as analysis_command
from study.cli import main as study_command
from tests.integration.runs import PROJECT, Shell

MAINS = {"run_study.py": study_command, "-m analysis": analysis_command}
COLOURS = {
    "red": (200, 60, 60),
    "green": (60, 190, 70),
    "blue": (70, 80, 210),
    "brown": (120, 90, 60),
    "pink": (230, 150, 190),
}


def _commands() -> list[list[str]]:
    text = (PROJECT / "docs" / "own-data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


def _save(folder: Path, count: int, colour: tuple[int, int, int], seed: int) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for row in range(count):
        tiles = np.clip(np.array(colour) + generator.integers(-50, 51, (8, 8, 3)), 0, 255)
        pixels = tiles.astype(np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(folder / f"{row:03d}.png")


@pytest.fixture
def walk(shell: Shell) -> Shell:
    """The folder of the walk: DATA with all roles."""
    root = shell.folder / "DATA"
    for seed, (name, colour) in enumerate(COLOURS.items()):
        _save(root / "id" / "train" / name, 50, colour, seed)
        _save(root / "id" / "test" / name, 10, colour, 10 + seed)
    (root / "id" / "train" / "readme.txt").write_text("where they are from")
    for seed, place in enumerate(("outliers/things_train", "ood_val/scenes", "ood_test/textures")):
        _save(root / place, 64, (128, 128, 128), 20 + seed)
    return shell


def test_every_command_of_the_walk_does_what_the_page_says(walk: Shell) -> None:
    commands = _commands()
    assert len(commands) == 5
    for command in commands:
        (name,) = (one for one in MAINS if " ".join(command).startswith(f"python {one} "))
        code, _ = walk.without_ray(MAINS[name], *command[1 + len(name.split()) :])
        assert code == 0, walk.told()
    told = walk.told()
    assert "images of 32x32 pixels: that of the images of 'id_train'" in told
    assert "'id_train': left out: 1 no picture (.txt)." in told
    assert "Held-out classes of the ID set are near-OOD" in told
    plan = json.loads((walk.folder / "runs" / "mine" / "manifest.json").read_text())["data"]
    assert plan["plan"]["classes"] == sorted(COLOURS)
    assert plan["roles"]["train"]["left_out"] == {"no picture (.txt)": 1}
    assert (walk.folder / "runs" / "mine" / "final_test" / "winner.npz").exists()
