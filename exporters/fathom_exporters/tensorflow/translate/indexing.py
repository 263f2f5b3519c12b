"""Elements read and written by index, sums of segments, and their gradients.

Where an index can come twice its elements are added by the canonical GatherGrad and by ScatterElements: onnxruntime's
ScatterND with a reduction is a race on two or more threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from fathom_exporters.lowering import DOMAIN

from .emit import Emit, Handler

__all__ = ["INDEXING"]

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
"""Element types that the canonical gradient ops take."""


def gather(e: Emit) -> None:
    """GatherV2(x, indices, axis): a gather of slices or, with batch axes, of elements or of each batch's slices."""
    x, indices, _ = e.inputs
    shape = e.shape(x)
    rank, places = len(shape), e.shape(indices)
    axis, batch = int(e.static(2)) % rank, int(e.attribute("batch_dims", 0)) % max(len(places), 1)
    if int(e.attribute("batch_dims", 0)) == len(places):
        batch = len(places)
    if not batch:
        e.replace("Gather", x, indices, axis=axis)
    elif batch == axis == rank - 1 and len(places) in (batch, rank):
        positions = indices if len(places) == rank else e.reshape(indices, [*places, 1])
        elements = e.op("GatherElements", x, positions, axis=axis, shape=e.shape(positions))
        e.become(e.reshape(elements, e.output_shape))
    else:
        e.become(_gather_of_batches(e, x, indices, axis, batch))


def _gather_of_batches(e: Emit, x: str, indices: str, axis: int, batch: int) -> str:
    """[B, between, n, rest] and indices [B, places] -> [B, between, places, rest]."""
    shape, places = e.shape(x), e.shape(indices)
    between = axis - batch
    if between:  # the axis comes first after the batch
        order = [*range(batch), axis, *range(batch, axis), *range(axis + 1, len(shape))]
        x = e.transpose(x, order)
    numbers = e.reshape(e.cast(indices, TensorProto.INT64), [*places, 1])
    made_shape = [*places, *e.shape(x)[batch + 1 :]]
    made = e.op("GatherND", x, numbers, shape=made_shape, batch_dims=batch)
    if between:
        first = len(places)
        order = [*range(batch), *range(first, first + between), *range(batch, first)]
        made = e.transpose(made, [*order, *range(first + between, len(made_shape))])
    return made


def gather_nd(e: Emit) -> None:
    """GatherNd(x, indices)."""
    x, indices = e.inputs
    e.replace("GatherND", x, e.cast(indices, TensorProto.INT64))


def _rows(e: Emit, indices: str, shape: Sequence[int]) -> str:
    """Places [.., k] in a tensor of ``shape`` as numbers of rows, its first k axes taken together."""
    places = e.shape(indices)
    steps = [math.prod(shape[axis + 1 : places[-1]]) for axis in range(places[-1])]
    numbers = e.cast(indices, TensorProto.INT64)
    if steps == [1]:
        return e.reshape(numbers, places[:-1])
    far = e.binary("Mul", numbers, e.ints(steps))
    return e.op("ReduceSum", far, e.ints([len(places) - 1]), shape=places[:-1], keepdims=0)


def _added(e: Emit, indices: str, updates: str, shape: Sequence[int]) -> str:
    """Updates added where places [.., k] point, in zeros of ``shape``."""
    depth = e.shape(indices)[-1]
    count, rest = math.prod(e.shape(indices)[:-1]), list(shape[depth:])
    rows = math.prod(shape[:depth])
    numbers = e.reshape(_rows(e, indices, shape), [count])
    flat = e.reshape(updates, [count, *rest])
    (added,) = e.private("GatherGrad", flat, numbers, shapes=[[rows, *rest]], rows=rows)
    return e.reshape(added, shape)


def scatter_nd(e: Emit) -> None:
    """ScatterNd(indices, updates, shape): what is written to one place is added."""
    indices, updates = e.inputs[:2]
    dtype, shape = e.dtype(updates), e.output_shape
    if dtype in _FLOATS:
        e.become(_added(e, indices, updates, shape))
    else:
        added = _added(e, indices, e.cast(updates, TensorProto.FLOAT), shape)
        e.become(e.cast(added, dtype))


def tensor_scatter(sign: int, e: Emit) -> None:
    """TensorScatterUpdate, -Add and -Sub(x, indices, updates)."""
    x, indices, updates = e.inputs
    places = e.shape(indices)
    if not sign:
        e.replace("ScatterND", x, e.cast(indices, TensorProto.INT64), updates)
    elif places[-1] == 1 and e.dtype(x) in _FLOATS:  # whole rows: no other is read or written
        added = updates if sign > 0 else e.op("Neg", updates, shape=e.shape(updates))
        e.replace("ScatterAdd", x, added, e.reshape(indices, places[:-1]), domain=DOMAIN)
    else:
        e.replace("Add" if sign > 0 else "Sub", x, _added(e, indices, updates, e.output_shape))


def _is_gradient(e: Emit) -> bool:
    return e.name.startswith("gradient_tape/") or "/gradient_tape/" in e.name


def unsorted_segment_sum(e: Emit) -> None:
    """UnsortedSegmentSum(x, ids, rows): the gradient of a gather.

    Rows of negative number are left out, which a gather cannot have had: they go to a row more, which is cut off.
    """
    x, ids, _ = e.inputs
    rows = int(e.static(2))
    if _is_gradient(e) or not e.name.startswith(("forward/", "loss/")):
        e.replace("GatherGrad", x, ids, domain=DOMAIN, rows=rows)
        return
    shape, places = e.output_shape, e.shape(ids)
    count, rest = math.prod(places), shape[1:]
    dtype = e.dtype(x)
    numbers = e.reshape(_kept(e, ids, rows), [count])
    flat = e.reshape(
        x if dtype in (TensorProto.FLOAT, TensorProto.DOUBLE) else e.cast(x, TensorProto.FLOAT), [count, *rest]
    )
    (added,) = e.private("GatherGrad", flat, numbers, shapes=[[rows + 1, *rest]], rows=rows + 1)
    cut = e.op("Slice", added, e.ints([0]), e.ints([rows]), e.ints([0]), shape=shape)
    e.become(e.cast(cut, dtype))


def _kept(e: Emit, ids: str, rows: int) -> str:
    """Numbers of rows, negative ones replaced by ``rows``."""
    return e.where(e.compare("Less", ids, e.number(0, ids)), e.number(rows, ids), ids)


def unsorted_segment_extreme(op_type: str, e: Emit) -> None:
    """UnsortedSegmentMax, -Min and -Prod(x, ids, rows); an empty segment has TensorFlow's own number."""
    x, ids, _ = e.inputs
    rows, places = int(e.static(2)), e.shape(ids)
    shape, count = e.output_shape, math.prod(places)
    rest = shape[1:]
    width = math.prod(rest)
    numbers = e.reshape(_kept(e, e.cast(ids, TensorProto.INT64), rows), [count, 1])
    spread = e.op("Expand", numbers, e.ints([count, width]), shape=[count, width])
    element = np.float64 if e.dtype(x) == TensorProto.DOUBLE else np.float32
    start = {"max": np.finfo(element).min, "min": np.finfo(element).max, "mul": 1.0}[op_type]
    empty = e.number(np.full((rows + 1, width), start), x)
    flat = e.reshape(x, [count, width])
    made = e.op("ScatterElements", empty, spread, flat, shape=[rows + 1, width], axis=0, reduction=op_type)
    cut = e.op("Slice", made, e.ints([0]), e.ints([rows]), e.ints([0]), shape=[rows, width])
    e.become(e.reshape(cut, shape))


def one_hot(e: Emit) -> None:
    """OneHot(indices, depth, on, off): numbers outside the depth, negative ones too, are all off."""
    indices, _, on, off = e.inputs
    shape, rank = e.output_shape, len(e.output_shape)
    axis = int(e.attribute("axis", -1)) % rank
    depth = shape[axis]
    apart = e.reshape(indices, [*shape[:axis], 1, *shape[axis + 1 :]])
    range_shape = [depth if index == axis else 1 for index in range(axis, rank)]
    numbers = e.number(np.arange(depth).reshape(range_shape), indices)
    hot = e.compare("Equal", apart, numbers)
    e.replace("Where", hot, on, off)


def sparse_cross_entropy(e: Emit) -> None:
    """SparseSoftmaxCrossEntropyWithLogits(logits, labels) -> loss [N], dlogits [N, C]."""
    logits, labels = e.inputs
    shape = e.shape(logits)
    numbers = e.cast(labels, TensorProto.INT64)
    # a scalar, which every tool reads: some do not read a depth with an axis
    depth, values = e.constant(shape[1], np.int64), e.number(np.array([0, 1]), logits)
    hot = e.op("OneHot", numbers, depth, values, shape=shape, dtype=e.dtype(logits), axis=-1)
    e.become(*e.private("CrossEntropy", logits, hot, shapes=[shape[:1], shape]))


def top_k(e: Emit) -> None:
    """TopKV2(x, constant k) -> values, indices."""
    x, shape = e.inputs[0], e.output_shape
    values, indices = e.op_with_outputs(
        "TopK", x, e.ints([shape[-1]]), shapes=[shape, shape], dtypes=[e.dtype(x), TensorProto.INT64], axis=-1,
        sorted=int(bool(e.attribute("sorted", True))),
    )  # fmt: skip
    e.become(values, e.cast(indices, e.dtype_of_output(1)))


def bincount(e: Emit) -> None:
    """DenseBincount and Bincount(numbers, constant size, weights): how often each number comes, or its weights' sum."""
    numbers, _, weights = e.inputs
    depth, places = int(e.static(1)), e.shape(numbers)
    apart = e.reshape(numbers, [*places, 1])
    hot = e.cast(e.compare("Equal", apart, e.number(np.arange(depth), numbers)), e.output_dtype)
    if math.prod(e.shape(weights)):
        hot = e.binary("Mul", hot, e.reshape(weights, [*places, 1]))
    axes = [1] if e.type == "DenseBincount" and len(places) == 2 else list(range(len(places)))
    shape = [size for axis, size in enumerate([*places, depth]) if axis not in axes]
    op_type = "ReduceMax" if e.attribute("binary_output", False) else "ReduceSum"
    e.become(e.op(op_type, hot, e.ints(axes), shape=shape, keepdims=0))


def bound(op_type: str, e: Emit) -> None:
    """LowerBound and UpperBound(sorted [B, n], values [B, m]): how many are below each value, or not above it."""
    ordered, values = e.inputs
    (rows, count), places = e.shape(ordered), e.shape(values)[1]
    below = e.compare(op_type, e.reshape(ordered, [rows, 1, count]), e.reshape(values, [rows, places, 1]))
    number = e.cast(below, TensorProto.INT32)
    made = e.op("ReduceSum", number, e.ints([2]), shape=[rows, places], keepdims=0)
    e.become(e.cast(made, e.output_dtype))


INDEXING: dict[str, Handler] = {
    "Bincount": bincount,
    "DenseBincount": bincount,
    "GatherNd": gather_nd,
    "GatherV2": gather,
    "LowerBound": functools.partial(bound, "Less"),
    "OneHot": one_hot,
    "ScatterNd": scatter_nd,
    "SparseSoftmaxCrossEntropyWithLogits": sparse_cross_entropy,
    "TensorScatterAdd": functools.partial(tensor_scatter, 1),
    "TensorScatterSub": functools.partial(tensor_scatter, -1),
    "TensorScatterUpdate": functools.partial(tensor_scatter, 0),
    "TopKV2": top_k,
    "UnsortedSegmentMax": functools.partial(unsorted_segment_extreme, "max"),
    "UnsortedSegmentMin": functools.partial(unsorted_segment_extreme, "min"),
    "UnsortedSegmentProd": functools.partial(unsorted_segment_extreme, "mul"),
    "UnsortedSegmentSum": unsorted_segment_sum,
    "UpperBound": functools.partial(bound, "LessOrEqual"),
}
"""TensorFlow operation to its handler."""
