"""Multiply-accumulates of a workload's module in PyTorch, untouched, by PyTorch's own FLOP counter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fathom_exporters.torch.models import make
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["Counted", "counted_macs"]


@dataclass(frozen=True)
class Counted:
    """What the counter found.

    Attributes:
        macs: Half of its FLOPs.
        between_groups: Those of them that its formula has for pairs of channels of different groups, which never meet,
            in the gradient of a grouped convolution's filter.
    """

    macs: int
    between_groups: int


class _Groups(TorchDispatchMode):
    """Adds up what the counter's formula has too many of."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            gradient, _, weight = args[:3]
            groups, mask = args[9:11]
            positions = gradient.shape[0] * math.prod(gradient.shape[2:])
            self.macs += (groups - 1) * weight.numel() * positions if mask[1] else 0
        return func(*args, **(kwargs or {}))


def counted_macs(workload: Workload, mode: Mode) -> Counted:
    """Count one forward pass and, in training, its loss and the backward pass; no tensor is allocated."""
    with FakeTensorMode():  # tensors with shapes and types and no values
        model = make(workload)
        model.train(mode == "training")
        given = [*workload.batch_inputs(mode), *(v.spec for v in workload.caches)]
        batch = {spec.name: torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in given}
        groups, counter = _Groups(), FlopCounterMode(display=False)
        with groups, counter, torch.set_grad_enabled(mode == "training"):
            outputs = model(batch)
            if mode == "training":
                model.loss(outputs, batch).backward()
    return Counted(counter.get_total_flops() // 2, groups.macs)
