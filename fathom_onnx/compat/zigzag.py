"""Requirements of ZigZag beyond its ops: what its parser asserts of a convolution or a matrix product.

The parser looks at the op type alone, never at the domain, and reads of every node that it parses the shape of the
first input and of the first output from the file. Of a 3-D convolution it reads two axes and counts too few. A file
with an ``If`` it rewrites before parsing, and fails.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from .facts import Facts, Violation
from .rules import COMPUTE_ONLY

__all__ = [
    "PARSED",
    "convolutions_have_kernel_shapes",
    "functions_are_seen",
    "matrix_shapes",
    "no_branches",
    "no_computed_biases",
    "parsed_nodes_are_typed",
    "two_spatial_axes",
]

PARSED = frozenset({"Conv", "Gemm", "MatMul", "QLinearConv"})
"""The op types that it has a parser for."""

_CONVOLUTIONS = frozenset({"Conv", "QLinearConv"})


def _of(facts: Facts, ops: frozenset[str]) -> Iterator[tuple[int, onnx.NodeProto]]:
    return ((index, node) for index, node in enumerate(facts.nodes) if node.op_type in ops)


def functions_are_seen(facts: Facts) -> Iterator[Violation]:
    """The model has no local functions, which it would ignore with all that is in them."""
    if facts.stored.functions:
        yield Violation("the model has local functions, which it ignores", fix=COMPUTE_ONLY)


def no_branches(facts: Facts) -> Iterator[Violation]:
    """The graph has no If."""
    for index, _ in _of(facts, frozenset({"If"})):
        yield Violation("If is not supported", index, COMPUTE_ONLY)


def parsed_nodes_are_typed(facts: Facts) -> Iterator[Violation]:
    """The file has value_info for the first operand and the result of convolutions and matrix products."""
    for index, node in _of(facts, PARSED):
        if any(name not in facts.typed for name in (node.input[0], node.output[0])):
            yield Violation(f"{node.op_type}: a tensor has no value_info in the file", index, COMPUTE_ONLY)


def two_spatial_axes(facts: Facts) -> Iterator[Violation]:
    """Convolutions have two spatial axes."""
    for index, node in _of(facts, _CONVOLUTIONS):
        rank = facts.rank(node.input[0])
        if rank is not None and rank != 4:
            yield Violation(f"{node.op_type} of {rank - 2} spatial axes", index)


def convolutions_have_kernel_shapes(facts: Facts) -> Iterator[Violation]:
    """Convolutions have the attribute ``kernel_shape``, which ONNX may omit."""
    for index, node in _of(facts, _CONVOLUTIONS):
        if not any(a.name == "kernel_shape" for a in node.attribute):
            yield Violation(f"{node.op_type} without kernel_shape", index, COMPUTE_ONLY)


def matrix_shapes(facts: Facts) -> Iterator[Violation]:
    """The first operand of a matrix product has the rank of the result, 2 to 4, and its whole batch.

    The second operand may be broadcast in any way: its shape is not read.
    """
    for index, node in _of(facts, frozenset({"Gemm", "MatMul"})):
        first, result = facts.shape(node.input[0]), facts.shape(node.output[0])
        if first is None or result is None:
            continue
        if len(first) != len(result):
            yield Violation(f"{node.op_type} of rank {len(first)} with a result of rank {len(result)}", index)
        elif not 2 <= len(first) <= 4:
            yield Violation(f"{node.op_type} of rank {len(first)}", index)
        elif first[:-2] != result[:-2]:
            yield Violation(f"{node.op_type} whose first operand is broadcast over the batch", index)


def no_computed_biases(facts: Facts) -> Iterator[Violation]:
    """At most two inputs of a convolution or matrix product are outputs of nodes: a bias is an input or a constant."""
    for index, node in _of(facts, PARSED):
        if sum(name in facts.produced for name in node.input) > 2:
            what = "a bias" if node.op_type != "QLinearConv" else "scales or a bias"
            yield Violation(f"{node.op_type} with {what} that a node gives", index)
