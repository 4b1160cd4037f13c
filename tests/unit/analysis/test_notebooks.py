from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import BadInput, StudyFailed
from study.errors import Fault
from tests.conftest import PROJECT
from tests.fake_ablation import make_ablation
from tests.fake_run import Fake, make_run

FOLDER = PROJECT / "analysis" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
VARIABLES = ("OOD_STUDY_RUN", "OOD_STUDY_ABLATION", "OOD_STUDY_A", "OOD_STUDY_B")
TINY = {"num_id": 30, "epochs": 2, "ood_sets": {"blobs": (20, 1)}}


def _cells(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"])


def _code(cell: dict[str, Any]) -> str:
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def _run(name: str) -> list[Exception]:
    """Execute the cells in this process as a kernel would; what each of them ended with."""
    space: dict[str, Any] = {"display": lambda _: None}
    ended = []
    for cell in (one for one in _cells(name) if one["cell_type"] == "code"):
        try:
            exec(compile(_code(cell), name, "exec"), space)
        except Exception as error:  # noqa: BLE001 - the test judges them
            ended.append(error)
            if "raises-exception" not in cell["metadata"].get("tags", []):
                break
    return ended


def test_notebooks_are_the_four_that_the_readme_names() -> None:
    assert NAMES == [
        "comparing_two_studies", "margins_and_energies", "picking_a_model", "reading_an_ablation",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_stored_without_outputs_and_with_its_parameters(name: str) -> None:
    code = [one for one in _cells(name) if one["cell_type"] == "code"]
    assert all(one["outputs"] == [] and one["execution_count"] is None for one in code)
    assert code[0]["metadata"]["tags"] == ["parameters"]
    assert any(variable in _code(code[0]) for variable in VARIABLES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_uses_the_public_interface_alone(name: str) -> None:
    code = [_code(one) for one in _cells(name) if one["cell_type"] == "code"]
    nodes = [node for one in code for node in ast.walk(ast.parse(one))]
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported == {"os", "analysis"}
    assert not any(isinstance(node, ast.ImportFrom) for node in nodes)
    hidden = [n.attr for n in nodes if isinstance(n, ast.Attribute) and n.attr.startswith("_")]
    assert hidden == []


def _nan(folder: Path) -> None:
    run = make_run(folder, Fake(("finished",) * 3, **TINY))
    frame = pd.read_parquet(run.trials)
    frame.loc[[0, 1], "val/fpr95"] = np.nan
    frame.to_parquet(run.trials, index=False)


def _empty_ablation(folder: Path) -> None:
    make_ablation(folder, lambda arm, seed: None, begun=2)


POOR: dict[str, Callable[[Path], object]] = {
    "empty": lambda folder: make_run(folder, Fake(statuses=(), **TINY)),
    "all failed": lambda folder: make_run(folder, Fake(statuses=("failed",) * 2, **TINY)),
    "one trial": lambda folder: make_run(folder, Fake(statuses=("finished",), **TINY)),
    "NaN": _nan,
    "pruned arms": _empty_ablation,
    "no folder": lambda folder: None,
}


@pytest.mark.parametrize("poor", POOR)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_on_a_poor_study_ends_each_cell_or_gives_a_sentence(
    name: str, poor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    POOR[poor](tmp_path / "run")
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / "run"))
    for error in _run(name):
        assert isinstance(error, BadInput | StudyFailed), repr(error)
        assert str(error)


def test_exception_of_bad_input_is_a_sentence_in_a_notebook() -> None:
    error = BadInput(Fault("runs/x", "", "no such directory", "Name another."))
    assert error._render_traceback_() == ["runs/x: no such directory. Name another."]


def test_public_names_of_analysis_are_there() -> None:
    assert all(hasattr(analysis, name) for name in analysis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        analysis.Nonsense  # noqa: B018
