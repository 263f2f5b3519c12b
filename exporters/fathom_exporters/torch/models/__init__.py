"""The models in PyTorch, one file a workload, and those that other packages add by entry point.

A model is an ``nn.Module`` class built from the workload's configuration. Its submodules have the workload's layer
names, and its parameters and buffers the workload's variable names. ``forward(batch)`` takes the batch inputs by name
(and the noise, where that is given, and caches) and returns tensors by name, the inference outputs among them, and a
cache's new values under its name and ``.next``; ``loss(outputs, batch)`` computes the scalar loss from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fathom_exporters.framework import Framework
from fathom_exporters.torch.stepping.averages import COUNTER, unread_counters
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Variable, Workload

from .suite2016 import SUITE_2016
from .suite2026 import SUITE_2026

__all__ = ["TORCH", "make"]

TORCH: Framework[Callable[[Any], nn.Module]] = Framework(
    "torch",
    "PyTorch",
    str(torch.__version__),
    {**SUITE_2016, **SUITE_2026},
)
"""PyTorch and its models: a workload's name to the module class, built from the workload's configuration."""


def make(workload: Workload) -> nn.Module:
    """The model of a workload as its class makes it, untouched, with PyTorch's own starting values.

    Raises:
        UnknownNameError: The workload has no model in PyTorch.
        ExportError: The model has other parameters or buffers than the workload.
    """
    model = TORCH.model(workload.name)(workload.config)
    frozen = {v.name for v in workload.frozen}
    parameters = dict(model.named_parameters())
    trained = {n: p for n, p in parameters.items() if n not in frozen}
    _compare("parameters", trained, workload.parameters)
    _compare("frozen variables", {n: p for n, p in parameters.items() if n in frozen}, workload.frozen)
    buffers = dict(model.named_buffers())
    unread = unread_counters(model) - {v.name for v in workload.buffers}
    _compare("buffers", {n: b for n, b in buffers.items() if n not in unread}, workload.buffers)
    for name, parameter in trained.items():
        if not parameter.requires_grad:
            raise ExportError(f"the PyTorch model does not train '{name}'", "list it as frozen in the workload")
    return model


def _facts(shape: Sequence[int], dtype: str) -> str:
    return f"{dtype} {tuple(shape)}"


def _compare(kind: str, tensors: Mapping[str, Tensor], variables: Sequence[Variable]) -> None:
    """Check that a model's tensors are the workload's variables, by name, shape and element type.

    Raises:
        ExportError: They differ; the message names the first that does.
    """
    actual = {name: _facts(tensor.shape, str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items()}
    expected = {v.name: _facts(v.shape, v.dtype) for v in variables}
    for name in sorted(actual.keys() | expected.keys()):
        if actual.get(name) != expected.get(name):
            counter = name.rpartition(".")[2] == COUNTER and name in actual
            raise ExportError(
                f"the PyTorch model's {kind} differ from the workload's: '{name}' is {actual.get(name, 'absent')}, "
                f"the workload says {expected.get(name, 'none of that name')}",
                f"its running average reads the count: add Variable('{name}', (), Initialiser.constant(0), 'int64')"
                if counter
                else "",
            )
