"""The conversion itself: a recorded step written node by node, every ONNX node tagged with its origin.

An operation is written by our own translation where there is one, and else by the function of PyTorch's exporter. The
exporter's own decompositions do not run: whatever needs one was taken apart while the step was recorded
(:mod:`fathom_exporters.torch.decompositions`), once and not twice.
"""

from __future__ import annotations

import contextlib
import unittest.mock
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass
from torch.onnx._internal.exporter import _building, _core, _ir_passes

from fathom_exporters.lowering import OPSET, REPEATED, Tag, register_schemas
from fathom_exporters.lowering.rounding import note, widen_constants
from fathom_exporters.torch.recorded import Capture
from fathom_onnx.errors import ExportError, one_line

from .registry import registry

__all__ = ["translate"]


_OTHER_GRADIENTS = {"Conv2DBackFilter": "Conv2DBackFilter", "ReduceSum": "Sum"}
"""Node type to canonical op, for the nodes of a convolution's backward that are not its input gradient."""


def _tag(model: ir.Model, capture: Capture) -> None:
    """Replace the exporter's metadata of every node by the tag of the operation it came from."""
    for node in model.graph:
        if node.op_type == "Split" and len(node.inputs) > 1:
            node.attributes.pop("num_outputs", None)  # only the exporter needed it; ONNX takes it or the sizes
        origin = node.meta.get("node")
        if origin is None or origin.name not in capture.tags:
            raise ExportError(f"node '{node.name}' ({node.op_type}) does not say which PyTorch operation it is of")
        tag = capture.tags[origin.name]
        node.meta.clear()
        node.metadata_props.clear()
        if tag.op == "Conv2DBackInput" and node.op_type in _OTHER_GRADIENTS:
            tag = Tag(tag.phase, tag.scope, _OTHER_GRADIENTS[node.op_type], f"{tag.origin}.{node.op_type}")
        tag.put(node)
        if origin.name in capture.recomputed:
            node.metadata_props[REPEATED] = "true"


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextlib.contextmanager
def _signatures_are_kept() -> Iterator[None]:
    """While entered, the signature of an op is read off its schema once, not for every node that is written."""
    read = ir.schemas.OpSignature.from_op_schema
    known: dict[tuple[str, str, int], ir.schemas.OpSignature] = {}

    def kept(schema: onnx.defs.OpSchema) -> ir.schemas.OpSignature:
        key = (schema.domain, schema.name, schema.since_version)
        if key not in known:
            known[key] = read(schema)
        return known[key]

    with unittest.mock.patch.object(ir.schemas.OpSignature, "from_op_schema", kept):
        yield


@contextlib.contextmanager
def _numbers_are_kept() -> Iterator[None]:
    """While entered, constants that PyTorch's exporter makes of Python's numbers remember them."""
    make = _building._get_or_create_constant

    def kept(farm: Any, number: Any, dtype: ir.DataType, opset: Any) -> ir.Value:
        value = make(farm, number, dtype, opset)
        producer = value.producer()
        if dtype == ir.DataType.FLOAT and producer is not None and not isinstance(number, complex):
            note(producer.attributes["value"].as_tensor(), np.asarray(number))
        return value

    with unittest.mock.patch.object(_building, "_get_or_create_constant", kept):
        yield


def translate(capture: Capture) -> ir.Model:
    """The recorded step as an ``onnx_ir`` model for :func:`fathom_exporters.lowering.finish`.

    Raises:
        ExportError: An operation has no translation.
    """
    register_schemas()
    model = ir.Model(ir.Graph([], [], nodes=[], name="step", opset_imports={"": OPSET}), ir_version=10)
    fx_graph = capture.module.graph
    try:
        with warnings.catch_warnings(), _signatures_are_kept(), _numbers_are_kept():
            warnings.simplefilter("ignore", FutureWarning)  # of PyTorch about its own code
            values = _core._translate_fx_graph(
                fx_graph, model, graph_like=model.graph, owned_graphs={}, lower="at_conversion", registry=registry()
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"PyTorch's exporter cannot translate the step: {one_line(_cause(error))}") from error
    placeholders = [node for node in fx_graph.nodes if node.op == "placeholder"]
    (output,) = (node for node in fx_graph.nodes if node.op == "output")
    model.graph.inputs.clear()
    model.graph.outputs.clear()
    for node, name in zip(placeholders, capture.input_names, strict=True):
        value = values[node.name]
        assert isinstance(value, ir.Value)
        value.name = name
        model.graph.inputs.append(value)
    for node, name in zip(output.args[0], capture.output_names, strict=True):
        value = values[node.name]
        assert isinstance(value, ir.Value)
        value.name = name
        model.graph.outputs.append(value)
    _tag(model, capture)
    _ir_passes.add_opset_imports(model)
    InlinePass()(model)  # some of the exporter's functions are functions of the model
    widen_constants(model.graph)
    return model
