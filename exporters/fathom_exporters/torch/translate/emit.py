"""The ops that translations write, with types: PyTorch's exporter calls a translation with symbolic values.

onnxscript types its opsets for eager evaluation on tensors. While a graph is traced the same calls take and give
``onnx_ir`` values: one (:data:`op`, :data:`gradient`) or several (:data:`ops`, :data:`gradients`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import onnx_ir as ir
from onnxscript import opset18
from onnxscript.values import Opset

from fathom_exporters.lowering import DOMAIN, VERSION
from fathom_exporters.lowering.rounding import rounded

__all__ = [
    "array",
    "element_type",
    "gradient",
    "gradients",
    "ints",
    "op",
    "ops",
    "reshaped",
    "spread",
    "window_attributes",
]


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


def ints(*values: int) -> ir.Value:
    """A one-dimensional int64 constant: axes, a shape; it may have no elements."""
    return op.Constant(value=ir.tensor(np.array(values, np.int64)))


def array(values: np.ndarray[Any, Any], like: ir.Value) -> ir.Value:
    """A constant tensor of the element type of ``like``.

    Raises:
        ValueError: ``like`` has no element type.
    """
    return op.Constant(value=rounded(values, element_type(like)))


def element_type(x: ir.Value) -> np.dtype[Any]:
    """The element type of ``x``.

    Raises:
        ValueError: It is not known.
    """
    if x.dtype is None:
        raise ValueError(f"tensor '{x.name}' has no element type")
    return x.dtype.numpy()


def reshaped(x: ir.Value, shape: Sequence[int]) -> ir.Value:
    """``x`` in another shape, which is known of the result: PyTorch's exporter knows those of recorded values only."""
    result = op.Reshape(x, ints(*shape))
    result.shape, result.type = ir.Shape(shape), x.type
    return result


def spread(values: Sequence[int], sides: int, usual: int | None = None) -> list[int]:
    """One number for each side of an image, where aten may have recorded one for all of them or none."""
    if not values and usual is not None:
        return [usual] * sides
    return list(values) * (sides if len(values) == 1 else 1)


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
