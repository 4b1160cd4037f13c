from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from study.training.optimizers import make_optimizer

_SCRIPT = """
import sys, torch
from study.training.optimizers import make_optimizer
for name in ("sgd", "adam", "adamw"):
    weight = torch.nn.Parameter(torch.ones(3))
    one = make_optimizer(
        name, [{"params": [weight]}], lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0
    )
    weight.sum().backward(); one.step(); one.zero_grad(); one.load_state_dict(one.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def _trained(optimizer_of: Callable[[list[nn.Parameter]], Any]) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = optimizer_of(list(model.parameters()))
    inputs = torch.randn(20, 16, 4)
    for batch in inputs:
        optimizer.zero_grad(set_to_none=True)
        model(batch).square().mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def _ours(name: str, momentum: float, nesterov: bool) -> list[torch.Tensor]:
    return _trained(
        lambda parameters: make_optimizer(
            name,
            [{"params": parameters}],
            lr=0.1,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=5e-4,
        )
    )


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.9, False), (0.0, False)])
def test_sgd_equals_torchs_bit_for_bit(momentum: float, nesterov: bool) -> None:
    settings = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov, "weight_decay": 5e-4}
    theirs = _trained(lambda parameters: torch.optim.SGD(parameters, **settings))
    ours = _ours("sgd", momentum, nesterov)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_adam_equals_torchs_bit_for_bit(name: str, kind: type[torch.optim.Adam]) -> None:
    theirs = _trained(lambda parameters: kind(parameters, 0.1, (0.8, 0.999), weight_decay=5e-4))
    ours = _ours(name, 0.8, nesterov=False)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_frozen_parameters_are_left_out() -> None:
    parts = [nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), requires_grad=False)]
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    one = make_optimizer("sgd", [{"params": parts}], **settings)
    assert [len(group["params"]) for group in one.param_groups] == [1]


def test_unknown_optimizer_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'lion'.*adamw"):
        make_optimizer("lion", [], lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)


def test_optimizers_do_not_import_the_compiler() -> None:
    assert subprocess.run([sys.executable, "-c", _SCRIPT], check=False).returncode == 0
