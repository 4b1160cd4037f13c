from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.records.files import RunFolder
from study.records.ledger import Ledger
from study.tune.resources import Machine
from study.tune.searching import GPU_SHARE, with_shared_gpu
from study.watch.progress import Progress


@pytest.mark.parametrize(
    ("device", "asked", "expected"),
    [
        ("cuda", Machine(), 0.5),
        ("cuda", Machine(gpus_per_trial=1.0), 1.0),
        ("cuda", Machine(address="192.0.2.1:6379"), None),
        ("cuda", Machine(max_concurrent=1), None),
        ("cpu", Machine(), None),
    ],
)
def test_share_of_a_gpu_is_the_one_on_record_where_nobody_asks_for_another(
    tmp_path: Path, device: str, asked: Machine, expected: float | None
) -> None:
    params = SimpleNamespace(trains=True)
    setup: Any = SimpleNamespace(device=device, spec=SimpleNamespace(params=params))
    told = Progress(io.StringIO(), live=False, quiet=True)
    with Ledger(tmp_path / "ledger.jsonl") as ledger, told:
        ledger.append(GPU_SHARE, trials=2, measured=[])
        machine = with_shared_gpu(RunFolder(tmp_path), setup, ledger, told, asked)
    assert machine.gpus_per_trial == expected
