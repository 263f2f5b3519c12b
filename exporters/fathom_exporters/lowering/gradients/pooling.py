"""Pooling gradients in standard ONNX."""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape
from fathom_exporters.lowering.window import Window

__all__ = ["max_pool_grad"]


def _forward_pool(x: ir.Value, window: Window) -> ir.Node | None:
    """The MaxPool of ``x`` with this window, if the graph has it."""
    for user, _ in x.uses():
        if user.op_type != "MaxPool" or user.domain:
            continue
        if window.is_of(user):
            return user
    return None


def max_pool_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """MaxPoolGrad: dy [N, C, *out], x [N, C, *size] -> dx [N, C, *size].

    ``dy`` is added to zeros at MaxPool's flat indices. The forward pool gives them as a second output if the graph has
    it, since a second pool would cost as much again. Elements and not slices are scattered: onnxruntime's CPU ScatterND
    with duplicate indices races with two or more threads.
    """
    dy, x = operands(node)
    window = Window(node)
    pool = _forward_pool(x, window)
    if pool is None:
        indices = b.ops("MaxPool", x, outputs=2, **window.attributes)[1]
    else:
        if len(pool.outputs) < 2:
            pool.resize_outputs(2)
            pool.outputs[1].name = f"{pool.outputs[0].name}.indices"
            pool.outputs[1].type = ir.TensorType(ir.DataType.INT64)
            pool.outputs[1].shape = pool.outputs[0].shape
        indices = pool.outputs[1]
    shape = static_shape(x)
    zeros = b.op("ConstantOfShape", b.ints(math.prod(shape)))
    flat = b.op("ScatterElements", zeros, b.reshape(indices, -1), b.reshape(dy, -1), axis=0, reduction="add")
    return [b.reshape(flat, *shape)]
