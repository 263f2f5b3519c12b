"""Liveness: the memory that a step's tensors need, from the lifetime of each tensor in the order of the graph.

A tensor lives from the node that produces it to its last user; inputs live from the start, outputs to the end. At a
node its inputs and its outputs are alive together: no node computes in place. A view (a reshape, an identity) is its
input's buffer. Parameters, constants, state and the buffers of the state's new values are counted separately: they
exist before the step. A body of control flow adds its own peak to the tensors that are alive around it; of the bodies
that a node chooses from it is the one that runs, or the one that needs most where that is not known. A name means a
tensor in one body: two bodies, or a body and what is around it, may use it for different tensors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import TOP, Body, NumberedNode, bodies, constants_in, inputs_of, numbered, outputs_of
from fathom_onnx.graph.dataflow import moves
from fathom_onnx.graph.labels import Label, label_nodes
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.values import opset_of
from fathom_onnx.graph.tensors import tensors_of
from fathom_onnx.vocabulary import PHASES

__all__ = ["VIEWS", "LiveTensor", "Liveness", "Residents", "liveness", "liveness_of", "residents_of", "sizes_by_body"]

VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"})
"""Ops whose output is their first input's buffer (Dropout where it drops nothing)."""

LARGEST = 10
"""Tensors that are named at the peak."""

_FORWARD = PHASES[0]
_AFTER_LOSS = frozenset({"backward", "optimizer"})


@dataclass(frozen=True)
class LiveTensor:
    """A buffer: the tensor it was allocated for, and the phase and layer that produced it (both empty for inputs)."""

    name: str
    size_bytes: int
    phase: str
    layer: str


@dataclass(frozen=True)
class Residents:
    """Names of the tensors that are there before a step, and of those that the next step finds there."""

    parameters: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()
    next_state: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Liveness:
    """The memory of one step of a graph. Sizes are bytes, of tensors whose size is known.

    Attributes:
        peak_bytes: Most bytes of tensors that are alive at once, without parameters and state; a lower bound where
            ``unknown`` is not empty.
        peak_node: The first node at which that is so.
        largest: The largest tensors alive there, largest first.
        parameters_bytes: Parameters (what no step changes is one), initializers and constants.
        state_bytes: What a step reads and replaces and is no parameter: moments, running statistics, counters.
        next_state_bytes: New values of parameters and state, where each has a place of its own.
        kept_bytes: Tensors of the forward phase that the backward phase or the optimizer uses.
        by_layer: Layer to bytes of all the tensors that its nodes make in any phase, in the graph's order.
        live_bytes: Bytes alive at each top-level node, in the order of execution.
        unknown: Tensors without a known size, which count nowhere.
    """

    peak_bytes: int
    peak_node: str
    largest: tuple[LiveTensor, ...]
    parameters_bytes: int
    state_bytes: int
    next_state_bytes: int
    kept_bytes: int
    by_layer: dict[str, int]
    live_bytes: npt.NDArray[np.int64]
    unknown: tuple[str, ...]


@dataclass
class _Buffer:
    """A buffer of one level: alive from step ``first`` to step ``last`` of it, both included.

    ``kept`` says that the backward phase or the optimizer uses what the forward phase made.
    """

    tensor: LiveTensor
    first: int
    last: int
    kept: bool = False


@dataclass
class _Level:
    """What one level (the top or a body) needs: bytes at each of its nodes, and what is there at its peak."""

    live: npt.NDArray[np.int64]
    peak_node: str
    at_peak: tuple[LiveTensor, ...]

    @property
    def peak(self) -> int:
        """Most bytes of the level."""
        return int(self.live.max(initial=0))


class _Walk:
    """Follows all levels of a graph and adds up what does not depend on the moment.

    Args:
        nodes: The nodes, numbered.
        labels: Their labels.
        sizes: Bytes by tensor, for each body.
        apart: Tensors of the top level that count apart: parameters, state and its new values.
        idle: Bodies that do not run.
    """

    def __init__(
        self,
        nodes: Sequence[NumberedNode],
        labels: Sequence[Label | None],
        sizes: Mapping[Body, Mapping[str, int | None]],
        apart: Collection[str],
        idle: Collection[Body],
    ) -> None:
        self.nodes, self.labels, self.sizes, self.apart, self.idle = nodes, labels, sizes, apart, idle
        self.by_layer: dict[str, int] = defaultdict(int)
        self.unknown: dict[str, None] = {}
        self.kept = 0
        self.inside: dict[Body, list[int]] = defaultdict(list)
        for entry in nodes:
            self.inside[entry.parent, entry.body].append(entry.index)

    def level(self, graph: onnx.GraphProto, where: Body = TOP, order: Sequence[int] | None = None) -> _Level:
        """The memory of one level, its nodes in ``order`` (numbers), or in the graph's."""
        steps = list(order if order is not None else self.inside[where])
        apart = _constants(graph) | (frozenset(self.apart) if where == TOP else frozenset())
        buffers: dict[str, _Buffer] = {}
        for fed in graph.input:
            if fed.name not in apart:
                self._make(buffers, fed.name, where, 0, None)
        inner: list[_Level | None] = []
        for place, index in enumerate(steps):
            node = self.nodes[index].node
            for name in inputs_of(node):
                if name in buffers:
                    self._use(buffers[name], place, self.labels[index])
            view = node.op_type in VIEWS and moves(node)
            for name in outputs_of(node):
                if view and node.input[0] in buffers:
                    buffers[name] = buffers[node.input[0]]
                elif not view and name not in apart:
                    self._make(buffers, name, where, place, self.labels[index])
            parts = [self.level(part, (index, name)) for name, part in bodies(node) if (index, name) not in self.idle]
            inner.append(max(parts, key=lambda level: level.peak, default=None))
        for given in graph.output:
            if given.name in buffers:
                buffers[given.name].last = len(steps) - 1
        return self._sum(steps, list({id(b): b for b in buffers.values()}.values()), inner)

    def _make(self, buffers: dict[str, _Buffer], name: str, where: Body, place: int, label: Label | None) -> None:
        size = self.sizes.get(where, {}).get(name)
        if size is None:
            self.unknown[name] = None
            return
        buffers[name] = _Buffer(
            LiveTensor(name, size, *((label.phase, label.layer) if label else ("", ""))), place, place
        )
        if label:
            self.by_layer[label.layer] += size

    def _use(self, buffer: _Buffer, place: int, user: Label | None) -> None:
        buffer.last = place
        if not buffer.kept and buffer.tensor.phase == _FORWARD and user and user.phase in _AFTER_LOSS:
            buffer.kept = True
            self.kept += buffer.tensor.size_bytes

    def total(self, names: Iterable[str], where: Body) -> int:
        """Bytes of some tensors of one level; those of unknown size are noted."""
        known = {name: self.sizes.get(where, {}).get(name) for name in names}
        self.unknown.update(dict.fromkeys(name for name in sorted(known) if known[name] is None))
        return sum(size for size in known.values() if size is not None)

    def _sum(self, steps: Sequence[int], buffers: Sequence[_Buffer], inner: Sequence[_Level | None]) -> _Level:
        if not steps:  # the optimizer left no node: outputs are inputs
            return _Level(np.zeros(0, np.int64), "", ())
        change = np.zeros(len(steps) + 1, np.int64)
        for buffer in buffers:
            change[buffer.first] += buffer.tensor.size_bytes
            change[buffer.last + 1] -= buffer.tensor.size_bytes
        live = change.cumsum()[:-1] + np.array([level.peak if level else 0 for level in inner], np.int64)
        top = int(live.argmax())
        there = [b.tensor for b in buffers if b.first <= top <= b.last]
        within = inner[top]
        if within is not None and within.peak:
            return _Level(live, within.peak_node, (*there, *within.at_peak))
        node, label = self.nodes[steps[top]].node, self.labels[steps[top]]
        return _Level(live, label.name if label else node.name or node.op_type, tuple(there))


def _constants(graph: onnx.GraphProto) -> frozenset[str]:
    """Initializers of one level and outputs of its Constant nodes."""
    made = (node.output for node in graph.node if node.op_type == "Constant")
    return frozenset(constants_in(graph).union(*made))


def residents_of(graph: Graph) -> Residents:
    """What is there before a step: by the metadata of one of our graphs; the initializers of any other."""
    if graph.metadata is None:
        return Residents()
    carried = frozenset(name for _, name in graph.metadata.state)
    # what no step changes is a parameter whether it was trained or not: running statistics in inference
    state = carried - frozenset(graph.metadata.parameters)
    parameters = frozenset(v.name for v in graph.metadata.variables) - state
    return Residents(parameters, state, frozenset(output for output, _ in graph.metadata.state))


def liveness_of(
    graph: onnx.GraphProto,
    sizes: Mapping[Body, Mapping[str, int | None]],
    labels: Sequence[Label | None],
    residents: Residents,
    order: Sequence[int] | None = None,
    idle: Collection[Body] = (),
) -> Liveness:
    """The memory of a step of any graph, an optimized one as well.

    Args:
        graph: The graph.
        sizes: Bytes of the tensors of each body and of the top level, as far as they are known.
        labels: A label for each node in the order of :func:`~fathom_onnx.graph.bodies.numbered`; None for a node
            that stands for nothing known.
        residents: What is there before the step; initializers and constants of the graph are added to its parameters.
        order: Numbers of the top-level nodes in the order of execution; the graph's own order when not given.
        idle: Bodies that do not run in the step. Their constants are there all the same.
    """
    nodes = numbered(graph)
    walk = _Walk(nodes, labels, sizes, residents.parameters | residents.state | residents.next_state, idle)
    top = walk.level(graph, order=order)
    present = {t.name for t in [*graph.input, *graph.output]}
    parameters = walk.total(_constants(graph) | (residents.parameters & present), TOP)
    for entry in nodes:
        parameters += sum(walk.total(_constants(body), (entry.index, name)) for name, body in bodies(entry.node))
    largest = sorted(top.at_peak, key=lambda t: (-t.size_bytes, t.name))[:LARGEST]
    return Liveness(
        peak_bytes=top.peak,
        peak_node=top.peak_node,
        largest=tuple(largest),
        parameters_bytes=parameters,
        state_bytes=walk.total(residents.state & present, TOP),
        next_state_bytes=walk.total(residents.next_state & present, TOP),
        kept_bytes=walk.kept,
        by_layer=dict(walk.by_layer),
        live_bytes=top.live,
        unknown=tuple(walk.unknown),
    )


def liveness(graph: Graph, idle: Collection[Body] = (), labels: Sequence[Label] | None = None) -> Liveness:
    """The memory of one step of a graph, its nodes in the order of the file, without running it.

    Args:
        graph: The graph.
        idle: Bodies that are known not to run.
        labels: Labels of all nodes, where they are known.
    """
    model = graph.model.graph
    sizes = sizes_by_body(model)
    for where, known in known_by_body(model, opset_of(graph.model)).items():
        sizes[where].update((name, tensor.size_bytes) for name, tensor in known.sequences_as_tensors().items())
    labels = label_nodes(numbered(model)) if labels is None else labels
    return liveness_of(model, sizes, labels, residents_of(graph), idle=idle)


def sizes_by_body(graph: onnx.GraphProto) -> dict[Body, dict[str, int | None]]:
    """Bytes of the tensors that each body of a graph, and its top level, has of its own, by name."""
    parts = {TOP: graph}
    parts.update({(entry.index, name): body for entry in numbered(graph) for name, body in bodies(entry.node)})
    return {
        where: {name: tensor.size_bytes for name, tensor in tensors_of(part).items()} for where, part in parts.items()
    }
