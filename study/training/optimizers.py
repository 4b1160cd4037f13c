"""Optimizers over the model's and the loss's own parameters."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer


class LeanSGD(SGD):
    """torch's SGD without its doors to torch.compile.

    torch wraps these methods so that the first call imports the compiler: 2 s and 80 MB in every
    worker, for nothing where nothing is compiled. The methods inside are torch's own.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    step = torch.no_grad()(inspect.unwrap(SGD.step))
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


class LeanAdam(Adam):
    """torch's Adam, likewise."""

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    step = torch.no_grad()(inspect.unwrap(Adam.step))
    zero_grad = inspect.unwrap(Optimizer.zero_grad)


def make_optimizer(
    name: str,
    groups: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    **steps: bool,
) -> Optimizer:
    """An optimizer by name.

    - sgd: with Nesterov's momentum (Sutskever et al. 2013) or the plain one, and an L2 penalty.
    - adam: Kingma & Ba 2015 (arXiv:1412.6980), with an L2 penalty in the gradient.
    - adamw: the same with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101).

    Args:
        name: one of the above.
        groups: parameters, under "params", and what differs for them, as torch takes it; those
            without a gradient are left out.
        lr: learning rate at the first step; the schedule sets it from then on.
        momentum: dimensionless, in [0, 1); Adam's first beta, its second stays 0.999.
        nesterov: which momentum SGD has.
        weight_decay: dimensionless, of the groups that have none of their own.
        **steps: how it takes them, as `study.device.step_settings` has it.

    Raises:
        ValueError: for an unknown name.
    """
    trained = [
        {**group, "params": [one for one in group["params"] if one.requires_grad]}
        for group in groups
    ]
    if name == "sgd":
        return LeanSGD(
            trained,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            **steps,
        )
    if name not in ("adam", "adamw"):
        raise ValueError(f"unknown optimizer {name!r}; there are ['sgd', 'adam', 'adamw']")
    betas, decoupled = (momentum, 0.999), name == "adamw"
    return LeanAdam(
        trained,
        lr=lr,
        betas=betas,
        weight_decay=weight_decay,
        decoupled_weight_decay=decoupled,
        **steps,
    )
