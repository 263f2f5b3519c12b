"""Compiled steps in PyTorch: the same step, and kernels read exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fathom_exporters.torch import TorchExporter
from fathom_exporters.torch.native.compiled import kernels_of, measure_compiled
from fathom_exporters.torch.native.event_tree import Event
from fathom_onnx.data import batches_for
from fathom_onnx.errors import RunError
from fathom_onnx.native import CompiledKernel, NativeRequest
from fathom_onnx.workloads import workload


def event(name: str, us: float, *children: Event) -> Event:
    return Event(name, 0, us, -1, list(children))


def step_of(fused: float, product: float) -> Event:
    code = event(
        "## Call CompiledFxGraph abc ##",
        500,
        event("graph_0_cpp_fused_add_relu_0", fused),
        event("aten::addmm", product, event("aten::copy_", 1)),
        event("aten::convolution_backward", 30),
        event("aten::addmm", 4),
    )
    region = event("Torch-Compiled Region: 0/0", 600, event("CompiledFunction", 550, code))
    update = event("Optimizer.step#Adam.step", 90, event("aten::lerp_", 6), event("aten::mul_", 5))
    return event("step", 999, region, event("aten::ones_like", 2), update)


def test_kernels_are_read_exactly() -> None:
    found = kernels_of([step_of(50, 10), step_of(70, 20), step_of(60, 90)], "training", "ApplyAdam")
    assert found == (
        CompiledKernel("graph_0_cpp_fused_add_relu_0", "generated", "", 60, 1),
        CompiledKernel("aten::convolution_backward", "library", "Conv2DBackInput", 30, 1),
        CompiledKernel("aten::addmm", "library", "MatMul", 24, 2),
        CompiledKernel("aten::lerp_", "eager", "ApplyAdam", 6, 1),
        CompiledKernel("aten::mul_", "eager", "ApplyAdam", 5, 1),
        CompiledKernel("aten::ones_like", "eager", "Fill", 2, 1),
    )


def request_of(name: str, mode: Any) -> NativeRequest:
    spec = workload(name, "tiny")
    return NativeRequest(spec, mode, [next(batches_for(spec, mode, 0, noise="input"))], "input", warmup=1, steps=2)


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_the_step_is_the_references(mode: Any) -> None:
    request, said = request_of("memnet", mode), []
    measured = measure_compiled(
        request,
        lambda what, done, total: said.append((what, done, total)),
        lambda function: torch.compile(function, backend="eager"),
    )
    values = {**request.workload.initial_values(mode, 0), **request.batches[0]}
    expected = TorchExporter().reference(request.workload, mode, "float32").step(values).outputs
    assert set(measured.first) == ({"loss"} if mode == "training" else {o.name for o in request.workload.outputs})
    for name, value in measured.first.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    assert len(measured.step_us) == 2
    assert said == [(what, n, 3) for what in ("compiled", "compiled, profiled") for n in (1, 2, 3)]
    assert measured.kernels is not None
    assert ({k.op for k in measured.kernels} >= {"ApplyAdam"}) == (mode == "training")


@pytest.mark.slow
def test_inductor_shows_its_kernels() -> None:
    measured = measure_compiled(request_of("autoenc", "training"), lambda what, done, total: None)
    assert measured.kernels is not None
    kinds = {kernel.kind for kernel in measured.kernels}
    assert kinds == {"generated", "library", "eager"}
    products = sum(kernel.calls for kernel in measured.kernels if kernel.kind == "library" and kernel.op == "MatMul")
    layers = [p for p in workload("autoenc", "tiny").parameters if len(p.shape) == 2]
    assert products >= 2 * len(layers)  # a product of each forward, and one backward for its weight


def test_what_does_not_compile_is_an_error() -> None:
    def refuse(_: Any) -> Event:
        def run(*_: Any) -> None:
            raise RuntimeError("no g++")

        return run

    with pytest.raises(RunError, match="cannot compile memnet: no g"):
        measure_compiled(request_of("memnet", "training"), lambda what, done, total: None, refuse)
