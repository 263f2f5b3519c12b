"""The way from a translated graph to the file's model."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass, TopologicalSortPass

from fathom_exporters.lowering.cleanup import clean_up
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.versions import package_version

from .check import check, infer
from .label import WriteAddresses
from .lower import lower

__all__ = ["IR_VERSION", "OPSET", "finish"]

OPSET = 18
"""The newest opset that every consumer we know of reads, and the newest that tf2onnx writes."""
IR_VERSION = 10


def finish(model: ir.Model, request: ExportRequest, framework: str, version: str) -> onnx.ModelProto:
    """Lower, simplify, label, check and describe a translated graph.

    Args:
        model: The translated graph, see :mod:`fathom_exporters.lowering`; it is changed.
        request: What was asked for.
        framework: The framework's name.
        version: The framework's version.

    Raises:
        ExportError: The graph cannot be lowered or breaks the contract of a graph file.
    """
    lower(model, request.purpose)
    ShapeInferencePass(data_prop=True)(model)
    clean_up(model)
    TopologicalSortPass()(model)
    WriteAddresses()(model)
    model.metadata_props.clear()
    model.producer_name = "fathom-onnx"
    model.producer_version = package_version("fathom-onnx")
    model.ir_version = IR_VERSION
    model.opset_imports.clear()
    model.opset_imports[""] = OPSET
    model.graph.name = f"{request.workload.name}-{request.mode}"
    proto = infer(ir.to_proto(model))
    GraphMetadata.of(request.workload, request.mode, framework, version, request.noise, request.purpose).write(proto)
    check(proto, request)
    return proto
