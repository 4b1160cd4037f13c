"""NORD-F's own protocol on breeds under two hold-outs, from pictures to final tests."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.faults import remains
from tests.integration.runs import Shell, num_events

KILL = signal.SIGKILL
BREEDS = ("beagle", "boxer", "collie", "pug", "vizsla")
FIRST = "{near_val: [beagle], near_test: [pug]}"
SECOND = "{near_val: [boxer], near_test: [vizsla]}"
# As the space has it, but small, and without weights that would have to be downloaded.
SMALL = (
    "data.image_size=32",
    "model.backbone=convnextv2_atto",
    "model.init=random",
    "train.perceptual_network=null",
    "train.reconstruction=l1",
    "train.epochs=1",
    "train.epoch_images=8",
    "ablate.seeds=[0, 1]",
)


def _save(folder: Path, count: int, colour: np.ndarray, generator: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for row in range(count):
        tiles = np.clip(colour + generator.integers(-60, 61, (8, 8, 3)), 0, 255)
        pixels = tiles.astype(np.uint8).repeat(5, 0).repeat(5, 1)
        Image.fromarray(pixels).save(folder / f"{row:02d}.png")


@pytest.fixture
def breeds(shell: Shell) -> Shell:
    """Class folders of pictures of 40 pixels, and what is far."""
    generator, root = np.random.default_rng(0), shell.folder / "breeds"
    for breed in BREEDS:
        colour = generator.integers(40, 216, 3)
        _save(root / "id" / "train" / breed, 18, colour, generator)
        _save(root / "id" / "test" / breed, 6, colour, generator)
    for role in ("ood_val", "ood_test"):
        _save(root / role / f"flowers_{role}", 12, np.array([128, 128, 128]), generator)
    return shell


def _of_two_hold_outs(out: str) -> list[str]:
    """The arguments of a study of two arms and two seeds under each of two hold-outs."""
    factors = f"ablate.factors={{reversal: [none], data.hold_out: [{SECOND}]}}"
    arguments = ["--space", "nordf_seed", "--data-root", "breeds", "--max-concurrent", "1"]
    sections = (*SMALL, f"data.hold_out={FIRST}", factors)
    return [*arguments, "--out", out, "--set", *sections]


@pytest.mark.ray
@pytest.mark.slow
def test_nordf_on_breeds_under_two_hold_outs_ends_with_effects_and_tests(breeds: Shell) -> None:
    code, out = breeds.study(*_of_two_hold_outs("run"))
    assert code == 0, breeds.told()
    assert "All hold-outs  run/report.html" in out
    code, out = breeds.run("-m", "analysis", "ablation", "run", "--json")
    assert code == 0, breeds.told()
    assert {(row["effect"], row["n"]) for row in json.loads(out)} == {("reversal=none", 4)}
    code, out = breeds.run("-m", "analysis", "test", "run", "--json")
    assert code == 0, breeds.told()
    tested = {name: {row["dataset"] for row in rows} for name, rows in json.loads(out).items()}
    sets = {"near_test", "flowers_ood_test", "mean"}
    assert tested == {"hold_out_1": sets, "hold_out_2": sets}
    code, _ = breeds.study("--resume", "run")
    assert code == 0, breeds.told()


@pytest.mark.ray
@pytest.mark.slow
def test_study_killed_in_the_second_of_two_hold_outs_resumes_to_the_same_bits(
    breeds: Shell,
) -> None:
    code, _ = breeds.study(*_of_two_hold_outs("whole"))
    assert code == 0, breeds.told()
    cut = breeds.folder / "cut"
    arguments = _of_two_hold_outs("cut")
    code, _ = breeds.stopped(arguments, lambda: num_events(cut / "hold_out_2", "result") > 0, KILL)
    assert code == -KILL
    code, _ = breeds.study("--resume", "cut", "--max-concurrent", "1")
    assert code == 0, breeds.told()
    for name in ("hold_out_1", "hold_out_2"):
        assert remains(cut / name) == remains(breeds.folder / "whole" / name)
