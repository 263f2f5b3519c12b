"""The way from a translated graph to the file's model."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass, TopologicalSortPass

from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_onnx.exporting import ExportRequest, Purpose
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.versions import package_version

from .check import check, infer
from .label import WriteAddresses
from .lower import LowerGradients

__all__ = ["IR_VERSION", "OPSET", "finish"]

OPSET = 18
"""The newest opset that every consumer we know of reads, and the newest that tf2onnx writes."""
IR_VERSION = 10
"""IR version of every graph file."""


def _passes(purpose: Purpose) -> tuple[ir.passes.InPlacePass, ...]:
    """The passes over a translated graph, in order."""
    return (
        LowerGradients(purpose),
        ShapeInferencePass(data_prop=True),
        *CLEANUP,
        TopologicalSortPass(),
        WriteAddresses(),
    )


def _describe(model: ir.Model, request: ExportRequest) -> None:
    """Replace what the translator wrote in the model's header by what every graph file has there."""
    model.metadata_props.clear()
    model.producer_name = "fathom-onnx"
    model.producer_version = package_version("fathom-onnx")
    model.ir_version = IR_VERSION
    model.opset_imports.clear()
    model.opset_imports[""] = OPSET
    model.graph.name = f"{request.workload.name}-{request.mode}"


def finish(model: ir.Model, request: ExportRequest, framework: str, version: str) -> onnx.ModelProto:
    """Lower, clean up, label, describe and check a translated graph.

    Args:
        model: The translated graph, see :mod:`fathom_exporters.lowering`; it is changed.
        request: What is exported, and for what purpose.
        framework: The framework's name.
        version: The framework's version.

    Raises:
        ExportError: The graph cannot be lowered or breaks the contract of a graph file.
    """
    for step in _passes(request.purpose):
        step(model)
    _describe(model, request)
    proto = infer(ir.to_proto(model))
    GraphMetadata.of(request.workload, request.mode, framework, version, request.noise, request.purpose).write(proto)
    check(proto, request)
    return proto
