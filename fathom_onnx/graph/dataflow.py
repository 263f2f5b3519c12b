"""The data flow of a graph: producers and users of tensors, constant tensors, and nodes that only move elements.

Tensors that differ by movement only (a transpose, a reshape) belong to one *class*. Optimizers move, fold and drop
movement nodes; the inputs and outputs of a compute node, seen as classes, stay the same. Two nodes that compute the
same from the same inputs are *twins*; an optimizer keeps one of them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping

import networkx as nx
import onnx
from networkx.utils import UnionFind

from .bodies import bodies, constants_in, inputs_of, outputs_of
from .tensors import Tensor

__all__ = [
    "COPIES",
    "MOVEMENT",
    "QUANTIZATIONS",
    "RANDOM",
    "Dataflow",
    "moves",
]

MOVEMENT = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "DepthToSpace", "SpaceToDepth"}
)
"""Ops whose output has the elements of their first input, each once."""

COPIES = frozenset({"ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
"""Movement that only onnxruntime inserts: blocked layouts and copies between devices."""

QUANTIZATIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Ops that change the number format; onnxruntime moves them past movement nodes and drops pairs of them."""

RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
"""Ops that draw random numbers: two with the same inputs give different outputs."""

_SHAPE_ONLY = frozenset({"Shape", "Size"})


def _training_dropout(node: onnx.NodeProto) -> bool:
    return node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])


def moves(node: onnx.NodeProto) -> bool:
    """Whether a node only moves elements (its first input's, each once), by its op type."""
    if node.op_type == "Dropout":
        return not _training_dropout(node) and len(outputs_of(node)) == 1
    return (node.op_type in MOVEMENT or node.op_type in COPIES) and bool(node.input)


class Dataflow:
    """The data flow of one graph (a model's top level or one body).

    Args:
        graph: The graph.
        tensors: Shapes and types of its tensors, as far as they are known.
        fixed: Inputs whose value never changes between steps, like initializers.
        movers: Numbers of the nodes that only move elements; decided by op type where not given.
        merge: Whether twins are recognised, as an optimizer would.

    Attributes:
        nodes: The graph's nodes.
        producer: Tensor to the number of the node that makes it.
        users: Tensor to the numbers of the nodes that use it.
        captured: Tensors that a body captures from the graphs around it, without the fixed ones.
        constant: Tensors that depend neither on fed inputs nor on random draws.
        movers: Numbers of the movement nodes.
        twins: Node to its twins, the later nodes that compute the same from the same inputs.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        tensors: Mapping[str, Tensor],
        fixed: Collection[str] = (),
        movers: Collection[int] | None = None,
        merge: bool = True,
    ) -> None:
        self.nodes = list(graph.node)
        self.tensors = tensors
        self.inputs = [inputs_of(node) for node in self.nodes]
        self.producer: dict[str, int] = {}
        self.users: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            for name in outputs_of(node):
                self.producer[name] = index
            for name in self.inputs[index]:
                self.users[name].append(index)
        given = constants_in(graph)
        self.fed = [i.name for i in graph.input if i.name not in given]
        fixed = set(fixed) | given
        own = {*self.producer, *self.fed, *fixed}
        self.captured = [name for name in self.users if name not in own]
        self.constant = self._constant(fixed)
        moving = movers if movers is not None else [i for i, n in enumerate(self.nodes) if moves(n) or self._copies(n)]
        self.movers = {i for i in moving if self.nodes[i].input[0] not in self.constant}
        self.twins: dict[int, list[int]] = {}
        self._same: dict[str, str] = {}
        if merge:
            self._find_twins(graph)
        self._classes = UnionFind()
        for index in self.movers:
            self._classes.union(self.same(self.nodes[index].input[0]), self.same(self.nodes[index].output[0]))
        self._members: dict[str, list[str]] = defaultdict(list)
        for name in [*self.fed, *self.captured, *self.producer]:
            self._members[self.class_of(name)].append(name)
        self._makers: dict[str, list[int]] = defaultdict(list)
        self._movers_of: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self.nodes):
            known = self._movers_of if index in self.movers else self._makers
            for of in dict.fromkeys(self.class_of(name) for name in outputs_of(node)):
                known[of].append(index)

    def _copies(self, node: onnx.NodeProto) -> bool:
        """Whether a node gives its input as it is: an identity, or a cast to the type that it has."""
        if node.op_type != "Cast" or not node.input:
            return node.op_type == "Identity"
        source, result = (self.tensors.get(name) for name in (node.input[0], node.output[0]))
        return bool(source and result and source.dtype and source.dtype == result.dtype)

    def _constant(self, fixed: set[str]) -> set[str]:
        """Tensors without a path from a fed input or a random op; the shape of a static tensor is constant too."""
        constant = set(fixed)
        for index, node in enumerate(self.nodes):
            static = node.op_type in _SHAPE_ONLY and self._shape(node.input[0]) is not None
            varies = any(name not in constant for name in self.inputs[index])
            if node.op_type not in RANDOM and (static or not varies):
                constant.update(outputs_of(node))
        return constant

    def _shape(self, name: str) -> tuple[int, ...] | None:
        tensor = self.tensors.get(name)
        return tensor.shape if tensor else None

    def _find_twins(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.ByteSize() < 4096:
                plain = onnx.TensorProto()
                plain.CopyFrom(tensor)
                plain.name = ""
                digest = hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()
                self._same[tensor.name] = f"initializer {digest}"
        seen: dict[tuple[object, ...], int] = {}
        for index, node in enumerate(self.nodes):
            if index in self.movers and self._copies(node):
                self._same[node.output[0]] = self.same(node.input[0])
                continue
            if node.op_type in RANDOM or _training_dropout(node) or any(True for _ in bodies(node)):
                continue
            attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
            key = (
                node.domain,
                node.op_type,
                tuple(self.same(name) if name else "" for name in node.input),
                tuple(bool(name) for name in node.output),
                tuple(attributes),
            )
            first = seen.setdefault(key, index)
            if first != index:
                self.twins.setdefault(first, []).append(index)
                for output, twin_output in zip(node.output, self.nodes[first].output, strict=True):
                    if output:
                        self._same[output] = self.same(twin_output)

    def same(self, name: str) -> str:
        """The first tensor with the same values as ``name`` by construction."""
        return self._same.get(name, name)

    def class_of(self, name: str) -> str:
        """The class of a tensor: equal for tensors that differ by movement only."""
        representative: str = self._classes[self.same(name)]
        return representative

    def members(self, of: str) -> list[str]:
        """The tensors of a class that nodes produce or a run feeds."""
        return self._members.get(of, [of])

    def makers(self, of: str) -> list[int]:
        """The compute nodes that produce a class (several where they are twins), in graph order."""
        return self._makers.get(of, [])

    def movers_of(self, of: str) -> list[int]:
        """The movement nodes within a class, in graph order."""
        return self._movers_of.get(of, [])

    def is_constant(self, index: int) -> bool:
        """Whether a node computes the same in every step."""
        outputs = outputs_of(self.nodes[index])
        return bool(outputs) and all(name in self.constant for name in outputs)

    def graph(self) -> nx.DiGraph:
        """Compute nodes and classes as a bipartite graph: ``("node", number)`` and ``("class", name)``."""
        drawn = nx.DiGraph()
        for index, node in enumerate(self.nodes):
            if index in self.movers:
                continue
            drawn.add_node(("node", index), op_type=node.op_type)
            drawn.add_edges_from((("class", self.class_of(n)), ("node", index)) for n in self.inputs[index])
            drawn.add_edges_from((("node", index), ("class", self.class_of(n))) for n in outputs_of(node))
        return drawn
