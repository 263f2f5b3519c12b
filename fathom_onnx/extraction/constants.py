"""Values of the constants of a part that is cut out of a model.

Constants that decide what a node does keep their values: sizes, axes, indices. A weight keeps its value where it is at
hand and is drawn at random where it is not (an optimized model is kept without its weights): the time of a kernel
depends on its type and shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from fathom_onnx.graph.bodies import inputs_of, outputs_of
from fathom_onnx.graph.dataflow import RANDOM
from fathom_onnx.graph.loading.reading import hold_values
from fathom_onnx.runtime.prepare import Prepared
from fathom_onnx.runtime.session import open_session
from fathom_onnx.runtime.settings import SessionSettings

from .subjects import Subject

__all__ = ["constants_for"]

_PLAIN_INTEGERS = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.UINT32})
_SCALE = 0.05
"""Of random weights: sums of many products neither overflow nor become denormal."""


def constants_for(
    subject: Subject, names: Sequence[str], seed: int = 0
) -> tuple[dict[str, onnx.TensorProto], set[str]]:
    """The constants among some tensors, and the names of those whose values were drawn.

    Args:
        subject: What is cut out.
        names: Tensors that it takes.
        seed: Of the values that are drawn.
    """
    held = {t.name: t for scope in reversed(subject.scopes) for t in scope.initializer}
    found: dict[str, onnx.TensorProto] = {}
    drawn: set[str] = set()
    computed: list[str] = []
    for name in names:
        if name in held:
            tensor = _held(held[name], subject)
            if tensor is None:
                tensor = _drawn(held[name], np.random.default_rng([seed, len(drawn)]))
                drawn.add(name)
            found[name] = tensor
        elif name in subject.values:
            found[name] = numpy_helper.from_array(np.asarray(subject.values[name]), name)
        elif subject.kind != "executed" and _is_constant(subject, name):
            computed.append(name)
    found.update(_computed(subject, computed))
    return found, drawn


def _held(tensor: onnx.TensorProto, subject: Subject) -> onnx.TensorProto | None:
    """An initializer with its values, or None where they are not at hand."""
    if not uses_external_data(tensor):
        return tensor
    if tensor.name in subject.weights:
        return numpy_helper.from_array(subject.weights[tensor.name], tensor.name)
    place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    if subject.folder is None or not (subject.folder / place).is_file():
        return None
    whole = onnx.TensorProto()
    whole.CopyFrom(tensor)
    hold_values(whole, subject.folder)
    return whole


def _drawn(declared: onnx.TensorProto, rng: np.random.Generator) -> onnx.TensorProto:
    """An initializer of a type and shape with values that no kernel stumbles over."""
    dtype, shape = helper.tensor_dtype_to_np_dtype(declared.data_type), tuple(declared.dims)
    if declared.data_type in _PLAIN_INTEGERS or declared.data_type == onnx.TensorProto.BOOL:
        return numpy_helper.from_array(np.zeros(shape, dtype), declared.name)
    if np.dtype(dtype).kind in "iu":
        return numpy_helper.from_array(rng.integers(0, 256, shape).astype(np.uint8).view(dtype), declared.name)
    if declared.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
        packed = rng.integers(0, 256, math.ceil(math.prod(shape) / 2)).astype(np.uint8).tobytes()
        return helper.make_tensor(declared.name, declared.data_type, shape, packed, raw=True)
    return numpy_helper.from_array((rng.standard_normal(shape) * _SCALE).astype(dtype), declared.name)


def _makers(subject: Subject) -> dict[str, onnx.NodeProto]:
    return {n: node for scope in reversed(subject.scopes) for node in scope.node for n in outputs_of(node)}


def _is_constant(subject: Subject, name: str) -> bool:
    """Whether a tensor is computed from constants alone."""
    makers, held = _makers(subject), {t.name for scope in subject.scopes for t in scope.initializer}
    pending, seen = [name], set(held)
    while pending:
        wanted = pending.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        maker = makers.get(wanted)
        if maker is None or maker.op_type in RANDOM:
            return False
        pending += inputs_of(maker)
    return True


def _computed(subject: Subject, names: Sequence[str]) -> dict[str, onnx.TensorProto]:
    """Constants that the session of the run computed when it was built, computed here."""
    if not names:
        return {}
    makers, held = _makers(subject), {t.name: t for scope in reversed(subject.scopes) for t in scope.initializer}
    order: list[onnx.NodeProto] = []
    weights: dict[str, onnx.TensorProto] = {}

    def need(wanted: Iterable[str]) -> None:
        for name in wanted:
            if name in held:
                weights[name] = _held(held[name], subject) or held[name]
            elif not any(name in node.output for node in order):
                need(inputs_of(makers[name]))
                order.append(makers[name])

    need(names)
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    model = helper.make_model(helper.make_graph(order, "constants", [], outputs, list(weights.values())))
    del model.opset_import[:]
    model.opset_import.extend(subject.model.opset_import)
    model.ir_version = subject.model.ir_version
    session = open_session(Prepared(model, {}, (), {}), SessionSettings(optimization="none"))
    values = session.run(list(names), {})
    return {n: numpy_helper.from_array(np.asarray(v), n) for n, v in zip(names, values, strict=True)}
