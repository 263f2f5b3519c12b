"""The values of a jaxpr while it is translated: tensors of the graph, and what need not be one yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering.values import static_shape

__all__ = ["Known", "Spread", "Stack", "Value", "dtype_of", "known", "narrow", "shape_of"]

Known = np.ndarray[Any, Any]
"""A value that does not depend on the graph's inputs. In float64 it has digits that the graph's float32 has not."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A value that repeats another along some axes: ONNX's pointwise ops broadcast by themselves.

    Attributes:
        base: What is repeated; its axes are the last ones of the whole, as ONNX broadcasts.
        shape: The shape of the whole.
    """

    base: ir.Value | Known
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Stack:
    """Values of one shape along a first axis: the rows that a loop has made, which another reads one by one."""

    parts: tuple[Value, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole."""
        return (len(self.parts), *shape_of(self.parts[0]))


Value = ir.Value | Known | Spread | Stack
"""A value of a jaxpr."""


def shape_of(value: Value) -> tuple[int, ...]:
    """The shape of a value."""
    return tuple(static_shape(value)) if isinstance(value, ir.Value) else tuple(value.shape)


def narrow(dtype: Any) -> np.dtype[Any]:
    """The type that a jaxpr's type has in the graph: float32 for float64, others as they are."""
    found: np.dtype[Any] = np.dtype(dtype)
    return np.dtype(np.float32) if found == np.float64 else found


def dtype_of(value: Value) -> np.dtype[Any]:
    """The element type of a value in the graph."""
    if isinstance(value, Stack):
        return dtype_of(value.parts[0])
    base = value.base if isinstance(value, Spread) else value
    if isinstance(base, ir.Value):
        assert base.dtype is not None
        return base.dtype.numpy()
    return narrow(base.dtype)


def known(value: Value) -> Known | None:
    """The elements of a value that is known, without its repetitions; None of others."""
    base = value.base if isinstance(value, Spread) else value
    return base if isinstance(base, np.ndarray) else None
