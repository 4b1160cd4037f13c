"""A file that is torn, missing, tampered with or another's stops a study and loses nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.errors import BadInput
from study.records.ledger import read_ledger
from study.tune.session import INTERRUPT, Session
from tests.integration.faults import remains, search_here, small_setup

SCORES = "scores/00000/epoch_0001.npz"
STATE = "checkpoints/00000/epoch_0002"


def _after_two_epochs(session: Session, number: int, message: str) -> str:
    if (number, json.loads(message).get("epoch")) == (0, 2):
        session.stop(INTERRUPT)
    return message


@pytest.fixture(scope="module")
def paused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("paused") / "run"
    assert search_here(run, small_setup(), _after_two_epochs).stopping == INTERRUPT
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = tmp_path_factory.mktemp("whole") / "run"
    search_here(run, small_setup())
    return remains(run)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _of_another_epoch(path: Path) -> None:
    shutil.copy(path.with_name("epoch_0002.npz"), path)


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    (SCORES, _cut),
    (f"{STATE}/model.safetensors", _flip),
]
MORE = [
    (SCORES, Path.unlink),
    (SCORES, _of_another_epoch),
    (f"{STATE}/model.safetensors", _cut),
    (f"{STATE}/state.pt", Path.unlink),
    (f"{STATE}/meta.json", _cut),
]


@pytest.mark.parametrize(
    ("name", "damage"), [*DAMAGE, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)]
)
def test_study_with_a_damaged_file_stops_by_its_name_and_goes_on_once_it_is_mended(
    tmp_path: Path,
    paused: Path,
    whole: dict[str, Any],
    name: str,
    damage: Callable[[Path], object],
) -> None:
    run = Path(shutil.copytree(paused, tmp_path / "run"))
    damage(run / name)
    session = search_here(run, small_setup())
    assert isinstance(session.error, BadInput)
    assert Path(name).name in str(session.error)
    assert not [r for r in read_ledger(run / "ledger.jsonl")[0] if r["event"] == "failed"]
    shutil.copyfile(paused / name, run / name)
    assert search_here(run, small_setup()).error is None
    assert remains(run) == whole


@pytest.mark.slow
def test_way_out_of_a_damaged_checkpoint_ends_the_same(
    tmp_path: Path, paused: Path, whole: dict[str, Any]
) -> None:
    run = Path(shutil.copytree(paused, tmp_path / "run"))
    _flip(run / STATE / "model.safetensors")
    error = search_here(run, small_setup()).error
    assert "Remove the trial's checkpoints; it then starts from its first epoch." in str(error)
    shutil.rmtree(run / "checkpoints" / "00000")
    assert search_here(run, small_setup()).error is None
    assert remains(run) == whole
