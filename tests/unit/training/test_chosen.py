from __future__ import annotations

from pathlib import Path

import pytest
import torch

from study.errors import BadInput
from study.training.chosen import ChosenWeights, load_chosen, save_chosen


def test_weights_scores_and_loss_share_one_file(tmp_path: Path) -> None:
    chosen = ChosenWeights(
        {"fc.weight": torch.randn(2, 3)},
        {"knn.bank": torch.randn(4, 2), "msp.z": torch.zeros(2, dtype=torch.float64)},
        {"similarity.offset": torch.tensor(0.5)},
        {"epoch": "3"},
    )
    save_chosen(tmp_path / "w.safetensors", chosen)
    again = load_chosen(tmp_path / "w.safetensors")
    for part in ("model", "fitted", "loss"):
        one, other = getattr(chosen, part), getattr(again, part)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(one[name].dtype == other[name].dtype for name in one)
    assert again.notes["epoch"] == "3"


def test_torn_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_chosen(path, ChosenWeights({"a": torch.ones(9)}, {}, {}))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BadInput, match=r"w\.safetensors"):
        load_chosen(path)
