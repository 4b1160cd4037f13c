from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.device import (
    Program,
    in_precision,
    precision_on,
    scored_at_once,
    set_kernels,
    step_settings,
    upload,
)
from study.models.nordf import NordF
from study.models.registry import build_backbone, build_classifier

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "has_it", "expected"),
    [
        ("auto", CPU, True, "fp32"),
        ("auto", CUDA, True, "bf16"),
        ("auto", CUDA, False, "fp32"),
        ("bf16", CPU, False, "bf16"),
        ("fp32", CUDA, True, "fp32"),
    ],
)
def test_precision_is_the_asked_one_and_auto_the_devices(
    asked: str,
    device: torch.device,
    has_it: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_it)
    assert precision_on(asked, device) == expected


def test_fp32_is_the_model_itself() -> None:
    model = nn.Linear(2, 2)
    assert in_precision(model, "fp32") is model


def test_bf16_is_inside_the_network_and_ends_with_it() -> None:
    model = build_classifier("resnet20", 3, image_size=8, seed=0)
    seen: list[torch.dtype] = []
    model.backbone.register_forward_hook(lambda *told: seen.append(told[2].dtype))
    given: Any = in_precision(model, "bf16")
    images = torch.rand(4, 3, 8, 8)
    logits, features = given(images), given.features(images)
    assert seen == [torch.bfloat16] * 2
    assert not torch.is_autocast_enabled("cpu")
    assert logits.dtype == features.dtype == given.fc(features).dtype == torch.float32
    assert given.fc.weight is model.fc.weight
    logits.sum().backward()
    assert {one.grad.dtype for one in model.parameters() if one.grad is not None} == {
        torch.float32
    }
    exact = model(images)
    assert not torch.equal(logits, exact)
    assert torch.allclose(logits, exact, atol=0.1)


def test_bf16_raises_every_branch_of_nordf() -> None:
    backbone = build_backbone("resnet20", dropout=0.0, image_size=8, seed=0)
    given: Any = in_precision(NordF(backbone, 3, image_size=8, width=8), "bf16")
    told = given.branches(torch.rand(2, 3, 8, 8), reversal=torch.tensor(0.1))
    parts = (told.logits, told.upper, told.class_features, told.penultimate, told.reconstruction)
    assert {one.dtype for one in parts} == {torch.float32}


@pytest.mark.parametrize("deterministic", [True, False])
def test_kernels_of_a_gpu_are_the_fastest_or_the_same_each_time(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", asked.append)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: not deterministic)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", deterministic)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_kernels(CPU, deterministic=deterministic)
    assert (asked, torch.backends.cudnn.allow_tf32) == ([], True)
    set_kernels(CUDA, deterministic=deterministic)
    assert asked == [deterministic]
    assert torch.backends.cudnn.benchmark is not deterministic
    assert not torch.backends.cudnn.allow_tf32


def test_steps_are_fused_on_a_gpu_and_fit_for_a_graph_where_one_is_made() -> None:
    assert step_settings("adam", CPU, captured=True) == {}
    assert step_settings("sgd", CUDA, captured=True) == {"fused": True}
    assert step_settings("adamw", CUDA, captured=True) == {"fused": True, "capturable": True}


def test_batches_that_are_scored_are_larger_on_a_gpu_but_never_smaller() -> None:
    assert [scored_at_once(CPU, size) for size in (8, 224)] == [512, 512]
    assert [scored_at_once(CUDA, size) for size in (32, 224)] == [4096, 512]


def test_upload_copies_what_may_be_read_only() -> None:
    values = np.arange(4)
    values.setflags(write=False)
    upload(values, CPU).zero_()
    assert values.tolist() == [0, 1, 2, 3]


class _Cuda:
    """Streams and graphs of no GPU: a graph notes its capture and its replays."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.done: list[str] = []
        self.fault = fault

    def wait_stream(self, other: object) -> None:
        del other

    def replay(self) -> None:
        self.done.append("replay")

    @contextmanager
    def capture(self, graph: object, **options: str) -> Iterator[None]:
        del graph, options
        self.done.append("capture")
        if self.fault is not None:
            raise self.fault
        yield

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        del stream
        self.done.append("apart")
        yield


def _on(cuda: _Cuda, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(torch.cuda, "Stream", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "stream", cuda.stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "graph", cuda.capture)

    def run() -> Tensor:
        cuda.done.append("run")
        return torch.zeros(1)

    return Program(run, CUDA)


def test_program_on_a_gpu_runs_apart_then_is_captured_once_and_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = _Cuda()
    program = _on(cuda, monkeypatch)
    for _ in range(5):
        program()
    assert cuda.done == [*["apart", "run"] * 3, "capture", "run", "replay", "replay"]


def test_program_that_cannot_be_captured_tells_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = _on(_Cuda(RuntimeError("operation not permitted")), monkeypatch)
    for _ in range(3):
        program()
    with pytest.raises(RuntimeError, match=r"not permitted.*train\.graph: false"):
        program()


def test_program_that_finds_no_memory_to_be_captured_in_says_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = _on(_Cuda(torch.OutOfMemoryError("CUDA out of memory")), monkeypatch)
    for _ in range(3):
        program()
    with pytest.raises(torch.OutOfMemoryError):
        program()


def test_program_elsewhere_runs_each_time() -> None:
    count = iter(range(9))
    program = Program(lambda: torch.tensor(next(count)), CPU)
    assert [int(program()) for _ in range(5)] == [0, 1, 2, 3, 4]
