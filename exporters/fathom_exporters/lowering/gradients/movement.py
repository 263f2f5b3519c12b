"""Gradients of gathers and slices in standard ONNX."""

from __future__ import annotations

import math

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.values import operands, static_shape

__all__ = ["gather_grad", "slice_grad"]


def gather_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """GatherGrad: dy [*index shape, *row], indices -> dw [rows, *row].

    Elements and not rows are scattered: onnxruntime's CPU ScatterND with duplicate indices races with two or more
    threads.
    """
    dy, indices = operands(node)
    index_shape = static_shape(indices)
    row = static_shape(dy)[len(index_shape) :]
    count, width = math.prod(index_shape), math.prod(row)
    rows = node.attributes["rows"].as_int()
    zeros = b.op("ConstantOfShape", b.ints(rows, width))
    elements = b.op("Expand", b.reshape(indices, count, 1), b.ints(count, width))
    added = b.op("ScatterElements", zeros, elements, b.reshape(dy, count, width), axis=0, reduction="add")
    return [added if len(row) == 1 else b.reshape(added, rows, *row)]


def slice_grad(b: Builder, node: ir.Node) -> list[ir.Value]:
    """SliceGrad: dy -> dx [input_shape], zero outside the slice."""
    (dy,) = operands(node)
    starts = list(node.attributes["starts"].as_ints())
    size = list(node.attributes["input_shape"].as_ints())
    ends = [s - start - d for s, start, d in zip(size, starts, static_shape(dy), strict=True)]
    return [b.op("Pad", dy, b.ints(*starts, *ends))]
