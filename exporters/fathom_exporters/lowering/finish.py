"""The way from a translated graph to the file's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, TopologicalSortPass

from fathom_exporters.lowering.cleanup import CLEANUP
from fathom_exporters.lowering.cleanup.folding import FoldConstants, InheritTags
from fathom_exporters.lowering.cleanup.merging import MergeEqualNodes
from fathom_onnx.exporting import OPSET, ExportRequest, Purpose
from fathom_onnx.graph import GraphMetadata
from fathom_onnx.graph.model import PRODUCER
from fathom_onnx.versions import package_version

from .check import check, infer
from .fast.factors import MergeFactors, ScaleGradients
from .fast.optimizer import FoldMomentCorrections
from .fast.scatters import SplitWideScatters
from .fast.standard import WriteStandardOps
from .fast.sums import JoinSummedProducts
from .infer import InferShapes
from .label import WriteAddresses
from .lower import LowerGradients
from .native import WriteNativeOps
from .rounding import narrow_constants, rounded_numbers, single_numbers

__all__ = ["IR_VERSION", "OPSET", "finish"]

IR_VERSION = 10
"""IR version of every graph file of opset 18."""

_IR_VERSIONS = {OPSET: IR_VERSION, 23: 11}


def passes(purpose: Purpose, opset: int = OPSET) -> tuple[ir.passes.InPlacePass, ...]:
    """The passes over a translated graph, in order, but for the last one, which writes the names.

    Some forms for onnxruntime depend on the values of constants, which are computed before them.
    """
    lower: tuple[ir.passes.InPlacePass, ...] = (LowerGradients(purpose), InferShapes(), *CLEANUP)
    if opset != OPSET:
        lower = (*lower, TopologicalSortPass(), WriteNativeOps(opset), InferShapes(), *CLEANUP)
    if purpose != "onnxruntime":
        return (*lower, TopologicalSortPass())
    first = (FoldConstants(), InheritTags(), WriteStandardOps())
    last = (
        FoldMomentCorrections(),
        JoinSummedProducts(),
        ScaleGradients(),
        MergeFactors(),
        SplitWideScatters(),
        MergeEqualNodes(),
        RemoveUnusedNodesPass(),
    )
    return (*first, *lower, *last, TopologicalSortPass())


def _take_out(model: ir.Model, interface: int) -> list[ir.Value]:
    """Take the outputs after those of the interface out of a model; the tensors stay where something uses them."""
    values = list(model.graph.outputs)
    model.graph.outputs.clear()
    model.graph.outputs.extend(values[:interface])
    taken = []
    for value in values[interface:]:
        producer = value.producer()
        while not value.uses() and producer is not None and producer.op_type == "Identity":
            source = producer.inputs[0]
            assert source is not None
            value, producer = source, source.producer()
        taken.append(value)
    RemoveUnusedNodesPass()(model)
    return taken


def _describe(model: ir.Model, request: ExportRequest) -> None:
    """Replace what the translator wrote in the model's header by what every graph file has there."""
    model.metadata_props.clear()
    model.producer_name = PRODUCER
    model.producer_version = package_version("fathom-onnx")
    model.ir_version = _IR_VERSIONS[request.opset]
    model.opset_imports.clear()
    model.opset_imports[""] = request.opset
    model.graph.name = f"{request.workload.name}-{request.mode}"


def finish(
    model: ir.Model,
    request: ExportRequest,
    framework: str,
    version: str,
    gradients: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Lower, clean up, label, describe and check a translated graph.

    Args:
        model: The translated graph, see :mod:`fathom_exporters.lowering`; it is changed.
        request: What is exported, and for what purpose.
        framework: The framework's name.
        version: The framework's version.
        gradients: Parameter to the name of an output of ``model`` that is its gradient. Those after the outputs of the
            interface leave it; the metadata say which tensors they are.

    Raises:
        ExportError: The graph cannot be lowered or breaks the contract of a graph file.
    """
    interface = [output.name for output in request.workload.interface(request.mode, request.noise).outputs]
    names = [output.name for output in model.graph.outputs]
    narrow_constants(model.graph)
    single = single_numbers(model.graph)
    for step in passes(request.purpose, request.opset):
        step(model)
    tensors = dict(zip(names, [*model.graph.outputs][: len(interface)], strict=False))
    tensors |= dict(zip(names[len(interface) :], _take_out(model, len(interface)), strict=True))
    WriteAddresses()(model)
    _describe(model, request)
    proto = infer(ir.to_proto(model))
    metadata = GraphMetadata.of(request.workload, request.mode, framework, version, request.noise, request.purpose)
    named = {parameter: str(tensors[output].name) for parameter, output in (gradients or {}).items()}
    derivation = "" if request.marks else "framework"
    rounded = rounded_numbers(model.graph, single)
    replace(metadata, gradients=named, rounded=rounded, derivation=derivation).write(proto)
    check(proto, request)
    return proto
