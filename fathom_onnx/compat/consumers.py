"""The consumers of graphs (simulators, compilers, runtimes) and their requirements: a table, measured on real tools.

The long lists of supported ops are in :mod:`.ops`. The tests in ``tests/simulators`` repeat the measurements. A
consumer without a version was not run; its note says where its requirements come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fathom_onnx.graph import Graph
from fathom_onnx.graph.dataflow import RANDOM

from . import cuda_kernels, ops, rules, zigzag
from .facts import ConsumerRule

__all__ = ["CONSUMERS", "Consumer"]

_NOISE = "export --noise input"
"""The command that exports a graph of this package with its random tensors as inputs."""


@dataclass(frozen=True)
class Consumer:
    """A tool that reads graphs, or files that they are converted to.

    Attributes:
        name: The tool.
        version: The version that the requirements were measured on; empty where it was not run.
        reads: The kind of file that it reads.
        via: The format of ``fathom-onnx convert`` that it needs; empty where it reads ONNX.
        supported: Ops of the default domain that it accepts; None for all.
        unsupported: Ops known not to be accepted, for a tool whose other ops were not all tried.
        others: What happens with ops that are not in ``supported``: the graph is refused, they are ignored, or this was
            not tried (except for ``unsupported``).
        counted: Ops whose multiply-accumulates it sees; None for every op.
        rules: Its other requirements of a graph.
        contractions_alone: Whether a graph of convolutions and matrix products alone is useful to it.
        note: Further remarks.
    """

    name: str
    version: str
    reads: str = "ONNX"
    via: str = ""
    supported: frozenset[str] | None = None
    unsupported: frozenset[str] = frozenset()
    others: Literal["refused", "ignored", "untried"] = "refused"
    counted: frozenset[str] | None = None
    rules: tuple[ConsumerRule, ...] = ()
    contractions_alone: bool = False
    note: str = ""

    def sees(self, op: str) -> bool:
        """Whether it sees the multiply-accumulates of an op type."""
        return self.counted is None or op in self.counted

    def fix(self, op: str, graph: Graph) -> str:
        """The command that gives the graph without an op, or empty: exported graphs can have their noise as inputs."""
        return _NOISE if op in RANDOM and graph.metadata is not None else ""


CONSUMERS: tuple[Consumer, ...] = (
    Consumer(
        name="ZigZag",
        version="3.9.1",
        supported=zigzag.PARSED,
        others="ignored",
        counted=zigzag.PARSED,
        rules=(
            zigzag.functions_are_seen,
            zigzag.no_branches,
            rules.static_inputs,
            zigzag.parsed_nodes_are_typed,
            zigzag.two_spatial_axes,
            zigzag.convolutions_have_kernel_shapes,
            zigzag.matrix_shapes,
            zigzag.no_computed_biases,
        ),
        contractions_alone=True,
        note="says nothing of the ops that it ignores",
    ),
    Consumer(
        name="Stream",
        version="2.1.1",
        supported=ops.STREAM,
        counted=frozenset({"Conv", "Einsum", "Gemm", "MatMul"}),
        rules=(
            rules.default_domain,
            rules.no_functions,
            rules.static_inputs,
            rules.two_spatial_axes,
            rules.no_vector_products,
            rules.einsums_without_ellipsis,
            rules.einsum_operands(1, 2),
            rules.gathers_keep_their_axis,
            rules.element_types("float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32"),
        ),
        contractions_alone=True,
        note="parsed, not scheduled",
    ),
    Consumer(
        name="SCALE-Sim",
        version="3.0.0",
        reads="topology CSV",
        via="scalesim",
        note="one layer after the other, without what is between them",
    ),
    Consumer(
        name="AccelForge",
        version="1.0.467",
        reads="einsum YAML",
        via="accelforge",
    ),
    Consumer(
        name="Timeloop",
        version="",
        reads="problem YAML",
        via="timeloop",
        note="not run: not in the package index; the form is that of its examples",
    ),
    Consumer(
        name="MAESTRO",
        version="public main",
        reads="network files",
        via="maestro",
        note="built from its public repository; counts exactly our multiply-accumulates of residual, deepq-train, "
        "autoenc-train and alexnet-train",
    ),
    Consumer(
        name="Chakra",
        version="schema 1.0.0",
        reads="execution traces",
        via="chakra",
        note="ASTRA-sim's analytical backend, built from its public repository, runs residual-train and autoenc-train "
        "to the end on two ranks, and counts our operations; it wants at least two ranks: --ranks 2, and the roofline",
    ),
    Consumer(
        name="ONNXim",
        version="",
        supported=ops.ONNXIM,
        counted=frozenset({"Conv", "Gemm", "MatMul"}),
        rules=(rules.default_domain, rules.no_functions, rules.static_inputs, rules.parameters_inside),
        note="not run: not in the package index; ops from its source",
    ),
    Consumer(
        name="OpenVINO",
        version="2026.4.1",
        supported=ops.OPENVINO,
        unsupported=ops.NODE_TESTED - ops.OPENVINO,
        others="untried",
        rules=(rules.known_domains,),
    ),
    Consumer(
        name="TVM",
        version="0.27.0.post1",
        supported=ops.TVM,
        unsupported=ops.NODE_TESTED - ops.TVM,
        others="untried",
        rules=(
            rules.known_domains,
            rules.no_functions,
            rules.no_pool_indices,
            rules.no_computed_shapes,
            rules.depths_are_scalars,
            rules.powers_of_one_type,
        ),
        note="imported to Relax, not compiled",
    ),
    Consumer(
        name="IREE",
        version="3.13.0",
        supported=ops.IREE,
        unsupported=ops.NODE_TESTED - ops.IREE,
        others="untried",
        rules=(
            rules.known_domains,
            rules.no_functions,
            rules.even_transposed_padding,
            rules.no_largest_scatters,
            rules.no_if_in_loops,
            rules.no_vectors_of_batches,
            rules.einsums_say_their_result,
        ),
        note="lowered to linalg; a strided ConvTranspose becomes a convolution over zeros, with more "
        "multiply-accumulates than it needs",
    ),
    Consumer(
        name="onnx-tool",
        version="1.0.1",
        supported=ops.ONNX_TOOL,
        unsupported=ops.NODE_TESTED - ops.ONNX_TOOL,
        others="untried",
        rules=(
            rules.known_domains,
            rules.no_functions,
            rules.no_vector_products,
            rules.einsums_without_ellipsis,
            rules.einsums_say_their_result,
            rules.einsum_operands(2),
            rules.no_scalars_reshaped,
            rules.ranges_of_constants,
            rules.depths_are_scalars,
            rules.no_batches_gathered,
        ),
        note="counts an addition of a bias as a multiply-accumulate, and a ConvTranspose by its output",
    ),
    Consumer(
        name="onnxruntime CUDA",
        version=cuda_kernels.VERSION,
        rules=(rules.cuda_kernels,),
        note="by the wheel's table of kernels; no device was asked",
    ),
    Consumer(
        name="onnx.reference",
        version="1.23.2",
        rules=(rules.default_domain, rules.standard_ops),
        note="runs a graph in numpy, slowly",
    ),
)
"""All consumers that ``fathom-onnx compat`` knows, simulators first."""
