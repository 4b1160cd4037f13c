"""What training asks of a device beside tensors: precision, kernels, copies, one graph a step.

What is CUDA's own in training stands here and nowhere else, so that the rest is the same program
on every device. On a CPU all of it asks for nothing, and no bit is other than without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Precision = Literal["fp32", "bf16"]

OWN_TO_DEVICE: Final = ("fused", "capturable")
"""What an optimizer's groups say of the device, as `step_settings` has it."""

_SCORED: Final = 512
_SCORED_PIXELS: Final = 2**22  # 4,096 images of 32 pixels
_WARM_UP: Final = 3  # steps before a capture: kernels are loaded, cuDNN's are chosen


def arithmetic_of(device: torch.device) -> list[str]:
    """What two computations on such a device must share to give the same bits.

    The kernels: torch's version, and the GPU's name, or of a CPU its instructions and the number
    of threads, among which sums are split.
    """
    if device.type == "cuda":
        return [torch.__version__, torch.cuda.get_device_name(device), str(torch.version.cuda)]
    capability = torch.backends.cpu.get_cpu_capability()
    return [torch.__version__, device.type, capability, f"{torch.get_num_threads()} threads"]


def precision_on(asked: str, device: torch.device) -> Precision:
    """What training computes in: ``auto`` is bf16 on a GPU that has it, fp32 on all else."""
    if asked != "auto":
        return cast(Precision, asked)
    has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_it else "fp32"


def set_kernels(device: torch.device, *, deterministic: bool) -> None:
    """How a GPU computes in this process from now on; a CPU is left as it is.

    Args:
        device: where training goes on.
        deterministic: the same bits from run to run, in place of the fastest kernels.
    """
    if device.type != "cuda":
        return
    full_float32(device)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:  # cuBLAS reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)


def full_float32(device: torch.device) -> None:
    """Convolutions in float32 are that: in training that asks for it, and in all scoring."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def upload(values: NDArray[Any], device: torch.device) -> Tensor:
    """A copy on the device; a GPU takes it from pinned memory, and nobody waits for it."""
    tensor = torch.from_numpy(np.array(values))  # torch warns when it wraps read-only memory
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def gpu_memory_bytes() -> int:
    """Of the first GPU."""
    return int(torch.cuda.get_device_properties(0).total_memory)


def scored_at_once(device: torch.device, size: int) -> int:
    """Images of this edge, in pixels, in a batch that is scored; each batch is waited for."""
    return _SCORED if device.type == "cpu" else max(_SCORED, _SCORED_PIXELS // size**2)


def step_settings(name: str, device: torch.device, *, captured: bool) -> dict[str, bool]:
    """How an optimizer takes its steps on a device: keywords of torch's.

    Args:
        name: sgd, adam or adamw.
        device: of the parameters.
        captured: whether the steps are to be part of a CUDA graph.
    """
    if device.type != "cuda":
        return {}
    return {"fused": True} | ({"capturable": captured} if name != "sgd" else {})


def rate_tensor(rate: float, device: torch.device) -> Tensor:
    """A learning rate that a graph reads at each step; CUDA's fused steps read float32."""
    dtype = torch.float32 if device.type == "cuda" else torch.float64
    return torch.tensor(rate, dtype=dtype, device=device)


def in_precision(model: nn.Module, precision: Precision) -> nn.Module:
    """What a loss is given in place of ``model``."""
    return model if precision == "fp32" else cast(nn.Module, InBfloat16(model))


class InBfloat16:
    """A model whose forwards compute in bf16 by torch.amp, and whose results are float32.

    A loss that calls it, a method or a part of it computes all the rest outside autocast: no term,
    energy or cosine is made in half precision. Weights and their gradients stay float32.
    """

    def __init__(self, model: nn.Module) -> None:
        """Share ``model``."""
        self._model = model

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The model's own forward."""
        return _in_bfloat16(self._model, inputs, named)

    def __getattr__(self, name: str) -> Any:
        """A part or a method in bf16; parameters, buffers and numbers as they are."""
        found = getattr(self._model, name)
        if isinstance(found, nn.Module):
            return InBfloat16(found)
        if not callable(found):
            return found
        return lambda *inputs, **named: _in_bfloat16(found, inputs, named)


def _in_bfloat16(call: Callable[..., Any], inputs: Any, named: dict[str, Any]) -> Any:
    device = next(
        (one.device for one in (*inputs, *named.values()) if isinstance(one, Tensor)), None
    )
    if device is None:  # nothing is computed
        return call(*inputs, **named)
    # No cache of cast weights: each is used once a step, and a graph must cast them anew.
    with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
        return _float32(call(*inputs, **named))


def _float32(told: Any) -> Any:
    """Half precision raised, also in what a forward returns of several tensors."""
    if isinstance(told, Tensor):
        return told.float() if told.dtype == torch.bfloat16 else told
    if is_dataclass(told) and not isinstance(told, type):
        parts = {one.name: _float32(getattr(told, one.name)) for one in fields(told)}
        return replace(told, **parts)
    if isinstance(told, dict):
        return {name: _float32(one) for name, one in told.items()}
    if isinstance(told, (tuple, list)):
        return type(told)(_float32(one) for one in told)
    return told


class Program:
    """What is run again and again on tensors that stay where they are.

    On a GPU the first few runs are runs like any other, on a stream of their own; then the program
    is captured as one CUDA graph, which one launch repeats. Elsewhere it is run each time.
    """

    def __init__(self, run: Callable[[], Tensor], device: torch.device) -> None:
        """Take ``run``: the same kernels on the same tensors each time, and no look at a value."""
        self._run = run
        self._cuda = device.type == "cuda"
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._told: Tensor | None = None

    def __call__(self) -> Tensor:
        """Run once; what is returned is overwritten by the next run.

        Raises:
            RuntimeError: where a GPU cannot capture it, with the way out.
        """
        if not self._cuda:
            return self._run()
        if self._done < _WARM_UP:
            self._done += 1
            return self._apart()
        if self._graph is None:
            self._capture()
        assert self._graph is not None
        assert self._told is not None
        self._graph.replay()
        return self._told

    def _apart(self) -> Tensor:
        """A run on another stream: what a capture needs to have been done before."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            told = self._run()
        torch.cuda.current_stream().wait_stream(stream)
        return told

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Threads beside, as the one that draws the next epoch, may go on with what they do.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._told = self._run()
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise RuntimeError(
                f"the step cannot be captured as a CUDA graph ({error}); set train.graph: false"
            ) from error
        self._graph = graph
