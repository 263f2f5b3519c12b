"""Products, sums, movement, random draws and pointwise gradients that tf2onnx lacks or writes less plainly."""

from __future__ import annotations

import functools

import numpy as np

from fathom_exporters.lowering import DOMAIN

from .emit import Emit, Handler

__all__ = ["GENERAL"]


def matmul(e: Emit) -> None:
    """MatMul(a, b) with either transposed: one Gemm and no Transpose."""
    a, b = e.inputs
    flip_a, flip_b = bool(e.attribute("transpose_a", False)), bool(e.attribute("transpose_b", False))
    if flip_a or flip_b:
        e.replace("Gemm", a, b, transA=int(flip_a), transB=int(flip_b))
    else:
        e.replace("MatMul", a, b)


def _channel_axis(e: Emit, rank: int) -> int:
    return 1 if e.attribute("data_format", "NHWC") == "NCHW" else rank - 1


def bias_add(e: Emit) -> None:
    """BiasAdd(x, b): x + b, b along the channels."""
    x, b = e.inputs
    rank = len(e.shape(x))
    after = rank - 1 - _channel_axis(e, rank)
    e.replace("Add", x, e.reshape(b, [*e.shape(b), *[1] * after]) if after else b)


def bias_add_grad(e: Emit) -> None:
    """BiasAddGrad(dy): the sum over all but the channels."""
    (dy,) = e.inputs
    rank = len(e.shape(dy))
    axes = [axis for axis in range(rank) if axis != _channel_axis(e, rank)]
    e.replace("ReduceSum", dy, e.ints(axes), keepdims=0)


def reduction(op_type: str, e: Emit) -> None:
    """A reduction over constant axes. Over no axes it is the input, where ONNX takes no axes for all."""
    x = e.inputs[0]
    rank = len(e.shape(x))
    axes = sorted({int(axis) % rank for axis in np.atleast_1d(e.static(1))}) if rank else []
    keep = bool(e.attribute("keep_dims", False))
    if not axes:
        e.become(x)
    elif op_type == "ReduceMean" and rank == 4 and axes == [2, 3]:
        # the form of a global average pool that simulators read
        shape = e.shape(x)
        pooled = e.op("GlobalAveragePool", x, shape=[*shape[:2], 1, 1])
        if keep:
            e.become(pooled)
        else:
            e.replace("Flatten", pooled, axis=1)
    else:
        e.replace(op_type, x, e.ints(axes), keepdims=int(keep))


_SUMMANDS = 8
"""Largest number of tensors that one node adds. An unrolled recurrence adds a gradient of its weights for every time
step; for one Sum of them all onnxruntime would keep them all in memory."""


def add_n(e: Emit) -> None:
    """AddN: the sum of tensors of one shape, a few at a time."""
    head, rest = e.inputs[:1], e.inputs[1:]
    while len(rest) >= _SUMMANDS:
        group, rest = [*head, *rest[: _SUMMANDS - 1]], rest[_SUMMANDS - 1 :]
        head = [e.op("Sum", *group, shape=e.output_shape)]
    summands = [*head, *rest]
    if len(summands) == 1:
        e.become(summands[0])
    else:
        e.replace("Add" if len(summands) == 2 else "Sum", *summands)


def reshape(e: Emit) -> None:
    """Reshape, ExpandDims and Squeeze: the shape of the output is static."""
    e.replace("Reshape", e.inputs[0], e.ints(e.output_shape))


def gather(e: Emit) -> None:
    """GatherV2(x, indices, axis): a gather of slices or, if all axes before the last are batch axes, of elements."""
    x, indices, _ = e.inputs
    rank = len(e.shape(x))
    axis, batch = int(e.static(2)) % rank, int(e.attribute("batch_dims", 0))
    if not batch:
        e.replace("Gather", x, indices, axis=axis)
    elif batch == axis == rank - 1 and len(e.shape(indices)) in (batch, rank):
        positions = indices if len(e.shape(indices)) == rank else e.reshape(indices, [*e.shape(indices), 1])
        elements = e.op("GatherElements", x, positions, axis=axis, shape=e.shape(positions))
        e.become(e.reshape(elements, e.output_shape))
    else:
        raise ValueError(f"a gather along axis {axis} of {rank} with {batch} batch axes has no translation")


def transpose(e: Emit) -> None:
    """Transpose(x, constant permutation)."""
    e.replace("Transpose", e.inputs[0], perm=[int(axis) for axis in e.static(1)])


def tile(e: Emit) -> None:
    """Tile(x, constant multiples)."""
    e.replace("Tile", e.inputs[0], e.ints([int(n) for n in e.static(1)]))


def broadcast_to(e: Emit) -> None:
    """BroadcastTo(x, shape)."""
    e.replace("Expand", e.inputs[0], e.ints(e.output_shape))


def select(rows: bool, e: Emit) -> None:
    """Select(c, x, y); in the older form (``rows``) a vector c chooses whole rows."""
    c, x, y = e.inputs
    after = len(e.output_shape) - 1
    if rows and after and len(e.shape(c)) == 1:
        c = e.reshape(c, [*e.shape(c), *[1] * after])
    e.replace("Where", c, x, y)


def square(e: Emit) -> None:
    """Square(x): x * x."""
    e.replace("Mul", e.inputs[0], e.inputs[0])


def log1p(e: Emit) -> None:
    """Log1p(x): log(1 + x)."""
    (x,) = e.inputs
    e.replace("Log", e.binary("Add", x, e.number(1, x)))


def sqrt_grad(e: Emit) -> None:
    """SqrtGrad(y, dy): dy / (2 y)."""
    y, dy = e.inputs
    e.replace("Div", e.binary("Mul", dy, e.number(0.5, y)), y)


def rsqrt_grad(e: Emit) -> None:
    """RsqrtGrad(y, dy): -dy y^3 / 2."""
    y, dy = e.inputs
    cube = e.binary("Mul", e.binary("Mul", y, y), y)
    e.replace("Mul", e.binary("Mul", dy, e.number(-0.5, y)), cube)


def reciprocal_grad(e: Emit) -> None:
    """ReciprocalGrad(y, dy): -dy y^2."""
    y, dy = e.inputs
    e.replace("Neg", e.binary("Mul", dy, e.binary("Mul", y, y)))


def random(op_type: str, e: Emit) -> None:
    """A random draw without a seed: onnxruntime takes the session's, and draws other numbers for every node."""
    if not e.output_shape:
        raise ValueError("onnxruntime draws no scalars; draw a tensor of shape [1]")
    e.replace(op_type, shape=e.output_shape, dtype=e.output_dtype)


def gradient(op_type: str, dy: int, saved: int, e: Emit) -> None:
    """A canonical gradient op of two inputs: the operation's inputs ``dy`` (gradient) and ``saved`` (saved tensor)."""
    e.replace(op_type, e.inputs[dy], e.inputs[saved], domain=DOMAIN)


def unsorted_segment_sum(e: Emit) -> None:
    """UnsortedSegmentSum(dy, ids, rows): the gradient of a gather."""
    dy, ids, _ = e.inputs
    e.replace("GatherGrad", dy, ids, domain=DOMAIN, rows=int(e.static(2)))


def strided_slice_grad(e: Emit) -> None:
    """StridedSliceGrad(shape, begin, end, strides, dy) with steps of 1: dy at its position within zeros."""
    shape, begin, end, steps = ([int(v) for v in e.static(index)] for index in range(4))
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    starts, sizes = _dense_slice(shape, begin, end, steps, {name: int(e.attribute(name, 0)) for name in masks})
    e.replace("SliceGrad", e.reshape(e.inputs[4], sizes), domain=DOMAIN, input_shape=shape, starts=starts)


def _dense_slice(
    shape: list[int], begin: list[int], end: list[int], steps: list[int], masks: dict[str, int]
) -> tuple[list[int], list[int]]:
    """Start and size of a strided slice along every axis of the input, with all axes kept."""

    def has(name: str, index: int) -> bool:
        return bool(masks[name] >> index & 1)

    stated = sum(not has("new_axis_mask", i) and not has("ellipsis_mask", i) for i in range(len(begin)))
    starts: list[int] = []
    sizes: list[int] = []
    for i in range(len(begin)):
        axis = len(starts)
        if has("ellipsis_mask", i):
            whole = len(shape) - stated
            starts += [0] * whole
            sizes += shape[axis : axis + whole]
        elif has("new_axis_mask", i):
            continue
        elif has("shrink_axis_mask", i):
            starts.append(begin[i] % shape[axis])
            sizes.append(1)
        else:
            if steps[i] != 1:
                raise ValueError(f"the gradient of a slice with steps of {steps[i]} has no canonical op")
            first = None if has("begin_mask", i) else begin[i]
            last = None if has("end_mask", i) else end[i]
            start, stop, _ = slice(first, last).indices(shape[axis])
            starts.append(start)
            sizes.append(max(stop - start, 0))
    rest = len(starts)
    return starts + [0] * (len(shape) - rest), sizes + shape[rest:]


def cross_entropy(e: Emit) -> None:
    """SoftmaxCrossEntropyWithLogits(logits, labels) -> loss [N], dlogits [N, C]."""
    logits, labels = e.inputs
    shape = e.shape(logits)
    e.become(*e.private("CrossEntropy", logits, labels, shapes=[shape[:1], shape]))


GENERAL: dict[str, Handler] = {
    "AddN": add_n,
    "BiasAdd": bias_add,
    "BiasAddGrad": bias_add_grad,
    "BroadcastTo": broadcast_to,
    "ExpandDims": reshape,
    "GatherV2": gather,
    "Log1p": log1p,
    "MatMul": matmul,
    "Max": functools.partial(reduction, "ReduceMax"),
    "Mean": functools.partial(reduction, "ReduceMean"),
    "Min": functools.partial(reduction, "ReduceMin"),
    "Prod": functools.partial(reduction, "ReduceProd"),
    "RandomStandardNormal": functools.partial(random, "RandomNormal"),
    "RandomUniform": functools.partial(random, "RandomUniform"),
    "ReciprocalGrad": reciprocal_grad,
    "ReluGrad": functools.partial(gradient, "ReluGrad", 0, 1),
    "Reshape": reshape,
    "RsqrtGrad": rsqrt_grad,
    "Select": functools.partial(select, True),
    "SelectV2": functools.partial(select, False),
    "SigmoidGrad": functools.partial(gradient, "SigmoidGrad", 1, 0),
    "SoftmaxCrossEntropyWithLogits": cross_entropy,
    "SoftplusGrad": functools.partial(gradient, "SoftplusGrad", 0, 1),
    "StridedSliceGrad": strided_slice_grad,
    "SqrtGrad": sqrt_grad,
    "Square": square,
    "Squeeze": reshape,
    "Sum": functools.partial(reduction, "ReduceSum"),
    "TanhGrad": functools.partial(gradient, "TanhGrad", 1, 0),
    "Tile": tile,
    "UnsortedSegmentSum": unsorted_segment_sum,
    "Transpose": transpose,
}
"""TensorFlow operation to its handler."""
