"""From a recorded step to ONNX with canonical gradient ops: PyTorch's exporter with a table of our own on top."""

from __future__ import annotations

import ast
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from onnxscript.values import Opset
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.utils import _pytree as pytree

from fathom_exporters.lowering import DOMAIN, VERSION, Tag, register_schemas
from fathom_onnx.errors import ExportError

from .capture import Capture

__all__ = ["TRANSLATIONS", "translate"]

_aten = torch.ops.aten
_private = Opset(DOMAIN, VERSION)
_SCOPES = "pkg.torch.onnx.name_scopes"
_MARK = "fathom_origin:"


def _shape(value: Any) -> list[int]:
    return [int(d) for d in value.shape]


def _window(kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> dict[str, list[int]]:
    return {
        "kernel_shape": list(kernel),
        "strides": list(stride) or list(kernel),
        "pads": [*padding, *padding],
        "dilations": list(dilation),
    }


def _none() -> Any:
    """Stands for an output that the operation was not asked for; nothing uses it."""
    return op.Constant(value_float=0.0)


def _convolution(x, w, bias, stride, padding, dilation, transposed, output_padding, groups):  # type: ignore[no-untyped-def]
    window = {**_window(_shape(w)[2:], stride, padding, dilation), "group": groups}
    if transposed:
        return op.ConvTranspose(x, w, bias, output_padding=list(output_padding), **window)
    return op.Conv(x, w, bias, **window)


def _convolution_backward(  # type: ignore[no-untyped-def]
    dy, x, w, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask
):
    if transposed:
        raise ValueError("the gradient of a transposed convolution has no canonical op")
    window = {**_window(_shape(w)[2:], stride, padding, dilation), "group": groups}
    dx = _private.Conv2DBackInput(dy, w, **window, input_shape=_shape(x)) if output_mask[0] else _none()
    dw = _private.Conv2DBackFilter(dy, x, **window) if output_mask[1] else _none()
    axes = op.Constant(value_ints=[0, *range(2, len(_shape(dy)))])
    db = op.ReduceSum(dy, axes, keepdims=0) if output_mask[2] else _none()
    return dx, dw, db


def _max_pool(x, kernel, stride=(), padding=(0, 0), dilation=(1, 1), ceil_mode=False):  # type: ignore[no-untyped-def]
    y, indices = op.MaxPool(x, **_window(kernel, stride, padding, dilation), ceil_mode=int(ceil_mode))
    return y, indices


def _max_pool_backward(dy, x, kernel, stride, padding, dilation, ceil_mode, indices):  # type: ignore[no-untyped-def]
    if ceil_mode:
        raise ValueError("the gradient of a max pool with ceil_mode has no canonical op")
    return _private.MaxPoolGrad(dy, x, **_window(kernel, stride, padding, dilation))


def _avg_pool3d_backward(  # type: ignore[no-untyped-def]
    dy, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
):
    if list(stride) != [1, 1, 1] or any(padding) or ceil_mode or divisor_override is not None:
        raise ValueError("the gradient of a 3-d average pool has a translation at stride 1 without padding only")
    # each input element is in as many windows as a window has elements, those with zeros beyond the border included
    beyond = [side - 1 for side in kernel]
    return op.AveragePool(dy, kernel_shape=list(kernel), strides=[1, 1, 1], pads=beyond * 2, count_include_pad=1)


def _batch_norm(x, scale, bias, mean, var, training, momentum, epsilon):  # type: ignore[no-untyped-def]
    y, batch_mean, batch_var, inv_std = _private.BatchNormTraining(x, scale, bias, epsilon=epsilon)
    shape = _shape(x)
    count = shape[0]
    for side in shape[2:]:
        count *= side
    old = op.Constant(value_float=1 - momentum)
    # the running variance is the unbiased one
    unbiased = op.Constant(value_float=momentum * count / (count - 1))
    new_mean = op.Add(op.Mul(mean, old), op.Mul(batch_mean, op.Constant(value_float=momentum)))
    new_var = op.Add(op.Mul(var, old), op.Mul(batch_var, unbiased))
    return y, batch_mean, inv_std, new_mean, new_var


def _batch_norm_backward(dy, x, scale, _mean, _var, mean, inv_std, train, epsilon, output_mask):  # type: ignore[no-untyped-def]
    return _private.BatchNormGrad(dy, x, scale, mean, inv_std)


def _threshold_backward(dy, y, threshold):  # type: ignore[no-untyped-def]
    if threshold != 0:
        raise ValueError(f"the gradient of a threshold at {threshold} has no canonical op")
    return _private.ReluGrad(dy, y)


def _log_softmax_backward(dy, y, dim, input_dtype):  # type: ignore[no-untyped-def]
    return _private.LogSoftmaxGrad(dy, y, axis=dim)


def _softmax_backward(dy, y, dim, input_dtype):  # type: ignore[no-untyped-def]
    return _private.SoftmaxGrad(dy, y, axis=dim)


def _hardtanh_backward(dy, x, low, high):  # type: ignore[no-untyped-def]
    return _private.ClipGrad(dy, x, min=float(low), max=float(high))


def _sigmoid_backward(dy, y):  # type: ignore[no-untyped-def]
    return _private.SigmoidGrad(dy, y)


def _tanh_backward(dy, y):  # type: ignore[no-untyped-def]
    return _private.TanhGrad(dy, y)


def _plain_softplus(beta: float, threshold: float) -> None:
    if beta != 1 or threshold != 20:
        raise ValueError("only the softplus with beta 1 and threshold 20 has a canonical op")


def _softplus(x, beta=1.0, threshold=20.0):  # type: ignore[no-untyped-def]
    # past the threshold PyTorch returns x itself, which differs from softplus by less than 3e-9
    _plain_softplus(beta, threshold)
    return op.Softplus(x)


def _softplus_backward(dy, x, beta, threshold):  # type: ignore[no-untyped-def]
    _plain_softplus(beta, threshold)
    return _private.SoftplusGrad(dy, x)


def _addmm(bias, a, b, beta=1.0, alpha=1.0):  # type: ignore[no-untyped-def]
    return op.Gemm(a, b, bias, alpha=float(alpha), beta=float(beta))


def _mm(a, b):  # type: ignore[no-untyped-def]
    return op.Gemm(a, b)


def _embedding_backward(dy, indices, rows, padding_idx, scale_by_frequency):  # type: ignore[no-untyped-def]
    if padding_idx >= 0 or scale_by_frequency:
        raise ValueError("an embedding with a padding index or scaled by frequency has no canonical op")
    return _private.GatherGrad(dy, indices, rows=rows)


def _slice_backward(dy, input_sizes, dim, start, end, step):  # type: ignore[no-untyped-def]
    if step != 1:
        raise ValueError(f"the gradient of a slice with steps of {step} has no canonical op")
    starts = [0] * len(input_sizes)
    starts[dim] = min(max(start + input_sizes[dim] if start < 0 else start, 0), input_sizes[dim])
    return _private.SliceGrad(dy, input_shape=list(input_sizes), starts=starts)


def _select_backward(dy, input_sizes, dim, index):  # type: ignore[no-untyped-def]
    shape = [1 if axis == dim % len(input_sizes) else size for axis, size in enumerate(input_sizes)]
    starts = [0] * len(input_sizes)
    starts[dim] = index % input_sizes[dim]
    rows = op.Reshape(dy, op.Constant(value_ints=shape))
    rows.shape, rows.type = ir.Shape(shape), dy.type  # not a recorded value, so that the exporter does not know them
    return _private.SliceGrad(rows, input_shape=list(input_sizes), starts=starts)


def _split(x, size, dim=0):  # type: ignore[no-untyped-def]
    whole = _shape(x)[dim]
    sizes = [min(size, whole - start) for start in range(0, whole, size)]
    return _split_with_sizes(x, sizes, dim)


def _split_with_sizes(x, sizes, dim=0):  # type: ignore[no-untyped-def]
    # num_outputs tells the exporter how many values to make; it goes afterwards, as ONNX has the one or the other
    parts = op.Split(x, op.Constant(value_ints=list(sizes)), axis=dim, num_outputs=len(sizes))
    return parts if len(sizes) > 1 else [parts]


def _filled(size: Any, value: float, dtype: int) -> Any:
    kind = ir.DataType(dtype).numpy()
    # a list of no numbers would not say of what type it is
    shape = op.Constant(value=ir.tensor(np.array(size, np.int64)))
    return op.ConstantOfShape(shape, value=ir.tensor(np.array([value], kind)))


def _full(size, value, dtype=None, layout=None, device=None, pin_memory=None):  # type: ignore[no-untyped-def]
    usual = {bool: ir.DataType.BOOL, int: ir.DataType.INT64, float: ir.DataType.FLOAT}[type(value)]
    return _filled(size, value, usual if dtype is None else dtype)


def _new_full(x, size, value, dtype=None, layout=None, device=None, pin_memory=None):  # type: ignore[no-untyped-def]
    return _filled(size, value, x.dtype if dtype is None else dtype)


def _new_zeros(x, size, dtype=None, layout=None, device=None, pin_memory=None):  # type: ignore[no-untyped-def]
    return _filled(size, 0, x.dtype if dtype is None else dtype)


def _randn_like(x, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):  # type: ignore[no-untyped-def]
    return op.RandomNormal(shape=_shape(x))


def _rand_like(x, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):  # type: ignore[no-untyped-def]
    return op.RandomUniform(shape=_shape(x))


TRANSLATIONS: dict[Any, Any] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
    _aten.avg_pool3d_backward.default: _avg_pool3d_backward,
    _aten._native_batch_norm_legit_functional.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.threshold_backward.default: _threshold_backward,
    _aten._log_softmax_backward_data.default: _log_softmax_backward,
    _aten._softmax_backward_data.default: _softmax_backward,
    _aten.hardtanh_backward.default: _hardtanh_backward,
    _aten.sigmoid_backward.default: _sigmoid_backward,
    _aten.tanh_backward.default: _tanh_backward,
    _aten.softplus.default: _softplus,
    _aten.softplus_backward.default: _softplus_backward,
    _aten.addmm.default: _addmm,
    _aten.mm.default: _mm,
    _aten.embedding_dense_backward.default: _embedding_backward,
    _aten.slice_backward.default: _slice_backward,
    _aten.select_backward.default: _select_backward,
    _aten.split.Tensor: _split,
    _aten.split_with_sizes.default: _split_with_sizes,
    _aten.full.default: _full,
    _aten.new_full.default: _new_full,
    _aten.new_zeros.default: _new_zeros,
    _aten.randn_like.default: _randn_like,
    _aten.rand_like.default: _rand_like,
}
"""aten operation to the function that writes it, in place of the exporter's own where there is one."""

_NODE_OPS = {"Conv2DBackFilter": "Conv2DBackFilter", "ReduceSum": "Sum"}
"""Of the nodes of a convolution's backward, those that are another canonical op than the input gradient."""


def _program(capture: Capture) -> ExportedProgram:
    """The recorded graph as the exporter takes it, each operation marked with its name."""
    graph = capture.module.graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    output = next(node for node in graph.nodes if node.op == "output")
    for node in graph.nodes:
        if node.op == "call_function":
            node.meta["nn_module_stack"] = {"origin": (_MARK + node.name, "origin")}
    signature = ExportGraphSignature(
        [InputSpec(InputKind.USER_INPUT, TensorArgument(name=node.name), target=None) for node in placeholders],
        [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(name=value.name), target=None) for value in output.args[0]],
    )
    call = ModuleCallSignature(
        inputs=[],
        outputs=[],
        in_spec=pytree.tree_flatten((capture.inputs, {}))[1],
        out_spec=pytree.tree_flatten(tuple(range(len(output.args[0]))))[1],
        forward_arg_names=[node.name for node in placeholders],
    )
    return ExportedProgram(
        root=capture.module,
        graph=graph,
        graph_signature=signature,
        state_dict={},
        range_constraints={},
        module_call_graph=[ModuleCallEntry("", call)],
        example_inputs=(capture.inputs, {}),
        constants={},
    )


def _origin(node: ir.Node) -> str | None:
    for scope in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")):
        if scope.startswith(_MARK):
            return str(scope.removeprefix(_MARK))
    return None


def _tag(model: ir.Model, capture: Capture) -> None:
    for node in model.graph:
        if node.op_type == "Split" and len(node.inputs) > 1:
            node.attributes.pop("num_outputs", None)
        origin = _origin(node)
        if origin is None or origin not in capture.tags:
            raise ExportError(f"node '{node.name}' ({node.op_type}) does not say which PyTorch operation it is of")
        tag = capture.tags[origin]
        node.metadata_props.clear()
        if tag.op == "Conv2DBackInput" and node.op_type in _NODE_OPS:
            tag = Tag(tag.phase, tag.scope, _NODE_OPS[node.op_type], f"{tag.origin}.{node.op_type}")
        tag.put(node)


def translate(capture: Capture) -> ir.Model:
    """The recorded step as an ``onnx_ir`` model for :func:`fathom_exporters.lowering.finish`.

    Raises:
        ExportError: An operation has no translation.
    """
    register_schemas()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not there
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of PyTorch about its own code
            program = torch.onnx.export(
                _program(capture),
                dynamo=True,
                custom_translation_table=TRANSLATIONS,
                opset_version=18,
                optimize=False,
                verbose=False,
                input_names=list(capture.input_names),
                output_names=list(capture.output_names),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ExportError(f"PyTorch's exporter cannot translate the step: {cause}") from error
    assert program is not None
    model = ir.from_proto(program.model_proto) if isinstance(program.model, onnx.ModelProto) else program.model
    _tag(model, capture)
    return model
