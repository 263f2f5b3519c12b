"""Shapes of a translated graph's tensors, by onnx's inference."""

from __future__ import annotations

import logging

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

__all__ = ["InferShapes"]


class InferShapes(ir.passes.InPlacePass):
    """Infer shapes, following the values of shapes where onnx can.

    To follow values onnx takes every small tensor of whole numbers for a shape. It then fails on the whole graph where
    indices are computed with, and finds nothing; what it finds without values is kept in that case.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        log = logging.getLogger("onnx_ir.passes.common.shape_inference")
        before, log.disabled = log.disabled, True  # it logs the failure, with a traceback
        try:
            modified = any(ShapeInferencePass(data_prop=follow)(model).modified for follow in (True, False))
        finally:
            log.disabled = before
        return ir.passes.PassResult(model, modified)
