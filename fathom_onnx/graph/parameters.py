"""Parameters of a graph: how many elements of weights each node is the first to use.

One of our graphs names its trained variables. In any other graph the weights are its constants (initializers, sparse
ones, Constant nodes; of the top level and of bodies, each with the names of its own body), save what is no weight:
scalars, single elements in plain arithmetic, running statistics, sizes and scales, and integers, unless they are
quantized weights (:mod:`.weights`). A weight may reach the node that uses it through nodes that only move, cast,
quantize or dequantize it. A weight that several nodes use counts once, with the first.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping

import onnx

from .bodies import TOP, Body, bodies, names_in, numbered, outputs_of
from .model import Graph
from .weights import CARRIERS, Constant, carried, weights_in

__all__ = ["parameters_by_node"]

_Known = Mapping[str, Constant | None]
"""What a name stands for in a body: a constant, or None for a tensor that is none."""


def parameters_by_node(graph: Graph) -> dict[int, int]:
    """Elements of the weights that each node is the first to use, by the node's number, for the nodes that use any.

    Numbers are those of :func:`~.bodies.numbered`, bodies included.
    """
    if graph.metadata is not None:
        return _of_variables(graph)
    counter = _Counter()
    counter.walk(graph.model.graph, [], TOP)
    return dict(sorted(counter.elements_of.items()))


def _of_variables(graph: Graph) -> dict[int, int]:
    """Trained variables of one of our graphs, each with the first node that takes it."""
    trained = set(graph.metadata.parameters) if graph.metadata else set()
    left = {v.name: math.prod(v.shape) for v in graph.metadata.variables if v.name in trained} if graph.metadata else {}
    elements_of: dict[int, int] = {}
    for entry in numbered(graph.model.graph):
        for name in entry.node.input:
            if name in left:
                elements_of[entry.index] = elements_of.get(entry.index, 0) + left.pop(name)
    return elements_of


class _Counter:
    """Walks a graph and its bodies in the order of their numbers."""

    def __init__(self) -> None:
        self.elements_of: dict[int, int] = {}
        self.seen: set[tuple[Body, str]] = set()
        self.count = 0

    def walk(
        self,
        part: onnx.GraphProto,
        around: list[MutableMapping[str, Constant | None]],
        where: Body,
        handed: _Known | None = None,
    ) -> None:
        """Count the weights of one level.

        Args:
            part: The top graph or a body.
            around: What the names around it stand for, the innermost body first.
            where: Where it stands.
            handed: Its inputs that are constants.
        """
        own: dict[str, Constant | None] = dict.fromkeys(names_in(part))
        own.update(handed or {})
        own.update(_stored(part, where))
        known = ChainMap(own, *around)
        given = {value.name for value in part.output}
        single: set[str] = set()
        for node in part.node:
            index, self.count = self.count, self.count + 1
            if _single_column(node, known):
                single.update(outputs_of(node))
            constant = known.get(node.input[0]) if node.op_type in CARRIERS and node.input else None
            if constant is not None and node.output[0] not in given:
                own[node.output[0]] = carried(node, constant)
            else:
                bias = node.op_type == "Add" and not single.isdisjoint(node.input)
                self._take(node, index, known, bias)
            for name, body in bodies(node):
                self.walk(body, known.maps, (index, name), _handed(node, body, known))

    def _take(self, node: onnx.NodeProto, index: int, known: _Known, bias: bool) -> None:
        for position, name in enumerate(node.input):
            constant = known.get(name)
            if constant is None or constant.source in self.seen:
                continue
            elements = weights_in(node, position, constant, bias)
            if elements:
                self.seen.add(constant.source)
                self.elements_of[index] = self.elements_of.get(index, 0) + elements


def _stored(part: onnx.GraphProto, where: Body) -> Iterator[tuple[str, Constant]]:
    """The constants that one level holds, by name: initializers and Constant nodes."""
    for tensor in part.initializer:
        yield tensor.name, Constant.stored(where, tensor.name, tensor.dims, tensor.data_type)
    for sparse in part.sparse_initializer:
        name = sparse.values.name
        yield name, Constant.stored(where, name, sparse.dims, sparse.values.data_type)
    for node in part.node:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            continue
        name = node.output[0]
        for attribute in node.attribute:
            if attribute.name == "value":
                yield name, Constant.stored(where, name, attribute.t.dims, attribute.t.data_type)
            elif attribute.name == "sparse_value":
                sparse = attribute.sparse_tensor
                yield name, Constant.stored(where, name, sparse.dims, sparse.values.data_type)
            elif attribute.name == "value_floats":
                yield name, Constant.stored(where, name, [len(attribute.floats)], onnx.TensorProto.FLOAT)


def _single_column(node: onnx.NodeProto, known: _Known) -> bool:
    """Whether a node is a product with a weight of one column: what is added to it is a bias, though of one element."""
    weight = known.get(node.input[1]) if node.op_type == "MatMul" and len(node.input) > 1 else None
    return weight is not None and len(weight.dims) > 1 and weight.dims[-1] == 1


def _handed(node: onnx.NodeProto, body: onnx.GraphProto, known: _Known) -> dict[str, Constant | None]:
    """The inputs of a body that hold the same constant in every execution, or slices of one."""
    inputs = {}
    if node.op_type == "SequenceMap":
        inputs = dict(zip((i.name for i in body.input), node.input, strict=False))
    elif node.op_type in ("Loop", "Scan"):
        # of a Scan the sequences' lengths came first once, and of a Loop's body the iteration and the condition
        outer, inner = list(node.input), [i.name for i in body.input]
        before = 2 if node.op_type == "Loop" else 0
        if node.op_type == "Scan":
            outer = outer[-len(inner) :] if inner else []
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        states = len(inner) - scanned
        results = [o.name for o in body.output][1 if node.op_type == "Loop" else 0 :]
        source = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity" and n.input}
        for place, (name, value) in enumerate(zip(inner[before:], outer[before:], strict=False)):
            result = results[place] if place < len(results) else ""
            while result in source:
                result = source[result]
            if place >= states - before or result == name:
                inputs[name] = value
    return {name: known.get(value) for name, value in inputs.items() if known.get(value) is not None}
