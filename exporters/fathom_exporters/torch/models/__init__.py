"""The models in PyTorch, one file a workload, and those that other packages add by entry point.

A model is an ``nn.Module`` class built from the workload's configuration. Its submodules have the workload's layer
names, and its parameters and buffers the workload's variable names. ``forward(batch)`` takes the batch inputs by name
(and the noise, where that is given) and returns tensors by name, the inference outputs among them; ``loss(outputs,
batch)`` computes the scalar loss from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fathom_exporters.framework import Framework
from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Variable, Workload

from .alexnet import Alexnet
from .autoenc import Autoencoder
from .deepq import DeepQ
from .memnet import MemoryNetwork
from .residual import ResNet
from .seq2seq import Seq2seq
from .speech import DeepSpeech
from .vgg import Vgg

__all__ = ["TORCH", "make"]

TORCH: Framework[Callable[[Any], nn.Module]] = Framework(
    "torch",
    "PyTorch",
    str(torch.__version__),
    {
        "seq2seq": Seq2seq,
        "memnet": MemoryNetwork,
        "speech": DeepSpeech,
        "autoenc": Autoencoder,
        "residual": ResNet,
        "vgg": Vgg,
        "alexnet": Alexnet,
        "deepq": DeepQ,
    },
)
"""PyTorch and its models: a workload's name to the module class, built from the workload's configuration."""


def make(workload: Workload) -> nn.Module:
    """The model of a workload, with PyTorch's own starting values.

    Raises:
        UnknownNameError: The workload has no model in PyTorch.
        ExportError: The model has other parameters or buffers than the workload.
    """
    model = TORCH.model(workload.name)(workload.config)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            # counts steps only for a cumulative average, which no workload uses; as a buffer it would be state
            module.num_batches_tracked = None
    frozen = {v.name for v in workload.frozen}
    parameters = dict(model.named_parameters())
    _compare("parameters", {n: p for n, p in parameters.items() if n not in frozen}, workload.parameters)
    _compare("frozen variables", {n: p for n, p in parameters.items() if n in frozen}, workload.frozen)
    _compare("buffers", dict(model.named_buffers()), workload.buffers)
    return model


def _compare(kind: str, tensors: Mapping[str, Tensor], variables: Sequence[Variable]) -> None:
    """Check that a model's tensors are the workload's variables, by name and shape.

    Raises:
        ExportError: They differ; the message names the first that does.
    """
    actual = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {v.name: v.shape for v in variables}
    for name in sorted(actual.keys() | expected.keys()):
        if actual.get(name) != expected.get(name):
            raise ExportError(
                f"the PyTorch model's {kind} differ from the workload's: '{name}' is {actual.get(name, 'absent')}, "
                f"the workload says {expected.get(name, 'none of that name')}"
            )
