"""docs/architecture.md's walk of one m_in: twelve files at most, each of which it truly passes."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from study.data.batches import Batch
from study.losses.margins import EnergyStats
from study.recipes.base import Moment, TrainingRecipe
from study.recipes.registry import make_recipe
from study.space.loading import load_space
from study.tune.record import TrialRecord
from tests.toys import toy_setup

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
recipe: energy
train: {m_out: {above: id_energy, sd: 0}}
search: {m_in: {below: id_energy, sd: {uniform: [0.5, 6]}}}
"""
# Files that name a margin and are no part of the way from a YAML to the loss.
ASIDE = {
    "study/forecast.py": "takes any margins to time a step",
    "study/losses/balanced_energy.py": "another loss",
    "study/losses/gradient_regularisation.py": "another loss",
    "study/recipes/outlier_losses/balanced_energy.py": "another loss",
    "study/recipes/outlier_losses/gradient_regularisation.py": "another loss",
    "study/space/smoke.py": "--smoke puts others in their place",
    "study/tune/energy_picture.py": "draws them",
}


def _walk() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## The walk of one m_in\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(study/\S+\.py)` \|", section, re.MULTILINE)


class _Base:
    """A base of which nothing but its energies is asked."""

    def energy_stats(self, temperature: float) -> EnergyStats:
        return EnergyStats(-10.0, 2.0, -4.0, 1.0)


def _walked(folder: Path) -> tuple[dict[str, Any], set[str]]:
    """An m_in from a YAML into a loss: what the trial is told, and the files that ran."""
    ran: set[str] = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        ran.add(frame.f_code.co_filename)

    (folder / "space.yaml").write_text(SPACE)
    batch = Batch(torch.rand(4, 3), torch.tensor([0, 1]), 2)
    sys.setprofile(note)
    try:
        setup = toy_setup(load_space(str(folder / "space.yaml")))
        object.__setattr__(setup, "models", {"base": _Base()})
        told = setup.assign(TrialRecord(0, 0, {"train.m_in.sd": 2.3})).train
        recipe = make_recipe("energy", told)
        assert isinstance(recipe, TrainingRecipe)
        loss = recipe.loss()
        loss.at(Moment(1, 0, 1, 1))
        loss(torch.nn.Linear(3, 2), batch)
    finally:
        sys.setprofile(None)
    return told, ran


def test_walk_has_at_most_twelve_files_and_each_of_them_runs(tmp_path: Path) -> None:
    walk = _walk()
    assert 2 <= len(walk) == len(set(walk)) <= 12
    told, ran = _walked(tmp_path)
    assert told["m_in"] == pytest.approx(-10 - 2.3 * 2)
    assert [name for name in walk if str(ROOT / name) not in ran] == []


def test_no_other_file_names_the_margin() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "study").rglob("*.py")}
    named = {
        path.relative_to(ROOT).as_posix()
        for path, text in texts.items()
        if "m_in" in text  # most files are not worth parsing
        for node in ast.walk(ast.parse(text))
        if "m_in" in [getattr(node, part, "") for part in ("id", "arg", "value")]
    }
    assert named - set(_walk()) == set(ASIDE)
