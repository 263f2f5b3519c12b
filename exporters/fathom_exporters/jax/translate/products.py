"""Matrix products and convolutions, with the forms that JAX's derivatives of a convolution have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from fathom_exporters.lowering import Tag
from fathom_exporters.lowering.values import static_shape

from .emit import Emit
from .moves import pad
from .registry import Equation, Rule, UnknownError
from .values import Spread, Value, dtype_of, shape_of

__all__ = ["PRODUCTS", "with_bias"]


def _dot_general(e: Emit, q: Equation) -> Value:
    """A product of matrices, where nothing is batched, of all rows at once; else a batched one."""
    (summed_a, summed_b), (batch_a, batch_b) = q.params["dimension_numbers"]
    if any(dtype_of(x) == np.bool_ for x in q.given):  # how many pairs of elements are true, or whether any is
        given = tuple(e.pointwise("Cast", x, dtype=np.float32, to=1) for x in q.given)
        counted = _dot_general(e, replace(q, given=given, results=((q.shape, np.dtype(np.float32)),)))
        if q.dtype == np.float32:
            return counted
        return e.pointwise("Cast", counted, dtype=q.dtype, to=int(ir.DataType.from_numpy(q.dtype)))
    a, b = (e.tensor(x) for x in q.given)
    size_a, size_b = static_shape(a), static_shape(b)
    if not batch_a and len(summed_a) == 1 and len(size_a) == len(size_b) == 2:
        turned = {"transA": 1 - summed_a[0], "transB": summed_b[0]}
        return e.node("Gemm", a, b, shape=q.shape, dtype=q.dtype, **{k: v for k, v in turned.items() if v})
    free_a = [axis for axis in range(len(size_a)) if axis not in (*summed_a, *batch_a)]
    free_b = [axis for axis in range(len(size_b)) if axis not in (*summed_b, *batch_b)]
    batch = [size_a[axis] for axis in batch_a]
    rows, columns = (math.prod(s[x] for x in f) for s, f in ((size_a, free_a), (size_b, free_b)))
    inner = math.prod(size_a[axis] for axis in summed_a)
    left = e.reshape(e.transpose(a, [*batch_a, *free_a, *summed_a]), [*batch, rows, inner])
    right = e.reshape(e.transpose(b, [*batch_b, *summed_b, *free_b]), [*batch, inner, columns])
    op_type = "MatMul" if batch else "Gemm"
    made: Value = e.reshape(e.node(op_type, left, right, shape=[*batch, rows, columns], dtype=q.dtype), q.shape)
    return made


def with_bias(e: Emit, x: Value, bias: Value) -> ir.Value | None:
    """A product or convolution that nothing else reads yet, and what is added to each of its channels, in one node."""
    product = x.producer() if isinstance(x, ir.Value) else None
    if product is None or product.domain or len(product.inputs) != 2 or product.op_type not in ("Gemm", "Conv"):
        return None
    vector = bias.base if isinstance(bias, Spread) else bias
    if product.outputs[0].uses() or not isinstance(vector, ir.Value):
        return None
    shape = shape_of(x)
    channel = 1 if product.op_type == "Conv" else len(shape) - 1
    wanted = [size if axis == channel else 1 for axis, size in enumerate(shape)]
    held = shape_of(vector)
    if [1] * (len(shape) - len(held)) + list(held) != wanted or shape[channel] == 1:
        return None
    source = _without_moves(vector, (shape[channel],))
    if source is None:
        return None
    attributes = {name: attribute.value for name, attribute in product.attributes.items()}
    e.op = _op_of(product)
    return e.node(product.op_type, *product.inputs, source, shape=shape, dtype=dtype_of(x), **attributes)


def _op_of(node: ir.Node) -> str:
    tag = Tag.of(node)
    assert tag is not None
    return tag.op


def _swapped(spec: Sequence[int]) -> tuple[int, ...]:
    """A layout with batch and channels, or output and input channels, exchanged."""
    return (spec[1], spec[0], *spec[2:])


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=lambda axis: order[axis])


def _window(
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    starts: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> dict[str, Any]:
    """The window of a forward convolution; the padding at the ends is the least that gives so many outputs."""
    reach = [(o - 1) * s + d * (k - 1) + 1 for o, s, d, k in zip(outputs, strides, dilations, kernel, strict=True)]
    ends = [max(0, r - i - p) for r, i, p in zip(reach, inputs, starts, strict=True)]
    return {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "dilations": list(dilations),
        "pads": [*starts, *ends],
    }


def _reversed_source(e: Emit, value: Value, sides: int) -> ir.Value | None:
    """The filter [O, I, *kernel] that a value is, reversed along its sides; None where it is none.

    With groups JAX moves them from the output channels to the input channels on the way: reshapes and a transpose.
    """
    producer = value.producer() if isinstance(value, ir.Value) else None
    while producer is not None and producer.op_type in ("Reshape", "Transpose"):
        source = producer.inputs[0]
        producer = source.producer() if source is not None else None
    if producer is None or producer.op_type != "Slice":
        return None
    steps = producer.inputs[4] if len(producer.inputs) > 4 else None
    if steps is None or steps.const_value is None or list(steps.const_value.numpy()) != [-1] * sides:
        return None
    return producer.inputs[0]


def _without_moves(value: ir.Value, shape: Sequence[int]) -> ir.Value | None:
    """What a value was before reshapes and transposes, of a given shape."""
    while tuple(static_shape(value)) != tuple(shape):
        producer = value.producer()
        if producer is None or producer.op_type not in ("Reshape", "Transpose") or producer.inputs[0] is None:
            return None
        value = producer.inputs[0]
    return value


def _convolution(e: Emit, q: Equation) -> Value:
    p = q.params
    lhs_spec, rhs_spec, out_spec = (tuple(spec) for spec in p["dimension_numbers"])
    if e.in_backward:
        sides = len(lhs_spec) - 2
        if _reversed_source(e, q.given[1], sides) is not None:
            found = _input_gradient(e, q, lhs_spec, rhs_spec, out_spec)
        else:
            found = _filter_gradient(e, q, lhs_spec, rhs_spec, out_spec)
        if found is not None:
            return found
    return _forward(e, q, lhs_spec, rhs_spec, out_spec)


Spec = tuple[int, ...]


def _forward(e: Emit, q: Equation, lhs_spec: Spec, rhs_spec: Spec, out_spec: Spec) -> Value:
    p = q.params
    if p["batch_group_count"] != 1:
        raise UnknownError("no translation of groups of a batch")
    x, w = e.transpose(q.given[0], lhs_spec), e.transpose(q.given[1], rhs_spec)
    borders = [
        (int(low), int(high), int(d) - 1) for (low, high), d in zip(p["padding"], p["lhs_dilation"], strict=True)
    ]
    if any(between for _, _, between in borders) or any(min(low, high) < 0 for low, high, _ in borders):
        e.op = "Conv2DBackInput" if any(between for _, _, between in borders) else e.op
        zero = e.number(0, x)
        x, borders = pad(e, x, zero, [(0, 0, 0)] * 2 + borders), [(0, 0, 0)] * len(borders)
    out = [q.shape[axis] for axis in out_spec]
    made = e.node(
        "Conv",
        x,
        w,
        shape=out,
        dtype=q.dtype,
        group=int(p["feature_group_count"]),
        kernel_shape=list(shape_of(w)[2:]),
        strides=list(p["window_strides"]),
        dilations=list(p["rhs_dilation"]),
        pads=[*(low for low, _, _ in borders), *(high for _, high, _ in borders)],
    )
    back: Value = e.transpose(made, _inverse(out_spec))
    return back


def _filter_gradient(e: Emit, q: Equation, lhs_spec: Spec, rhs_spec: Spec, out_spec: Spec) -> Value | None:
    """The gradient for the filter: a convolution of the input with the gradient, batch and channels exchanged.

    Strides of the forward convolution are dilations here, and the other way round.
    """
    p = q.params
    if p["feature_group_count"] != 1 or any(d != 1 for d in p["lhs_dilation"]):
        return None
    x, dy = e.transpose(q.given[0], _swapped(lhs_spec)), e.transpose(q.given[1], _swapped(rhs_spec))
    filter_spec = _swapped(out_spec)
    shape = [q.shape[axis] for axis in filter_spec]
    starts = [int(low) for low, _ in p["padding"]]
    if min(starts) < 0:
        return None
    size, out = shape_of(x)[2:], shape_of(dy)[2:]
    window = _window(shape[2:], p["rhs_dilation"], p["window_strides"], starts, size, out)
    e.op = "Conv2DBackFilter"
    group = int(p["batch_group_count"])
    made = e.gradient("Conv2DBackFilter", dy, x, group=group, shape=shape, dtype=q.dtype, **window)
    back: Value = e.transpose(made, _inverse(filter_spec))
    return back


def _input_gradient(e: Emit, q: Equation, lhs_spec: Spec, rhs_spec: Spec, out_spec: Spec) -> Value | None:
    """The gradient for the input: a convolution of the spaced gradient with the reversed filter."""
    p = q.params
    group = int(p["feature_group_count"])
    if p["batch_group_count"] != 1 or any(s != 1 for s in p["window_strides"]):
        return None
    dy = e.transpose(q.given[0], lhs_spec)
    out = [q.shape[axis] for axis in out_spec]
    filter_spec = _swapped(rhs_spec)
    kernel = [shape_of(q.given[1])[axis] for axis in rhs_spec[2:]]
    reversed_filter = _reversed_source(e, q.given[1], len(kernel))
    assert reversed_filter is not None
    wanted = [shape_of(dy)[1], out[1] // group, *kernel]
    stored = [wanted[axis] for axis in _inverse(filter_spec)]
    source = _without_moves(reversed_filter, stored)
    if source is None:
        return None
    w = e.transpose(source, filter_spec)
    starts = [d * (k - 1) - int(low) for d, k, (low, _) in zip(p["rhs_dilation"], kernel, p["padding"], strict=True)]
    if min(starts) < 0:
        return None
    window = _window(kernel, p["lhs_dilation"], p["rhs_dilation"], starts, out[2:], shape_of(dy)[2:])
    e.op = "Conv2DBackInput"
    made = e.gradient("Conv2DBackInput", dy, w, group=group, shape=out, dtype=dtype_of(dy), input_shape=out, **window)
    back: Value = e.transpose(made, _inverse(out_spec))
    return back


PRODUCTS: dict[str, Rule] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot_general,
}
"""Primitive to its rule."""
