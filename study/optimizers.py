"""Optimizers over the model's and the loss's own parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import torch
from torch.optim import SGD, Optimizer


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


def make_sgd(
    parameters: Iterable[torch.nn.Parameter],
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Optimizer:
    """SGD, with Nesterov's momentum (Sutskever et al. 2013) or the plain one.

    Args:
        parameters: of the model and of the loss.
        lr: learning rate at the first step; the schedule sets it from then on.
        momentum: dimensionless, in [0, 1).
        nesterov: which momentum.
        weight_decay: L2 penalty on every parameter, dimensionless.
    """
    return LeanSGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
