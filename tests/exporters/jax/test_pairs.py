"""The graphs from JAX beside those from PyTorch and TensorFlow: the same values, and the same labels."""

from __future__ import annotations

import functools

import onnx
import pytest

from fathom_exporters.jax import JaxExporter
from fathom_exporters.jax.models import JAX
from fathom_onnx.exporting import ExportRequest
from fathom_onnx.graph import Address, Graph, from_model
from fathom_onnx.verification import verify_pair
from fathom_onnx.vocabulary import OPS, OpClass
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode
from support.graphs.exports import exported

OTHERS = ("torch", "tensorflow")
CELLS = [(name, mode) for name in JAX.built_in for mode in workload(name, "tiny").modes]

Label = tuple[str, str, str]
"""Phase, layer, op."""

OWN: dict[str, set[Label]] = {
    # softplus(x) - x * label, where the others have a function for both
    "autoenc": {("backward", "loss", "SoftplusGrad")},
    # y - Q and not Q - y is derived
    "deepq": {("backward", "loss", "Neg")},
    # the derivative of log(x) is a division
    "speech": {("backward", "loss", "Div")},
}
"""What the graphs from JAX have alone."""

LACKING: dict[str, set[Label]] = {
    "autoenc": {("loss", "loss", "Neg")},
    # the others derive a logarithm of a sum of exponentials as one function
    "speech": {("backward", "loss", "Exp"), ("backward", "loss", "Sub")},
}
"""What the graphs of both others have and those from JAX do not."""


@functools.cache
def made(name: str, mode: Mode) -> onnx.ModelProto:
    return JaxExporter().export(ExportRequest(workload(name, "tiny"), mode, "input"))


def graph_of(name: str, framework: str, mode: Mode) -> Graph:
    return from_model(made(name, mode) if framework == "jax" else exported(name, framework, mode, "input"), name)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(("name", "mode"), CELLS)
def test_the_graphs_of_two_frameworks_compute_the_same(name, mode, other) -> None:
    graphs = graph_of(name, other, mode), graph_of(name, "jax", mode)
    check = verify_pair(workload(name, "tiny"), (other, "jax"), mode, steps=1, graphs=graphs)
    assert check.faults == ()
    assert check.in_double < 5e-7


def labels(graph: Graph) -> set[Label]:
    """Phase, layer and op of every node that computes; movement of data is each framework's own."""
    addresses = [Address.parse(node.name) for node in graph.model.graph.node]
    return {(a.phase, a.scope, a.op) for a in addresses if OPS[a.op].op_class is not OpClass.G}


@pytest.mark.parametrize(("name", "mode"), CELLS)
def test_what_computes_the_same_has_the_same_label(name, mode) -> None:
    """What both others have is in the graph from JAX, and what is in it one of them has."""
    ours = labels(graph_of(name, "jax", mode))
    first, second = (labels(graph_of(name, other, mode)) for other in OTHERS)
    own, lacking = (table.get(name, set()) if mode == "training" else set() for table in (OWN, LACKING))
    assert ours - (first | second) == own
    assert (first & second) - ours == lacking
