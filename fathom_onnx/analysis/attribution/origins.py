"""Origins: the original node that the name of an executed node refers to.

A fused node often keeps the name of one of the nodes it was made of, with a prefix or suffix. That node is its
*origin*. Where the fusion took more after it (an activation, a quantization), the output of the executed node is not
the origin's, and has to be looked for downstream.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping

import onnx

from fathom_onnx.graph.dataflow import Dataflow
from fathom_onnx.graph.op_types import canonical_op

__all__ = ["DECORATIONS", "UNTIL_QUANTIZED", "Origins"]

DECORATIONS = (
    re.compile(r"^(?P<name>.+?)_token_\d+$"),  # made unique
    re.compile(r"^(?P<name>.+)_nchwc$"),
    re.compile(r"^fused (?P<name>.+)$"),
    re.compile(r"^(?P<name>.+)/duplicated$"),
    re.compile(r"^(?P<name>.+)/MatMulAddFusion/?$"),
    re.compile(r"^(?P<name>.+)/MatMulScaleFusion/?$"),
    re.compile(r"^(?P<name>.+)/MatmulTransposeFusion/?$"),
    re.compile(r"^(?P<name>.+)/DynamicQuantizeMatMulFusion/?$"),
)
"""How onnxruntime's optimizer decorates the names that it keeps; the group ``name`` is the name before."""

UNTIL_QUANTIZED = frozenset(
    {"QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid"}
    | {"QLinearLeakyRelu", "QLinearSoftmax", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearWhere"}
    | {"QLinearReduceMean", "QLinearConvTranspose"}
)
"""Ops that give a quantized tensor: they stand for everything from their origin to a ``QuantizeLinear``."""

_QUANTIZED_TYPES = frozenset({"int8", "uint8", "int16", "uint16"})
_ON_THE_WAY = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "BatchNormalization"})
_QGEMM_QUANTIZED = 8
"""Inputs of a QGemm that quantizes what it gives; with fewer it gives floats."""


class Origins:
    """The origins of an optimized graph's nodes.

    Args:
        original: The original graph.
        executed: Its optimized form.
    """

    def __init__(self, original: Dataflow, executed: Dataflow) -> None:
        self.original, self.executed = original, executed
        count = Counter(node.name for node in original.nodes)
        self._executed_count = Counter(node.name for node in executed.nodes)
        self._named = {node.name: i for i, node in enumerate(original.nodes) if node.name and count[node.name] == 1}

    def of(self, node: onnx.NodeProto) -> int | None:
        """The original node whose name an executed node keeps, as it is or decorated, or None."""
        name = node.name if self._executed_count[node.name] == 1 else ""
        while name:
            if name in self._named:
                return self._named[name]
            name = next((m["name"] for m in (rule.match(name) for rule in DECORATIONS) if m), "")
        return None

    def output_class(self, node: onnx.NodeProto, anchored: Mapping[str, str]) -> str | None:
        """The original class of an executed node's first output, or None where its name does not say.

        Args:
            node: The executed node.
            anchored: Executed class to original class, of what comes before it.
        """
        index = self.of(node)
        if index is None or not self.original.nodes[index].output:
            return None
        origin = self.original.nodes[index]
        of = self.original.class_of(origin.output[0])
        if node.op_type in UNTIL_QUANTIZED:
            gives_floats = node.op_type == "QGemm" and len([n for n in node.input if n]) < _QGEMM_QUANTIZED
            return None if gives_floats else self._quantized(of)
        if canonical_op(node.op_type, node.domain) != canonical_op(origin.op_type, origin.domain):
            return None
        if self._on_quantized(node, origin, anchored):
            return self._quantized(of)
        return of if origin.op_type == node.op_type and not _has_activation(node) else None

    def _on_quantized(self, node: onnx.NodeProto, origin: onnx.NodeProto, anchored: Mapping[str, str]) -> bool:
        """Whether a node runs on quantized data where its origin runs on floats."""
        taken = anchored.get(self.executed.class_of(node.input[0])) if node.input else None
        if taken is None or not origin.input:
            return False
        executed_type, origin_type = self._dtype(self.original.members(taken)), self._dtype([origin.input[0]])
        return executed_type in _QUANTIZED_TYPES and bool(origin_type) and origin_type not in _QUANTIZED_TYPES

    def _dtype(self, names: Collection[str]) -> str:
        """The element type of the first of some tensors whose type is known."""
        known = (self.original.tensors.get(name) for name in names)
        return next((tensor.dtype for tensor in known if tensor and tensor.dtype), "")

    def _quantized(self, of: str) -> str | None:
        """The class into which a class is quantized, activations on the way included."""
        while True:
            users = {
                user
                for name in self.original.members(of)
                for user in self.original.users.get(name, ())
                if user not in self.original.movers
            }
            kinds = {self.original.nodes[u].op_type for u in users}
            made = {self.original.class_of(self.original.nodes[u].output[0]) for u in users}
            if len(made) != 1 or len(kinds) != 1:
                return None
            of, kind = made.pop(), kinds.pop()
            if kind == "QuantizeLinear":
                return of
            if kind not in _ON_THE_WAY:
                return None


def _has_activation(node: onnx.NodeProto) -> bool:
    return any(a.name == "activation" and a.s for a in node.attribute)
