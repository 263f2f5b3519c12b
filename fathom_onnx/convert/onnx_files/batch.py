"""Conversion of a graph to another batch size.

A graph of this package is exported again with another ``batch``: the batch size occurs in more places than the first
dimensions (divisors of means, index tables, the form that a gradient was lowered to), and the framework changes all of
them. The framework that exported the graph has to be installed.

Any other graph is rewritten (see :mod:`.rebatch`). Rewriting cannot recognise every use of the batch size, for example
a mean written as a product with 1 / batch, or a table with a row per sample. Therefore both graphs are run on the same
samples; the conversion fails where shapes contradict each other, onnxruntime does not run the result, or the outputs of
a sample differ.
"""

from __future__ import annotations

from typing import Any

import onnx

from fathom_onnx.convert.account import account
from fathom_onnx.convert.converter import Conversion, ConversionRequest
from fathom_onnx.errors import GraphError, UsageError
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import Graph, GraphMetadata, from_model
from fathom_onnx.graph.dataflow import RANDOM
from fathom_onnx.graph.static.values import opset_of
from fathom_onnx.recipes import PRESET
from fathom_onnx.workloads import definition

from .onnx_file import copy_of, finish
from .rebatch import batch_of, rewrite, sample_axis
from .samples import compare_samples

__all__ = ["convert"]


def _exported(graph: Graph, metadata: GraphMetadata, batch: int) -> onnx.ModelProto:
    if metadata.preset == PRESET:
        what = f"of '{metadata.target}'" if metadata.target else "of its recipe"
        raise GraphError(f"graph '{graph.name}' is made for the batch {what}", "export it again with another batch")
    if "batch" not in metadata.config:
        raise GraphError(f"workload '{metadata.workload}' has no field 'batch'", "export it at another size")
    if any(name in graph.initializers for name in metadata.parameters):
        raise GraphError(
            f"graph '{graph.name}' has its parameters as initializers, which an export does not",
            "convert the graph it was made from, then give the result its initializers",
        )
    config: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in metadata.config.items()}
    workload = definition(metadata.workload).configure(metadata.preset, {**config, "batch": batch})
    exporter = find_exporter(metadata.framework)
    opset = opset_of(graph.model)
    return exporter.export(ExportRequest(workload, metadata.mode, metadata.noise, metadata.purpose, opset))


def _rewritten(graph: Graph, new: int, check: str) -> tuple[Graph, list[str]]:
    """A graph of another origin at another batch size, and notes about it."""
    old = batch_of(graph)
    if old == new:
        return graph, [f"The batch was {new} already."]
    after = rewrite(graph, old, new)
    axes: dict[str, int] = {}
    whole: list[str] = []
    for old_output, output in zip(graph.outputs, after.outputs, strict=True):
        axis = sample_axis(old_output, output, old, new)
        if axis is not None and output.shape is not None and output.shape[axis] == new:
            axes[output.name] = axis
        else:
            whole.append(output.name)
    notes = [f"Batch {old} became {new} by rewriting."]
    random = [node.name or node.op_type for node in graph.model.graph.node if node.op_type in RANDOM]
    if check == "shapes":
        notes.append("Shapes were checked; the graph was not run.")
    elif random:
        notes.append(f"It draws random numbers ({random[0]}), so that its outputs were not compared.")
    else:
        # without a row a sample there is nothing to compare, but what onnxruntime does not run is refused
        compare_samples(graph, after, axes, old, new)
        if axes:
            notes.append(f"Compared with the original in onnxruntime, sample by sample: {', '.join(axes)}.")
        if whole:
            notes.append(f"Not compared, since they have no row a sample: {', '.join(whole)}.")
    return after, notes


def convert(graph: Graph, request: ConversionRequest) -> Conversion:
    """A graph at the batch size of the option ``batch``.

    Raises:
        UsageError: The batch size is not above zero, or the workload cannot have it.
        GraphError: The graph cannot be rewritten to it.
        MissingDependencyError: The framework that exported the graph, or onnxruntime to compare, is not installed.
    """
    batch = request.options["batch"]
    if not isinstance(batch, int) or batch < 1:
        raise UsageError(f"batch size cannot be {batch}", "give a whole number above zero")
    if graph.metadata is None:
        result, notes = _rewritten(graph, batch, str(request.options["check"]))
    else:
        metadata = graph.metadata
        result = from_model(_exported(graph, metadata, batch), graph.name)
        notes = [f"Exported anew from {metadata.framework}: batch {metadata.config['batch']} became {batch}."]
        version = result.metadata.framework_version if result.metadata else ""
        if version != metadata.framework_version:
            notes.append(
                f"The graph was of {metadata.framework} {metadata.framework_version}, this one is of {version}."
            )
    sums = account(result, {})
    conversion = Conversion({}, sums.kept, sums.total, sums.left_out, tuple(notes))
    return finish(copy_of(result.model), graph, "batch", request, conversion)
