"""Functions as onnxruntime's kernels approximate them: what their errors make of a step's tensors.

A graph says ``Sigmoid``; how many digits it has is the kernel's matter. onnxruntime's is right to 7e-8, also where the
result is 1e-5 and PyTorch's has all digits of it; its ``Tanh`` is off by more than a rounding near 1, where a policy's
``log(1 - tanh(x)^2 + 1e-6)`` makes 1e6 times as much of it; the likelihood of a class that is nearly certain is what is
left of 1 after such errors. No other graph of the same ops could do better, and so it is measured: each function is
given what the graph has for it in float64, rounded to float32, and what its result is off by more than one rounding is
added to it in the reading in float64. Nothing else is rounded, so that a form that loses digits has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper

from fathom_onnx.graph import Address
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads.contract import Array

from .compare import largest
from .double import DoubleGraph
from .reading import Reading

__all__ = ["FUNCTIONS", "errors_of_functions", "inputs_of_functions"]

FUNCTIONS = frozenset(
    {
        *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Celu", "Cos", "Cosh"),
        *("Elu", "Erf", "Exp", "Gelu", "Log", "LogSoftmax", "Mish"),
        *("Pow", "ReduceLogSumExp", "Selu", "Sigmoid", "Sin"),
        *("Sinh", "Softmax", "Softplus", "Tan", "Tanh"),
    }
)
"""Op types whose kernels approximate: what is computed by arithmetic alone is as exact as its roundings."""


def errors_of_functions(reading: Reading, tensors: Iterable[str], settings: SessionSettings) -> dict[str, float]:
    """How far off tensors of a step are by the approximations of onnxruntime's kernels alone.

    Args:
        reading: The step, with the tensors and :func:`inputs_of_functions`.
        tensors: Names of tensors.
        settings: How the graph runs.

    Returns:
        The largest error of an element by tensor; nothing where no function has an error beyond its rounding.

    Raises:
        RunError: The graph cannot be evaluated, in float64 or in onnxruntime.
    """
    wanted = list(tensors)
    nodes = _functions(reading.model) if wanted else []
    shifts = _shifts(reading.model, nodes, reading.exact, settings) if nodes else {}
    if not shifts:
        return {}
    shifted = reading.graph.part(wanted).run(reading.values, shifts)
    with np.errstate(all="ignore"):
        return {name: largest(shifted[name] - reading.exact[name]) for name in wanted}


def inputs_of_functions(model: onnx.ModelProto) -> list[str]:
    """The tensors that the functions of a model are given."""
    return list(dict.fromkeys(name for node in _functions(model) for name in node.input if name))


def _functions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type in FUNCTIONS and not _is_of_optimizer(node)]


def _is_of_optimizer(node: onnx.NodeProto) -> bool:
    address = Address.parse(node.name)
    return address is not None and address.phase == "optimizer"


def _shifts(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], exact: Mapping[str, Array], settings: SessionSettings
) -> dict[str, Array]:
    """What each function's result is off by beyond its rounding, by the name of the result."""
    given = {_input(name): _single(exact[name]) for node in nodes for name in node.input if name}
    alone = _alone(model, nodes, given)
    results = [output.name for output in alone.graph.output]
    made = open_session(Prepared(alone, {}, (), {}), settings).run(results, given)
    right = DoubleGraph(alone, results).run(given)
    shifts = {}
    for name, single in zip(results, made, strict=True):
        shift = _beyond_rounding(np.asarray(single), right[name])
        if shift.any():
            shifts[name] = shift
    return shifts


def _single(array: Array) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array.dtype == np.float64 else array


def _alone(model: onnx.ModelProto, nodes: list[onnx.NodeProto], given: Mapping[str, Array]) -> onnx.ModelProto:
    """A model of the functions alone, whose inputs are theirs: none reads another's result."""
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(node.output[0]) for node in nodes]
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [_input(name) if name else "" for name in node.input]
        copies.append(copy)
    graph = helper.make_graph(copies, "functions", inputs, outputs)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _input(name: str) -> str:
    return f"{name}/given"


def _beyond_rounding(single: Array, right: Array) -> Array:
    """What a result is off by beyond half of the distance between neighbours."""
    with np.errstate(all="ignore"):
        error = single.astype(np.float64) - right
        half = np.spacing(np.abs(right).astype(np.float32)).astype(np.float64) / 2
        shift = np.sign(error) * np.maximum(np.abs(error) - half, 0)
    return np.where(np.isfinite(shift), shift, 0.0)
