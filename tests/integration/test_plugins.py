"""A study of a user's own files, from the search to the model in use, after the files are gone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.integration.runs import Shell
from tests.unit.test_plugins import EXAMPLES, write_example

pytestmark = [pytest.mark.ray, pytest.mark.slow]
TITLES = (
    "A loss against outliers", "A post-hoc detector", "A metric", "A searcher", "A backbone",
    "A file format",
)  # fmt: skip
SMALL = (
    "base.epochs=1", "base.warmup_epochs=0", "base.epoch_images=128", "train.epochs=1",
    "train.warmup_epochs=0", "train.epoch_images=64", "tune.num_trials=2",
    "search.batch_size={choice: [16, 32]}", "select.floor={id_accuracy: {at_least: 0.0}}",
    "model.backbone=plain", "train.loss=quiet", "search.oe_weight=null",
    "train.detectors=[norm]", "train.own_score=norm",
    "search.quiet_weight={loguniform: [0.01, 1]}", "select.metric=val/detection_error",
    "tune.searcher=joint", "data.ood_val=[dots.npz]",
)  # fmt: skip


def test_plugins_serve_a_run_for_good(shell: Shell) -> None:
    images = np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)
    np.savez(shell.folder / "dots.npz", images=images, labels=np.zeros(64, int))
    plugins = [option for title in TITLES for option in ("--plugin", _example(shell, title))]
    asked = ["--space", "outlier_exposure", "--data-root", "data", "--smoke", "--out", "run"]
    code, _ = shell.study(*asked, *plugins, "--set", *SMALL)
    assert code == 0, shell.told()
    told = json.loads((shell.folder / "run" / "manifest.json").read_text())["plugins"]
    assert {one["name"] for one in told} == {f"{EXAMPLES[title][0]}.py" for title in TITLES}
    shutil.rmtree(shell.folder / "own")
    assert shell.study("--extend", "run", "--num-trials", "+1")[0] == 0, shell.told()
    assert shell.study("--replay", "run", "00000")[0] == 0, shell.told()
    code, _ = shell.run("-m", "study.embedding", "run", "winner", "--out", "map", "--images", "9")
    assert code == 0, shell.told()
    code, _ = shell.run("-m", "analysis", "test", "run")
    assert code == 0, shell.told()
    assert shell.run("-m", "analysis", "export", "run", "--model", "out")[0] == 0, shell.told()
    (shell.folder / "run").rename(shell.folder / "gone")
    Image.fromarray(images[0]).save(shell.folder / "one.png")
    code, out = shell.run("-m", "study.score", "out", "one.png")
    assert code == 0, shell.told()
    assert out.splitlines()[1].startswith("one.png,")
    (shell.folder / "gone" / "plugins" / "norm.py").write_text("DETECTOR = {}\n")
    assert shell.study("--resume", "gone")[0] == 2
    assert "is not the plugin that the run was made with" in shell.told()


def _example(shell: Shell, title: str) -> str:
    return str(write_example(shell.folder, title).relative_to(shell.folder))
