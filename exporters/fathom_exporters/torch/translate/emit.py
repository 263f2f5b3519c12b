"""The ops that translations write, with types: PyTorch's exporter calls a translation with symbolic values.

onnxscript types its opsets for eager evaluation on tensors. While a graph is traced the same calls take and give
``onnx_ir`` values: one (:data:`op`, :data:`gradient`) or several (:data:`ops`, :data:`gradients`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

import onnx_ir as ir
from onnxscript import opset18
from onnxscript.values import Opset

from fathom_exporters.lowering import DOMAIN, VERSION

__all__ = ["gradient", "gradients", "op", "ops", "window_attributes"]


class _OneOutput(Protocol):
    """Ops by name, each with one output."""

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]: ...


class _SeveralOutputs(Protocol):
    """Ops by name, each with several outputs."""

    def __getattr__(self, op_type: str) -> Callable[..., tuple[ir.Value, ...]]: ...


_canonical = Opset(DOMAIN, VERSION)

op = cast("_OneOutput", opset18)
"""Standard ops with one output."""
ops = cast("_SeveralOutputs", opset18)
"""Standard ops with several outputs."""
gradient = cast("_OneOutput", _canonical)
"""Canonical gradient ops with one output."""
gradients = cast("_SeveralOutputs", _canonical)
"""Canonical gradient ops with several outputs."""


def window_attributes(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> dict[str, list[int]]:
    """A window's attributes as ONNX takes them. PyTorch pads both ends alike; no stride is the kernel's size."""
    return {
        "kernel_shape": list(kernel),
        "strides": list(stride) or list(kernel),
        "pads": [*padding, *padding],
        "dilations": list(dilation),
    }
