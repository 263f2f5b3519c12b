"""Shapes of a translated graph's tensors, by onnx's inference."""

from __future__ import annotations

import functools
import logging

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass
from onnx_ir.passes.common._c_api_utils import call_onnx_api

__all__ = ["InferShapes"]


class InferShapes(ir.passes.InPlacePass):
    """Infer shapes, following the values of shapes where onnx can.

    To follow values onnx takes every small tensor of whole numbers for a shape. It then fails on the whole graph where
    indices are computed with, and finds nothing; what it finds without values is kept in that case.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        infer = _infer_flat if len(list(model.graphs())) == 1 else _infer
        return ir.passes.PassResult(model, any(infer(model, follow) for follow in (True, False)))


def _infer(model: ir.Model, follow: bool) -> bool:
    """Infer shapes in a graph and its bodies; whether any was new."""
    log = logging.getLogger("onnx_ir.passes.common.shape_inference")
    before, log.disabled = log.disabled, True  # it logs the failure, with a traceback
    try:
        return bool(ShapeInferencePass(data_prop=follow)(model).modified)
    finally:
        log.disabled = before


def _infer_flat(model: ir.Model, follow: bool) -> bool:
    """The same in a graph without bodies, of which only what was inferred is read back and not a whole model."""
    infer = functools.partial(onnx.shape_inference.infer_shapes, check_type=True, strict_mode=True, data_prop=follow)
    try:
        graph = call_onnx_api(infer, model).graph
    except Exception:  # onnx's own, of the C API underneath too
        return False
    found = {info.name: info.type for info in (*graph.value_info, *graph.output)}
    modified = False
    for node in model.graph:
        for value in node.outputs:
            if value.name not in found:
                continue
            shape = ir.serde.deserialize_type_proto_for_shape(found[value.name])
            if shape is not None and value.shape != shape:
                value.shape, modified = shape, True
            inferred = ir.serde.deserialize_type_proto_for_type(found[value.name])
            if inferred is not None and value.dtype != inferred.dtype:
                value.dtype, modified = inferred.dtype, True
    return modified
