"""Wrong spaces: each is told with line, key, value, rule and way out, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.errors import BadInput
from study.space.loading import load_space

CASES = yaml.load(
    (Path(__file__).parent / "bad_spaces.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)
Case = dict[str, Any]


def _faults(case: Case, folder: Path) -> tuple[str, BadInput]:
    file = folder / "wrong.yaml"
    file.write_text(case["text"], encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_space(str(file))
    return str(file), caught.value


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_load_space_wrong_file_told_with_place_and_way_out(case: Case, tmp_path: Path) -> None:
    file, error = _faults(case, tmp_path)
    matching = [f for f in error.faults if f.key == case["key"] and case["rule"] in f.rule]
    assert matching, str(error)
    fault = matching[0]
    assert fault.place == file
    assert fault.line == case.get("line", fault.line)
    assert case.get("value", "") in repr(fault.value)
    assert case["way_out"] in fault.way_out
    assert str(fault) in str(error)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_load_space_one_mistake_gives_few_faults(case: Case, tmp_path: Path) -> None:
    twice = {"choice of lists", "dropout twice"}  # two mistakes each
    _, error = _faults(case, tmp_path)
    assert len(error.faults) == (2 if case["name"] in twice else 1), str(error)


def test_load_space_many_faults_all_told_in_order_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "recipe: energy\n"
        "model: {backbone: resnet2O}\n"
        "train:\n  epochs: 0\n  epochs: 2\n  lrr: 1\n  weight_decay: 1e-4\n"
        "search:\n  lr: {loguniform: [0, 1]}\n  batch_size: {choice: [64]}\n"
        "select: {metric: fpr95}\n"
    )
    with pytest.raises(BadInput) as caught:
        load_space(str(file))
    lines = [fault.line for fault in caught.value.faults]
    assert lines == [2, 4, 5, 6, 7, 9, 10, 11]


def test_load_space_not_utf8_told_with_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"recipe: energy\n# caf\xe9\n")
    with pytest.raises(BadInput, match=r"latin\.yaml:2: the file must be UTF-8.*0xe9"):
        load_space(str(file))


def test_load_space_folder_told(tmp_path: Path) -> None:
    folder = tmp_path / "x.yaml"
    folder.mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        load_space(str(folder))


def test_load_space_missing_file_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_space(str(tmp_path / "x.yaml"))


def test_load_space_unknown_name_suggests() -> None:
    with pytest.raises(BadInput, match="Did you mean 'energy'"):
        load_space("enery")


def test_load_space_aliases_that_explode_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(rows))
    with pytest.raises(BadInput, match="at most"):
        load_space(str(file))
