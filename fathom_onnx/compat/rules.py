"""Requirements of consumers beyond the supported ops: functions from the facts of a graph to its violations."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.defs

from fathom_onnx.graph.bodies import all_nodes, bodies
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.graph.static.values import constants_of
from fathom_onnx.runtime.providers.placement import is_shape_arithmetic

from .cuda_kernels import has_kernel, kernel_version
from .facts import ConsumerRule, Facts, Violation

__all__ = [
    "COMPUTE_ONLY",
    "cuda_kernels",
    "default_domain",
    "depths_are_scalars",
    "einsum_operands",
    "einsums_say_their_result",
    "einsums_without_ellipsis",
    "element_types",
    "even_transposed_padding",
    "gathers_keep_their_axis",
    "known_domains",
    "no_batches_gathered",
    "no_computed_shapes",
    "no_functions",
    "no_if_in_loops",
    "no_largest_scatters",
    "no_pool_indices",
    "no_scalars_reshaped",
    "no_vector_products",
    "no_vectors_of_batches",
    "parameters_inside",
    "powers_of_one_type",
    "ranges_of_constants",
    "standard_ops",
    "static_inputs",
    "two_spatial_axes",
]

COMPUTE_ONLY = "convert --to compute-only"
"""The command that keeps only convolutions and matrix products, and adds what an ONNX file may omit of them."""

_RUNTIME_DOMAINS = ("com.microsoft", "com.ms.", "ai.onnx")
"""Beginnings of the names of domains whose ops are known outside of one application."""


def default_domain(facts: Facts) -> Iterator[Violation]:
    """All ops are standard ops of ONNX: no contrib ops of a runtime, no custom ops."""
    for index, node in facts.everywhere():
        if node.domain not in ("", "ai.onnx"):
            yield Violation(f"{node.op_type} is an op of the domain {node.domain}", index)


def standard_ops(facts: Facts) -> Iterator[Violation]:
    """The ops of the default domain are those of ONNX; onnxruntime keeps some of its own there."""
    for index, node in facts.everywhere():
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            yield Violation(f"{node.op_type} is no op of ONNX", index)


def known_domains(facts: Facts) -> Iterator[Violation]:
    """All ops are standard ops of ONNX; whether the consumer has those of other runtimes was not tried."""
    for index, node in facts.everywhere():
        if node.domain.startswith(_RUNTIME_DOMAINS) and node.domain != "ai.onnx":
            yield Violation(f"{node.op_type} of the domain {node.domain} was never tried", index, tried=False)
        elif node.domain not in ("", "ai.onnx"):
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


def two_spatial_axes(facts: Facts) -> Iterator[Violation]:
    """Convolutions have two spatial axes."""
    for index, node in facts.of("Conv"):
        rank = facts.rank(node.input[0])
        if rank is not None and rank != 4:
            yield Violation(f"Conv of {rank - 2} spatial axes", index)


def no_computed_shapes(facts: Facts) -> Iterator[Violation]:
    """Shapes are constants, not results of nodes: of arithmetic on shapes simple forms alone were tried."""
    for index, node in facts.of("Shape", "Size"):
        yield Violation(
            f"{node.op_type}, and what is computed with it: only simple forms were tried", index, tried=False
        )


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


def no_largest_scatters(facts: Facts) -> Iterator[Violation]:
    """ScatterElements replaces, adds or multiplies; it keeps no largest or smallest value."""
    for index, node in facts.of("ScatterElements"):
        reduction = next((a.s.decode(errors="replace") for a in node.attribute if a.name == "reduction"), "none")
        if reduction in ("max", "min"):
            yield Violation(f"ScatterElements with the reduction {reduction}", index)


def no_scalars_reshaped(facts: Facts) -> Iterator[Violation]:
    """A scalar, which is taken for a tensor of no elements, is reshaped to a scalar or leaves an axis open (-1)."""
    constants = constants_of(facts.graph.model.graph)
    for index, node in facts.of("Reshape"):
        shape = constants.get(node.input[1])
        if facts.rank(node.input[0]) == 0 and shape is not None and shape.size and -1 not in shape:
            yield Violation("Reshape of a scalar", index)


def ranges_of_constants(facts: Facts) -> Iterator[Violation]:
    """The end and the step of a Range are no inputs of the graph; of those that nodes compute, some were tried."""
    constants = constants_of(facts.graph.model.graph)
    inputs = {tensor.name for tensor in facts.graph.inputs}
    for index, node in facts.of("Range"):
        unknown = [name for name in node.input[1:] if name not in constants]
        if inputs.intersection(unknown):
            yield Violation("Range to or by an input of the graph", index)
        elif unknown:
            yield Violation("Range to or by what nodes compute: only simple forms were tried", index, tried=False)


def depths_are_scalars(facts: Facts) -> Iterator[Violation]:
    """The depth of a OneHot has no axis; ONNX allows an array of one element too."""
    for index, node in facts.of("OneHot"):
        if facts.rank(node.input[1]) == 1:
            yield Violation("OneHot whose depth is an array", index)


def powers_of_one_type(facts: Facts) -> Iterator[Violation]:
    """The exponent of a Pow has the element type of its base, which ONNX does not ask for."""
    for index, node in facts.of("Pow"):
        types = [facts.graph.tensors[name].dtype for name in node.input if name in facts.graph.tensors]
        if len(set(types)) > 1 and all(types):
            yield Violation(f"Pow of {' and '.join(types)}", index)


def no_batches_gathered(facts: Facts) -> Iterator[Violation]:
    """GatherND has no batch axes, which are read over: its result gets another shape, which later nodes may refuse."""
    for index, node in facts.of("GatherND"):
        if any(a.name == "batch_dims" and a.i for a in node.attribute):
            yield Violation("GatherND with batch axes, which are not read", index, tried=False)


def no_if_in_loops(facts: Facts) -> Iterator[Violation]:
    """The body of a Loop has no If, at any depth; the Loop itself may be in a body as well."""
    for index, node in facts.everywhere():
        inside = (inner for _, body in bodies(node) for inner in all_nodes(body.node))
        if node.op_type == "Loop" and any(inner.op_type == "If" for inner in inside):
            yield Violation("Loop with If in its body", index)


def no_vector_products(facts: Facts) -> Iterator[Violation]:
    """The operands of a matrix product have at least two axes."""
    for index, node in facts.of("MatMul"):
        if any(facts.rank(name) == 1 for name in node.input):
            yield Violation("MatMul of a vector", index)


def no_vectors_of_batches(facts: Facts) -> Iterator[Violation]:
    """A vector is multiplied by a matrix or a vector, never by a batch of matrices."""
    for index, node in facts.of("MatMul"):
        ranks = sorted(facts.rank(name) or 0 for name in node.input)
        if ranks[0] == 1 and ranks[1] > 2:
            yield Violation("MatMul of a vector and a batch of matrices", index)


def _equation(node: onnx.NodeProto) -> str:
    return next((a.s.decode(errors="replace") for a in node.attribute if a.name == "equation"), "")


def einsums_without_ellipsis(facts: Facts) -> Iterator[Violation]:
    """No Einsum has an ellipsis."""
    for index, node in facts.of("Einsum"):
        if "..." in _equation(node):
            yield Violation("Einsum with an ellipsis", index)


def einsums_say_their_result(facts: Facts) -> Iterator[Violation]:
    """Every Einsum has an arrow, which ONNX may omit."""
    for index, node in facts.of("Einsum"):
        if "->" not in _equation(node):
            yield Violation("Einsum that does not say its result", index)


def einsum_operands(*numbers: int) -> ConsumerRule:
    """The rule that an Einsum has one of these numbers of operands."""

    def rule(facts: Facts) -> Iterator[Violation]:
        for index, node in facts.of("Einsum"):
            if len(node.input) not in numbers:
                yield Violation(f"Einsum of {len(node.input)} operand{'s' if len(node.input) > 1 else ''}", index)

    return rule


def gathers_keep_their_axis(facts: Facts) -> Iterator[Violation]:
    """A Gather has one index axis, so that the result has the rank of the source."""
    for index, node in facts.of("Gather"):
        source, result = facts.rank(node.input[0]), facts.rank(node.output[0])
        if source is not None and result is not None and source != result:
            yield Violation("Gather that changes the rank", index)


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
    # which inputs are parameters, only the graphs of this package say
    fix = "convert --to initializers" if facts.graph.metadata is not None else ""
    for index, node in facts.of("Conv", "Gemm", "MatMul"):
        if node.input[1] in inputs:
            yield Violation("parameters are inputs of the graph", index, fix)


def cuda_kernels(facts: Facts) -> Iterator[Violation]:
    """Every node has a CUDA kernel in onnxruntime, except shape arithmetic, which may run on the CPU."""
    types = {name: tensor.dtype for name, tensor in facts.graph.tensors.items()}
    # a graph of other domains alone may leave the default one out
    opset = next((o.version for o in facts.graph.model.opset_import if o.domain in ("", "ai.onnx")), 1)
    for index, node in enumerate(facts.nodes):
        if node.op_type == "Constant":
            continue  # it becomes an initializer before anything runs
        if node.domain not in ("", "ai.onnx"):
            what = f"{node.op_type} is of the domain {node.domain}, whose kernels are not in the table"
            yield Violation(what, index, tried=False)
            continue
        input_types = [types.get(name, "") for name in node.input if name]
        output_types = [types.get(name, "") for name in node.output if name]
        if is_shape_arithmetic(node.op_type, input_types, output_types):
            continue
        if not kernel_version(node.op_type, opset):
            yield Violation(f"{node.op_type} of opset {opset} is not in the table of kernels", index, tried=False)
        elif not has_kernel(node, types):
            kinds = ", ".join(dict.fromkeys(kind or "unknown" for kind in input_types + output_types))
            yield Violation(f"{node.op_type} has no CUDA kernel for {kinds}", index)
