"""Products, activations and their gradients, movement, fills and random draws: aten operation to ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from fathom_exporters.lowering.rounding import rounded
from fathom_exporters.lowering.values import static_shape

from .emit import array, gradient, op, ops

__all__ = ["GENERAL"]

_aten = torch.ops.aten


def threshold_backward(dy: ir.Value, y: ir.Value, threshold: float) -> ir.Value:
    """The gradient of a ReLU -> ReluGrad; of a threshold, which knows the input and not the output -> Where."""
    producer = y.producer()
    if threshold == 0 and producer is not None and producer.op_type == "Relu":
        return gradient.ReluGrad(dy, y)
    at, zero = (array(np.array(number), y) for number in (threshold, 0))
    return op.Where(op.Greater(y, at), dy, zero)


def log_softmax_backward(dy: ir.Value, y: ir.Value, dim: int, input_dtype: int) -> ir.Value:
    """_log_softmax_backward_data -> LogSoftmaxGrad."""
    return gradient.LogSoftmaxGrad(dy, y, axis=dim)


def softmax_backward(dy: ir.Value, y: ir.Value, dim: int, input_dtype: int) -> ir.Value:
    """_softmax_backward_data -> SoftmaxGrad."""
    return gradient.SoftmaxGrad(dy, y, axis=dim)


def hardtanh_backward(dy: ir.Value, x: ir.Value, low: float, high: float) -> ir.Value:
    """hardtanh_backward -> ClipGrad."""
    return gradient.ClipGrad(dy, x, min=float(low), max=float(high))


def sigmoid_backward(dy: ir.Value, y: ir.Value) -> ir.Value:
    """sigmoid_backward -> SigmoidGrad."""
    return gradient.SigmoidGrad(dy, y)


def tanh_backward(dy: ir.Value, y: ir.Value) -> ir.Value:
    """tanh_backward -> TanhGrad."""
    return gradient.TanhGrad(dy, y)


def gelu_backward(dy: ir.Value, x: ir.Value, approximate: str = "none") -> ir.Value:
    """gelu_backward -> GeluGrad."""
    return gradient.GeluGrad(dy, x, tanh=int(approximate == "tanh"))


def silu_backward(dy: ir.Value, x: ir.Value) -> ir.Value:
    """silu_backward -> SiluGrad."""
    return gradient.SiluGrad(dy, x)


def _require_usual_softplus(beta: float, threshold: float) -> None:
    if beta != 1 or threshold != 20:
        raise ValueError("only the softplus with beta 1 and threshold 20 has a canonical op")


def softplus(x: ir.Value, beta: float = 1.0, threshold: float = 20.0) -> ir.Value:
    """Softplus -> Softplus. Past the threshold PyTorch returns x itself, which differs by less than 3e-9."""
    _require_usual_softplus(beta, threshold)
    return op.Softplus(x)


def softplus_backward(dy: ir.Value, x: ir.Value, beta: float, threshold: float) -> ir.Value:
    """softplus_backward -> SoftplusGrad."""
    _require_usual_softplus(beta, threshold)
    return gradient.SoftplusGrad(dy, x)


def addmm(bias: ir.Value, a: ir.Value, b: ir.Value, beta: float = 1.0, alpha: float = 1.0) -> ir.Value:
    """``beta * bias + alpha * a b`` -> Gemm."""
    return op.Gemm(a, b, bias, alpha=float(alpha), beta=float(beta))


def mm(a: ir.Value, b: ir.Value) -> ir.Value:
    """``a b`` -> Gemm, which can read a transposed matrix without a Transpose."""
    return op.Gemm(a, b) if a.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE) else op.MatMul(a, b)


def embedding_backward(
    dy: ir.Value, indices: ir.Value, rows: int, padding_index: int, scale_by_frequency: bool
) -> ir.Value:
    """embedding_dense_backward -> GatherGrad."""
    if padding_index >= 0 or scale_by_frequency:
        raise ValueError("an embedding with a padding index or scaled by frequency has no canonical op")
    return gradient.GatherGrad(dy, indices, rows=rows)


def slice_backward(dy: ir.Value, input_sizes: Sequence[int], dim: int, start: int, end: int, step: int) -> ir.Value:
    """slice_backward with steps of 1 -> SliceGrad."""
    if step != 1:
        raise ValueError(f"the gradient of a slice with steps of {step} has no canonical op")
    starts = [0] * len(input_sizes)
    starts[dim] = min(max(start + input_sizes[dim] if start < 0 else start, 0), input_sizes[dim])
    return gradient.SliceGrad(dy, input_shape=list(input_sizes), starts=starts)


def select_backward(dy: ir.Value, input_sizes: Sequence[int], dim: int, index: int) -> ir.Value:
    """select_backward -> SliceGrad of ``dy`` with the selected axis kept."""
    shape = [1 if axis == dim % len(input_sizes) else size for axis, size in enumerate(input_sizes)]
    starts = [0] * len(input_sizes)
    starts[dim] = index % input_sizes[dim]
    rows = op.Reshape(dy, op.Constant(value_ints=shape))
    rows.shape, rows.type = ir.Shape(shape), dy.type  # the exporter knows these of recorded values only
    return gradient.SliceGrad(rows, input_shape=list(input_sizes), starts=starts)


def split(x: ir.Value, size: int, dim: int = 0) -> Sequence[ir.Value]:
    """Split into parts of one size, the last one smaller where there is a rest -> Split."""
    whole = static_shape(x)[dim]
    return split_with_sizes(x, [min(size, whole - start) for start in range(0, whole, size)], dim)


def split_with_sizes(x: ir.Value, sizes: Sequence[int], dim: int = 0) -> Sequence[ir.Value]:
    """Split into parts of given sizes -> Split."""
    axis_sizes = op.Constant(value_ints=list(sizes))
    # num_outputs says how many values the exporter makes; it is removed later, as ONNX takes it or the sizes
    if len(sizes) == 1:
        return [op.Split(x, axis_sizes, axis=dim, num_outputs=1)]
    return ops.Split(x, axis_sizes, axis=dim, num_outputs=len(sizes))


def lerp(start: ir.Value, end: ir.Value, weight: float) -> ir.Value:
    """Lerp by a number, as the moments of Adam are updated, in the form that PyTorch takes for it -> Sub, Mul, Add."""
    near = abs(weight) < 0.5
    part = op.Mul(op.Sub(end, start), array(np.array(weight if near else 1 - weight), start))
    return op.Add(start, part) if near else op.Sub(end, part)


def squeeze_dims(x: ir.Value, dims: Sequence[int]) -> ir.Value:
    """Squeeze of axes, those of size 1 among them -> Squeeze."""
    shape = static_shape(x)
    return op.Squeeze(x, op.Constant(value=ir.tensor(np.array([d for d in dims if shape[d] == 1], np.int64))))


def _filled(size: Sequence[int], value: float, dtype: int) -> ir.Value:
    # an attribute without any number would not say that it is a list of integers; a tensor does
    shape = op.Constant(value=ir.tensor(np.array(size, np.int64)))
    return op.ConstantOfShape(shape, value=rounded(np.array([value]), ir.DataType(dtype).numpy()))


def full(
    size: Sequence[int],
    value: float,
    dtype: int | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
) -> ir.Value:
    """Full -> ConstantOfShape."""
    usual = {bool: ir.DataType.BOOL, int: ir.DataType.INT64, float: ir.DataType.FLOAT}[type(value)]
    return _filled(size, value, usual if dtype is None else dtype)


def new_full(
    x: ir.Value,
    size: Sequence[int],
    value: float,
    dtype: int | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
) -> ir.Value:
    """new_full -> ConstantOfShape of the type of x."""
    return _filled(size, value, _dtype_of(x) if dtype is None else dtype)


def new_zeros(
    x: ir.Value,
    size: Sequence[int],
    dtype: int | None = None,
    layout: object = None,
    device: object = None,
    pin_memory: object = None,
) -> ir.Value:
    """new_zeros -> ConstantOfShape of the type of x."""
    return _filled(size, 0, _dtype_of(x) if dtype is None else dtype)


def scatter_value(x: ir.Value, dim: int, index: ir.Value, value: float) -> ir.Value:
    """Scatter of one number -> ScatterElements."""
    return op.ScatterElements(x, index, _filled(static_shape(index), value, _dtype_of(x)), axis=dim)


def _dtype_of(x: ir.Value) -> int:
    if x.dtype is None:
        raise ValueError(f"tensor '{x.name}' has no element type")
    return x.dtype


def _random_like(draw: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    """randn_like and rand_like -> a random draw of the static shape of x."""

    def random_like(
        x: ir.Value,
        dtype: int | None = None,
        layout: object = None,
        device: object = None,
        pin_memory: object = None,
        memory_format: object = None,
    ) -> ir.Value:
        return draw(shape=static_shape(x))

    return random_like


GENERAL: dict[torch._ops.OpOverload[..., Any], Callable[..., Any]] = {
    _aten.threshold_backward.default: threshold_backward,
    _aten._log_softmax_backward_data.default: log_softmax_backward,
    _aten._softmax_backward_data.default: softmax_backward,
    _aten.hardtanh_backward.default: hardtanh_backward,
    _aten.sigmoid_backward.default: sigmoid_backward,
    _aten.tanh_backward.default: tanh_backward,
    _aten.gelu_backward.default: gelu_backward,
    _aten.silu_backward.default: silu_backward,
    _aten.softplus.default: softplus,
    _aten.softplus_backward.default: softplus_backward,
    _aten.addmm.default: addmm,
    _aten.mm.default: mm,
    _aten.embedding_dense_backward.default: embedding_backward,
    _aten.slice_backward.default: slice_backward,
    _aten.select_backward.default: select_backward,
    _aten.split.Tensor: split,
    _aten.split_with_sizes.default: split_with_sizes,
    _aten.lerp.Scalar: lerp,
    _aten.squeeze.dims: squeeze_dims,
    _aten.scatter.value: scatter_value,
    _aten.full.default: full,
    _aten.new_full.default: new_full,
    _aten.new_zeros.default: new_zeros,
    _aten.randn_like.default: _random_like(op.RandomNormal),
    _aten.rand_like.default: _random_like(op.RandomUniform),
}
"""Any other aten operation to the function that writes it in ONNX."""
