"""What is known of a graph before a run, body by body: tensors, values and sequences."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, MutableMapping

import numpy as np
import onnx

from fathom_onnx.graph.bodies import TOP, Body, bodies, names_in
from fathom_onnx.graph.tensors import tensors_by_body

from .executions import executions_of
from .sequences import Known, KnownSequence, declared_sequence, made_sequences, with_declared
from .values import Values, computed_values, constants_of

__all__ = ["known_by_body"]


def known_by_body(graph: onnx.GraphProto, opset: int) -> dict[Body, Known]:
    """What is known in each body of a graph, and at its top.

    Args:
        graph: The graph, with inferred shapes.
        opset: Version of the default domain.
    """
    walk = _Walk(graph, opset)
    walk.level(graph, [], [], {}, TOP, {})
    return walk.known


class _Walk:
    """Goes through all levels of a graph in the order of its nodes."""

    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self.tensors, self.opset = tensors_by_body(graph), opset
        self.known: dict[Body, Known] = {}
        self.count = 0

    def level(
        self,
        part: onnx.GraphProto,
        around: list[MutableMapping[str, KnownSequence | None]],
        taken: list[Collection[str]],
        outer: Values,
        where: Body,
        handed: Mapping[str, KnownSequence],
    ) -> None:
        """Find what is known in one level.

        Args:
            part: The top graph or a body.
            around: Sequences around it, those of the innermost body first.
            taken: All names of each of these levels.
            outer: Values around it.
            where: Where it stands.
            handed: Sequences that the node around it gives to its inputs.
        """
        names = names_in(part)
        # a name that has another meaning around it may be a sequence there
        own: dict[str, KnownSequence | None] = {n: None for n in names if any(n in outside for outside in taken)}
        declared = ((i.name, declared_sequence(i)) for i in [*part.value_info, *part.input, *part.output])
        own.update((name, sequence) for name, sequence in declared if sequence is not None)
        own.update((name, with_declared(given, own.get(name))) for name, given in handed.items())
        values = {name: value for name, value in outer.items() if name not in names} | constants_of(part)
        known = self.known[where] = Known(self.tensors[where], values, ChainMap(own, *around))
        for node in part.node:
            index, self.count = self.count, self.count + 1
            values.update(self._values(node, known))
            inside = dict(bodies(node))
            times = executions_of(node, inside, known, self.opset) if inside else {}
            for name, body in inside.items():
                self.level(body, [own, *around], [names, *taken], values, (index, name), _handed(node, body, known))
            inner, (executions, _) = self.tensors.get((index, "body"), {}), times.get("body", (None, ""))
            for name, made in made_sequences(node, known, inner, executions).items():
                own[name] = with_declared(made, own.get(name))

    def _values(self, node: onnx.NodeProto, known: Known) -> Values:
        """The values of a node's results, where they are known."""
        if node.op_type in ("Shape", "Size", "SequenceLength") and node.domain in ("", "ai.onnx"):
            return _size(node, known)
        return computed_values(node, known.values, self.opset)


def _size(node: onnx.NodeProto, known: Known) -> Values:
    """The shape of a tensor, a part of it, the number of its elements, or the length of a sequence."""
    name, shape = node.output[0], known.tensor(node.input[0]).shape
    if node.op_type == "SequenceLength":
        length = known.sequence(node.input[0]).length
        return {} if length is None else {name: np.array(length, np.int64)}
    if shape is None:
        return {}
    if node.op_type == "Size":
        return {name: np.array(np.prod(shape, dtype=np.int64))}
    part = {a.name: int(a.i) for a in node.attribute}
    return {name: np.array(shape[part.get("start", 0) : part.get("end", len(shape))], np.int64)}


def _handed(node: onnx.NodeProto, body: onnx.GraphProto, known: Known) -> dict[str, KnownSequence]:
    """What a node says of the sequences that its body takes: nothing of a loop's, which differ by iteration."""
    if node.op_type != "SequenceMap":
        return {}
    pairs = list(zip(body.input, node.input, strict=False))[1:]
    return {i.name: known.sequence(n) for i, n in pairs if i.type.WhichOneof("value") == "sequence_type"}
