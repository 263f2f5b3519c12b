"""Who reads these graphs, and what each asks of them: data, as measured on the versions named.

The ops of tools with hundreds are in :mod:`.ops`. What was measured on the tools themselves is what the tests in
``tests/simulators`` repeat; a consumer whose version is empty was not run, and its row says where the rules are from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fathom_onnx.graph import Graph

from . import cuda_kernels, ops, rules
from .rules import CONTRACTIONS, ConsumerRule

__all__ = ["CONSUMERS", "Consumer"]

_NOISE = "export --noise input"
"""The command that gives one of our graphs its random tensors as inputs."""

_DRAWN = frozenset({"RandomNormal", "RandomUniform"})


@dataclass(frozen=True)
class Consumer:
    """A tool that reads graphs, or what they are converted to.

    Attributes:
        name: The tool.
        version: The version that the rules were measured on; empty where it was not run.
        reads: What it reads.
        via: The format of ``fathom-onnx convert`` that it needs; empty where it reads ONNX.
        takes: Ops of the default domain that it takes; None for all.
        refuses: Ops known not to be taken, for a tool whose other ops are unknown.
        others: What happens with ops that are not in ``takes``: the graph is refused, they are ignored, or nobody has
            tried (but for ``refuses``).
        counts: Ops whose multiply-accumulates it sees; None for every op.
        rules: What else it asks of a graph.
        contractions_alone: Whether a graph of convolutions and matrix products alone is of use to it.
        note: What to know besides.
    """

    name: str
    version: str
    reads: str = "ONNX"
    via: str = ""
    takes: frozenset[str] | None = None
    refuses: frozenset[str] = frozenset()
    others: Literal["refused", "ignored", "untried"] = "refused"
    counts: frozenset[str] | None = None
    rules: tuple[ConsumerRule, ...] = ()
    contractions_alone: bool = False
    note: str = ""

    def fix(self, op: str, graph: Graph) -> str:
        """The command that makes a graph without an op, or empty: our graphs can have their noise as inputs."""
        return _NOISE if op in _DRAWN and graph.metadata is not None else ""


CONSUMERS: tuple[Consumer, ...] = (
    Consumer(
        name="ZigZag",
        version="3.9.1",
        takes=frozenset({"Conv", "Gemm", "MatMul"}),
        others="ignored",
        counts=frozenset({"Conv", "Gemm", "MatMul"}),
        rules=(
            rules.no_functions,
            rules.static_inputs,
            rules.typed_contractions,
            rules.two_spatial_axes,
            rules.convolutions_have_kernel_shapes,
            rules.matrix_ranks,
            rules.no_made_biases,
        ),
        contractions_alone=True,
        note="says nothing of the ops that it ignores",
    ),
    Consumer(
        name="Stream",
        version="2.1.1",
        takes=ops.STREAM,
        counts=frozenset({"Conv", "Einsum", "Gemm", "MatMul"}),
        rules=(
            rules.default_domain,
            rules.no_functions,
            rules.static_inputs,
            rules.two_spatial_axes,
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
        counts=CONTRACTIONS,
        note="one layer after the other, without what is between them",
    ),
    Consumer(
        name="AccelForge",
        version="1.0.467",
        reads="einsum YAML",
        via="accelforge",
        counts=CONTRACTIONS,
    ),
    Consumer(
        name="Timeloop",
        version="",
        reads="problem YAML",
        via="timeloop",
        counts=CONTRACTIONS,
        note="not run: not in the package index; the form is that of its examples",
    ),
    Consumer(
        name="MAESTRO",
        version="",
        reads="network files",
        via="maestro",
        counts=CONTRACTIONS,
        note="not run: not in the package index; the form is that of its examples",
    ),
    Consumer(
        name="Chakra",
        version="",
        reads="execution traces",
        via="chakra",
        note="not run: not in the package index; the form is that of its schema 1.0.0",
    ),
    Consumer(
        name="ONNXim",
        version="",
        takes=ops.ONNXIM,
        counts=frozenset({"Conv", "Gemm", "MatMul"}),
        rules=(rules.default_domain, rules.no_functions, rules.static_inputs, rules.parameters_inside),
        note="not run: not in the package index; ops from its source",
    ),
    Consumer(
        name="OpenVINO",
        version="2026.4.1",
        takes=ops.OPENVINO,
        refuses=ops.NODE_TESTED - ops.OPENVINO,
        others="untried",
        rules=(rules.default_domain,),
    ),
    Consumer(
        name="TVM",
        version="0.27.0.post1",
        takes=ops.TVM,
        refuses=ops.NODE_TESTED - ops.TVM,
        others="untried",
        rules=(rules.default_domain, rules.no_functions, rules.no_pool_indices),
        note="imported to Relax, not compiled",
    ),
    Consumer(
        name="IREE",
        version="3.13.0",
        takes=ops.IREE,
        refuses=ops.NODE_TESTED - ops.IREE,
        others="untried",
        rules=(
            rules.default_domain,
            rules.no_functions,
            rules.even_transposed_padding,
            rules.no_choice_in_loops,
        ),
        note="lowered to linalg; a strided ConvTranspose becomes a convolution over zeros, with more "
        "multiply-accumulates than it needs",
    ),
    Consumer(
        name="onnx-tool",
        version="1.0.1",
        takes=ops.ONNX_TOOL,
        refuses=ops.NODE_TESTED - ops.ONNX_TOOL,
        others="untried",
        rules=(rules.default_domain, rules.no_functions),
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
        rules=(rules.default_domain,),
        note="runs a graph in numpy, slowly",
    ),
)
"""Every consumer that ``fathom-onnx compat`` judges for, simulators first."""
