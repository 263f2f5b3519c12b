"""Sums over many rows as onnxruntime makes them: one term after another.

PyTorch and TensorFlow add in blocks, so that the error of a bias's gradient hardly grows with the rows. onnxruntime
adds one row after another, and the error grows with their number: 8,192 rows of random terms are off by 3e-6 of the
largest sum and not by 1e-7. The graph says no order; it is measured what this one costs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from fathom_onnx.workloads.contract import Array

from .double import DoubleGraph

__all__ = ["error_of_order", "error_of_sum"]

_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose"})
"""Ops that leave every number as it is."""


def error_of_order(model: onnx.ModelProto, name: str, values: Mapping[str, Array]) -> float:
    """How far off a tensor is in float32 by the order alone in which onnxruntime sums it.

    The terms are those of the graph in float64, each rounded to float32, so that no other error of the graph counts.

    Args:
        model: The model, its weights within it.
        name: Name of a tensor.
        values: Every input by name.

    Returns:
        The largest error of an element; 0 where the tensor is no sum over axes that the file names.

    Raises:
        RunError: The terms cannot be evaluated in float64.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    node = made_by.get(name)
    while node is not None and node.op_type in _MOVES:
        node = made_by.get(node.input[0])
    if node is None or node.op_type != "ReduceSum" or len(node.input) < 2:
        return 0.0
    axes = _constant(model, made_by, node.input[1])
    if axes is None or not axes.size:
        return 0.0
    return error_of_sum(DoubleGraph(model, [node.input[0]]).run(values)[node.input[0]], axes)


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


def _constant(model: onnx.ModelProto, made_by: Mapping[str, onnx.NodeProto], name: str) -> Array | None:
    """The value of a constant; None where a tensor is none."""
    held = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
    if held is None and name in made_by and made_by[name].op_type == "Constant":
        held = next((a.t for a in made_by[name].attribute if a.name == "value"), None)
    return None if held is None else np.asarray(numpy_helper.to_array(held))
