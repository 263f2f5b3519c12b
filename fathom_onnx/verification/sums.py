"""Sums over many rows as onnxruntime makes them: one term after another.

PyTorch and TensorFlow add in blocks, so that the error of a bias's gradient hardly grows with the rows. onnxruntime
adds one row after another, and the error grows with their number: 8,192 rows of random terms are off by 3e-6 of the
largest sum and not by 1e-7. The graph says no order; it is measured what this one costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.workloads.contract import Array

from .reading import Reading

__all__ = ["error_of_sum", "errors_of_order", "terms_of_sums"]

_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose"})
"""Ops that leave every number as it is."""


def errors_of_order(reading: Reading, names: Iterable[str]) -> dict[str, float]:
    """How far off tensors are in float32 by the order alone in which onnxruntime sums them.

    The terms are those of the graph in float64, each rounded to float32, so that no other error of the graph counts.

    Args:
        reading: The step, with :func:`terms_of_sums`.
        names: Names of tensors.

    Returns:
        The largest error of an element by tensor, of those that are sums over axes that the file names.
    """
    sums = _sums(reading.model, names)
    return {name: error_of_sum(reading.exact[of], axes) for name, (of, axes) in sums.items()}


def terms_of_sums(model: onnx.ModelProto, names: Iterable[str]) -> list[str]:
    """The tensors whose elements some tensors are the sums of."""
    return [of for of, _ in _sums(model, names).values()]


def _sums(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, tuple[str, Array]]:
    """What tensors are the sums of, and over which axes, of those that are sums over axes that the file names."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    return {name: found for name in names if (found := _sum(held, made_by, name)) is not None}


def _sum(
    held: Mapping[str, onnx.TensorProto], made_by: Mapping[str, onnx.NodeProto], name: str
) -> tuple[str, Array] | None:
    """What a tensor is the sum of, and over which axes; None where it is no sum over axes that the file names."""
    node = made_by.get(name)
    while node is not None and node.op_type in _MOVES:
        node = made_by.get(node.input[0])
    if node is None or node.op_type != "ReduceSum" or len(node.input) < 2:
        return None
    axes = _constant(held, made_by, node.input[1])
    return None if axes is None or not axes.size else (node.input[0], axes)


def error_of_sum(terms: Array, axes: Array) -> float:
    """Largest error of sums over ``axes`` where float32 terms are added in turn."""
    if not np.isfinite(terms).all():
        return 0.0
    places = list(range(axes.size))
    rounded = np.moveaxis(np.asarray(terms, np.float32), axes.ravel().tolist(), places)
    rows = rounded.reshape((-1, *rounded.shape[axes.size :]))
    if not rows.size:
        return 0.0
    total = np.zeros(rows.shape[1:], np.float32)
    for row in rows:
        total += row
    return float(np.abs(total.astype(np.float64) - rows.sum(0, dtype=np.float64)).max())


def _constant(held: Mapping[str, onnx.TensorProto], made_by: Mapping[str, onnx.NodeProto], name: str) -> Array | None:
    """The value of a constant; None where a tensor is none."""
    tensor = held.get(name)
    if tensor is None and name in made_by and made_by[name].op_type == "Constant":
        tensor = next((a.t for a in made_by[name].attribute if a.name == "value"), None)
    return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))
