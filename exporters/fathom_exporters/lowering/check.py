"""The contract of a graph file, checked before the file is written."""

from __future__ import annotations

import onnx

from fathom_onnx.errors import ExportError, one_line
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.graph import Address, Graph
from fathom_onnx.graph.address import scope_of
from fathom_onnx.workloads.contract import TensorSpec, Workload

__all__ = ["check", "infer"]


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with value_info for every tensor, from strict shape inference.

    Raises:
        ExportError: Inference finds a contradiction.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=False)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ({one_line(error)})") from error


def _interface(kind: str, actual: list[TensorSpec], expected: tuple[TensorSpec, ...]) -> list[str]:
    """The first difference between a graph's inputs or outputs and the workload's, if any."""
    actual_rows = [(t.name, t.shape, t.dtype) for t in actual]
    expected_rows = [(t.name, t.shape, t.dtype) for t in expected]
    if actual_rows == expected_rows:
        return []
    if len(actual_rows) != len(expected_rows):
        return [f"{len(actual_rows)} {kind}s, not {len(expected_rows)}"]
    first = next((a, b) for a, b in zip(actual_rows, expected_rows, strict=True) if a != b)
    return [f"{kind} {first[0]} is not {first[1]}"]


def _scopes(workload: Workload) -> dict[str, set[str]]:
    """The scopes that nodes of each phase may have."""
    layers = {layer.name for layer in workload.layers}
    return {
        "forward": layers,
        "loss": {Workload.LOSS},
        "backward": layers | {Workload.LOSS},
        "optimizer": {"step"} | {scope_of(p.name) for p in workload.parameters},
    }


def _faults(graph: Graph, request: ExportRequest) -> list[str]:
    model = graph.model
    interface = request.workload.interface(request.mode, request.noise)
    faults: list[str] = []
    for kind, tensors, expected in (
        ("input", graph.inputs, interface.inputs),
        ("output", graph.outputs, interface.outputs),
    ):
        faults += _interface(kind, [TensorSpec(t.name, t.shape or (), t.dtype) for t in tensors], expected)
    if domains := sorted({o.domain for o in model.opset_import if o.domain not in ("", "ai.onnx")}):
        faults.append(f"domains {domains}")
    if model.functions:
        faults.append(f"{len(model.functions)} functions")
    scopes = _scopes(request.workload)
    names: set[str] = set()
    for node in model.graph.node:
        if node.name in names:
            faults.append(f"two nodes named '{node.name}'")
        names.add(node.name)
        address = Address.parse(node.name)
        if address is None:
            faults.append(f"node name '{node.name}' is not an address")
        elif address.scope not in scopes[address.phase]:
            faults.append(f"'{node.name}' names no layer of the workload")
        for output in node.output:
            tensor = graph.tensors.get(output)
            if output and (tensor is None or tensor.shape is None):
                faults.append(f"tensor '{output}' has no static shape")
    return faults


def check(model: onnx.ModelProto, request: ExportRequest) -> None:
    """Check a finished graph against the contract of a graph file.

    Raises:
        ExportError: It breaks the contract; the message names the first faults.
    """
    faults = _faults(Graph(model, request.workload.name), request)
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise ExportError(f"the exported graph breaks its contract: {'; '.join(faults[:3])}{more}")
