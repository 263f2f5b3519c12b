"""Requirements of consumers beyond the supported ops: functions from the facts of a graph to its violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import onnx

from fathom_onnx.analysis.cost.node_costs import NodeCost, graph_costs
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import bodies
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.runtime.providers.placement import is_shape_arithmetic

from .cuda_kernels import has_kernel, kernel_version

__all__ = [
    "COMPUTE_ONLY",
    "CONTRACTIONS",
    "ConsumerRule",
    "Facts",
    "Violation",
    "convolutions_have_kernel_shapes",
    "cuda_kernels",
    "default_domain",
    "element_types",
    "even_transposed_padding",
    "matrix_ranks",
    "no_computed_biases",
    "no_functions",
    "no_if_in_loops",
    "no_pool_indices",
    "parameters_inside",
    "static_inputs",
    "two_spatial_axes",
    "typed_contractions",
]

CONTRACTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Ops that simulators of multiply-accumulates model, and that ``convert --to compute-only`` keeps."""

COMPUTE_ONLY = "convert --to compute-only"
"""The command that keeps only these, and adds attributes and shapes that an ONNX file may omit."""


@dataclass(frozen=True)
class Violation:
    """Something in a graph that a consumer does not accept.

    Attributes:
        reason: What it is; equal reasons are reported once, with the number of nodes.
        node: Index of the node, or None for a property of the whole graph.
        fix: The command that gives the graph without it, or empty.
    """

    reason: str
    node: int | None = None
    fix: str = ""


class Facts:
    """What rules need to know of a graph: its loaded form with inferred shapes, and the content of its file.

    Args:
        graph: The graph, checked, with shapes inferred where the file has none.
        stored: The model as it is in the file.
    """

    def __init__(self, graph: Graph, stored: onnx.ModelProto) -> None:
        self.graph = graph
        self.stored = stored

    @cached_property
    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes of the top level."""
        return list(self.graph.model.graph.node)

    @cached_property
    def costs(self) -> list[NodeCost]:
        """The cost of each node."""
        return graph_costs(self.graph)

    @cached_property
    def typed(self) -> frozenset[str]:
        """Tensors whose type and shape are in the file itself."""
        graph = self.stored.graph
        infos = [*graph.value_info, *graph.input, *graph.output]
        known = {i.name for i in infos if i.type.tensor_type.HasField("shape")}
        return frozenset(known | {t.name for t in graph.initializer})

    @cached_property
    def produced(self) -> frozenset[str]:
        """Outputs of nodes."""
        return frozenset(name for node in self.nodes for name in node.output if name)

    def of(self, *ops: str) -> Iterator[tuple[int, onnx.NodeProto]]:
        """The nodes of some op types of the default domain, with their indices."""
        for index, node in enumerate(self.nodes):
            if node.op_type in ops and node.domain in ("", "ai.onnx"):
                yield index, node

    def rank(self, name: str) -> int | None:
        """The rank of a tensor, or None where it is unknown."""
        tensor = self.graph.tensors.get(name)
        return len(tensor.shape) if tensor and tensor.shape is not None else None


ConsumerRule = Callable[[Facts], Iterator[Violation]]
"""From the facts of a graph to its violations of a requirement."""


def default_domain(facts: Facts) -> Iterator[Violation]:
    """All ops are standard ops of ONNX: no contrib ops of a runtime, no custom ops."""
    for index, node in enumerate(facts.nodes):
        if node.domain not in ("", "ai.onnx"):
            yield Violation(f"{node.op_type} is an op of the domain {node.domain}", index)


def no_functions(facts: Facts) -> Iterator[Violation]:
    """The model has no local functions."""
    if facts.stored.functions:
        yield Violation("the model has local functions")


def static_inputs(facts: Facts) -> Iterator[Violation]:
    """Every dimension of every input is a number in the file itself."""
    for opening in open_dimensions(facts.stored.graph):
        name = opening.dimension.dim_param or opening.axis
        yield Violation(f"input '{opening.input}' has a dynamic dimension '{name}'")


def typed_contractions(facts: Facts) -> Iterator[Violation]:
    """The file has value_info for the operands and results of convolutions and matrix products."""
    for index, node in facts.of("Conv", "Gemm", "MatMul"):
        missing = [name for name in (*node.input[:2], node.output[0]) if name not in facts.typed]
        if missing:
            yield Violation(f"{node.op_type}: a tensor has no value_info in the file", index, COMPUTE_ONLY)


def two_spatial_axes(facts: Facts) -> Iterator[Violation]:
    """Convolutions have two spatial axes."""
    for index, node in facts.of("Conv"):
        rank = facts.rank(node.input[0])
        if rank is not None and rank != 4:
            yield Violation(f"Conv of {rank - 2} spatial axes", index)


def convolutions_have_kernel_shapes(facts: Facts) -> Iterator[Violation]:
    """Convolutions have the attribute ``kernel_shape``, which ONNX may omit."""
    for index, node in facts.of("Conv"):
        if not any(a.name == "kernel_shape" for a in node.attribute):
            yield Violation("Conv without kernel_shape", index, COMPUTE_ONLY)


def matrix_ranks(facts: Facts) -> Iterator[Violation]:
    """The first operand of a matrix product has the same rank as the result, 2 to 4."""
    for index, node in facts.of("Gemm", "MatMul"):
        first, result = facts.rank(node.input[0]), facts.rank(node.output[0])
        if first is None or result is None:
            continue
        if first != result:
            yield Violation(f"{node.op_type} of rank {first} with a result of rank {result}", index)
        elif not 2 <= first <= 4:
            yield Violation(f"{node.op_type} of rank {first}", index)


def no_computed_biases(facts: Facts) -> Iterator[Violation]:
    """At most two inputs of a convolution or matrix product are outputs of nodes: a bias is an input or a constant."""
    for index, node in facts.of("Conv", "Gemm", "MatMul"):
        if sum(name in facts.produced for name in node.input) > 2:
            yield Violation(f"{node.op_type} with a bias that a node gives", index)


def no_pool_indices(facts: Facts) -> Iterator[Violation]:
    """MaxPool has no output of indices."""
    for index, node in facts.of("MaxPool"):
        if len(node.output) > 1 and node.output[1]:
            yield Violation("MaxPool with Indices", index)


def even_transposed_padding(facts: Facts) -> Iterator[Violation]:
    """ConvTranspose has the same padding at both ends of each axis."""
    for index, node in facts.of("ConvTranspose"):
        pads = next((list(a.ints) for a in node.attribute if a.name == "pads"), [])
        half = len(pads) // 2
        if pads[:half] != pads[half:]:
            yield Violation("ConvTranspose with unequal pads", index)


def no_if_in_loops(facts: Facts) -> Iterator[Violation]:
    """The body of a Loop has no If."""
    for index, node in facts.of("Loop"):
        if any(inner.op_type == "If" for _, body in bodies(node) for inner in body.node):
            yield Violation("Loop with If in its body", index)


def element_types(*supported: str) -> ConsumerRule:
    """The rule that inputs, constants and results of nodes have one of these numpy types.

    Constants of int64 are accepted in any case, as shapes and axes.
    """

    def rule(facts: Facts) -> Iterator[Violation]:
        inputs = {tensor.name: tensor.dtype for tensor in facts.graph.inputs}
        for index, node in enumerate(facts.nodes):
            for name in node.input:
                if inputs.get(name, supported[0]) not in supported:
                    yield Violation(f"an input of type {inputs[name]}", index)
                elif name in facts.graph.initializers:
                    kind = facts.graph.tensors[name].dtype
                    if kind not in (*supported, "int64"):
                        yield Violation(f"a constant of type {kind}", index)
            for name in node.output:
                result = facts.graph.tensors.get(name)
                if result and result.dtype and result.dtype not in supported:
                    yield Violation(f"{node.op_type} gives {result.dtype}", index)

    return rule


def parameters_inside(facts: Facts) -> Iterator[Violation]:
    """The weights of convolutions and matrix products are initializers, not inputs of the graph."""
    inputs = {t.name for t in facts.graph.inputs}
    for index, node in facts.of("Conv", "Gemm", "MatMul"):
        if node.input[1] in inputs:
            yield Violation("parameters are inputs of the graph", index, "convert --to initializers")


def cuda_kernels(facts: Facts) -> Iterator[Violation]:
    """Every node has a CUDA kernel in onnxruntime, except shape arithmetic, which may run on the CPU."""
    types = {name: tensor.dtype for name, tensor in facts.graph.tensors.items()}
    opset = next(o.version for o in facts.graph.model.opset_import if o.domain in ("", "ai.onnx"))
    for index, node in enumerate(facts.nodes):
        if node.domain not in ("", "ai.onnx"):
            yield Violation(f"{node.op_type} is of the domain {node.domain}, whose kernels are not in the table", index)
            continue
        input_types = [types.get(name, "") for name in node.input if name]
        output_types = [types.get(name, "") for name in node.output if name]
        if is_shape_arithmetic(node.op_type, input_types, output_types):
            continue
        if not kernel_version(node.op_type, opset):
            yield Violation(f"{node.op_type} of opset {opset} is not in the table of kernels", index)
        elif not has_kernel(node, types):
            kinds = ", ".join(dict.fromkeys(kind or "unknown" for kind in input_types + output_types))
            yield Violation(f"{node.op_type} has no CUDA kernel for {kinds}", index)
