from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from study.optimizers import make_sgd

_SCRIPT = """
import sys, torch
from study.optimizers import make_sgd
weight = torch.nn.Parameter(torch.ones(3))
sgd = make_sgd([weight], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.0)
weight.sum().backward(); sgd.step(); sgd.zero_grad(); sgd.load_state_dict(sgd.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def _trained(optimizer_of: object, **settings: object) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = optimizer_of(model.parameters(), **settings)  # type: ignore[operator]
    inputs = torch.randn(20, 16, 4)
    for batch in inputs:
        optimizer.zero_grad(set_to_none=True)
        model(batch).square().mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_sgd_equals_torchs_bit_for_bit(momentum: float, nesterov: bool) -> None:
    settings = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov, "weight_decay": 5e-4}
    ours, theirs = _trained(make_sgd, **settings), _trained(torch.optim.SGD, **settings)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_sgd_does_not_import_the_compiler() -> None:
    assert subprocess.run([sys.executable, "-c", _SCRIPT], check=False).returncode == 0
