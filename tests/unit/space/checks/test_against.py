"""A spec against its data and its base, once they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.errors import BadInput
from study.losses.margins import EnergyStats
from study.space.checks.against import (
    check_against_base,
    check_against_data,
    check_outlier_weights,
)
from study.space.loading import load_space
from tests.unit.space.ablation.test_section import SPACE, load

STATS = EnergyStats(-8.0, 2.0, -5.0, 1.0)


def test_spec_names_its_file_even_after_smoke() -> None:
    spec = load_space("energy", smoke=True)
    with pytest.raises(BadInput, match=r"energy\.yaml:\d+: search.batch_size"):
        check_against_data(spec, 100, 10_000)


def test_outlier_weights_name_each_of_several_sets() -> None:
    spec = load_space("energy", ["train.outlier_weights={a: 1.0, b: 2.0}"])
    check_outlier_weights(spec, ("b", "a"))
    for names in (("a", "c"), ("a",), ("a", "b", "c")):
        with pytest.raises(BadInput, match=r"train\.outlier_weights.* has one weight"):
            check_outlier_weights(spec, names)


@pytest.mark.parametrize(
    ("num_train", "num_outliers", "keys"),
    [
        (45_000, 19_440, []),
        (128, 64, []),
        (127, 64, ["search.batch_size"]),
        (128, 63, ["train.outlier_batch_size"]),
        (50, None, ["base.batch_size", "train.outlier_batch_size", "search.batch_size"]),
    ],
)
def test_check_against_data_batches(
    num_train: int, num_outliers: int | None, keys: list[str]
) -> None:
    spec = load_space("energy")
    if not keys:
        return check_against_data(spec, num_train, num_outliers)
    with pytest.raises(BadInput, match="larger than the data") as caught:
        check_against_data(spec, num_train, num_outliers)
    assert [fault.key for fault in caught.value.faults] == keys
    return None


def test_check_against_base_crossing_told_with_measured_energies() -> None:
    spec = load_space("energy", ["search.m_out={above: outlier_energy, sd: {uniform: [-6, 0]}}"])
    with pytest.raises(BadInput, match=r"energy\.yaml:\d+: search\.m_in: high -[0-9.]+ nats"):
        check_against_base(spec, STATS)
    check_against_base(load_space("energy"), STATS)


def test_batch_of_an_arm_beyond_the_data_told_at_its_level(tmp_path: Path) -> None:
    text = (
        "recipe: energy\ntrain: {epochs: 1}\nablate:\n  design: one_at_a_time\n  seeds: [0]\n"
        "  factors:\n    batch_size: [64, 512]\n"
    )
    spec = load(tmp_path, text)
    check_against_data(spec, 512, 512)
    with pytest.raises(BadInput, match=r"space\.yaml:7: ablate\.factors\.batch_size\[1\]: 512"):
        check_against_data(spec, 511, 512)


def test_margins_of_an_arm_are_checked_against_the_base_at_its_level(tmp_path: Path) -> None:
    text = SPACE.replace("[-23, {below: id_energy, sd: 1}]", "[-23, -6]")
    stats = EnergyStats(-8.0, 1.0, -7.0, 1.0)
    spec = load(tmp_path, text)
    with pytest.raises(
        BadInput, match=r"space\.yaml:10: ablate\.factors\.m_in\[1\]: -6.*'m_in=-6'"
    ):
        check_against_base(spec, stats)
    check_against_base(load(tmp_path), stats)


def test_margins_are_checked_at_the_temperature_of_each_arm(tmp_path: Path) -> None:
    text = (
        "recipe: energy\ntrain: {epochs: 1, m_in: -9}\nablate:\n  design: add_one\n"
        "  seeds: [0]\n  factors:\n    temperature: [2]\n"
    )
    spec = load(tmp_path, text)
    crossing = EnergyStats(-20.0, 1.0, -15.0, 1.0)
    check_against_base(spec, EnergyStats(-8.0, 1.0, -4.0, 1.0), 1.0)
    with pytest.raises(BadInput, match=r"ablate\.factors\.temperature\[0\].*arm 'temperature=2'"):
        check_against_base(spec, crossing, 2.0)
