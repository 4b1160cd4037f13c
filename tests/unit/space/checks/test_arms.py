"""What an arm breaks is told at the level that sets a parameter of the rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import BadInput, Fault
from tests.unit.space.ablation.test_section import load


def faults_of(tmp_path: Path, text: str) -> tuple[Fault, ...]:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text)
    return caught.value.faults


def test_rule_of_a_fixed_parameter_is_told_at_the_other_that_the_arm_sets(tmp_path: Path) -> None:
    (fault,) = faults_of(
        tmp_path,
        "recipe: energy\ntrain: {epochs: 9, warmup_epochs: 3}\n"
        "ablate: {design: path, seeds: [0], factors: {momentum: [0.5], epochs: [2]}}\n",
    )
    assert fault.key == "ablate.factors.epochs[0]"
    assert fault.value == 2
    assert "in arm 'momentum=0.5 + epochs=2'" in fault.rule


def test_network_that_does_not_fit_is_told_at_the_level_of_the_network(tmp_path: Path) -> None:
    (fault,) = faults_of(
        tmp_path,
        "recipe: nordf\nmodel: {backbone: wrn_40_2, dropout: 0.1, init: random}\n"
        "base: {backbone: resnet20}\n"
        "ablate:\n  design: path\n  seeds: [0]\n"
        "  factors: {optimizer: [adamw], model.backbone: [resnet18]}\n"
        "select: {floor: {id_accuracy: {at_least: 0}}}\n",
    )
    assert fault.key == "ablate.factors.model.backbone[0]"
    assert "has no dropout" in fault.rule


def test_same_problem_in_many_arms_is_told_once(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        "recipe: energy\ntrain: {epochs: 9, warmup_epochs: 3}\nablate:\n  design: factorial\n"
        "  seeds: [0]\n  factors: {momentum: [0.5], lr: [0.1], epochs: [2]}\n",
    )
    assert [fault.key for fault in faults] == ["ablate.factors.epochs[0]"]


def test_what_the_baseline_breaks_too_is_told_there_alone(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        "recipe: nordf\nmodel: {init: random}\nbase: {backbone: resnet20, init: imagenet}\n"
        "ablate: {design: add_one, seeds: [0], factors: {reconstruction: [huber]}}\n"
        "select: {floor: {id_accuracy: {at_least: 0}}}\n",
    )
    assert [fault.key for fault in faults] == ["base.init"]
