"""The optimized model, as far as a trace tells it: the executed nodes with the tensors of the graph that they make.

A trace has no tensors. But a node that the optimizer left makes what it makes in the graph, others are named after what
they make, and what no executed node is named after must be inside one of them: with onnxruntime's fusions
(:mod:`.fusions`), shapes and the order of execution, often only one is left. The model that comes out is attributed
like one that onnxruntime saved; what cannot be told makes nothing in it and stays unattributed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx
from onnx import helper

from fathom_onnx.graph import Graph, Tensor
from fathom_onnx.graph.bodies import TOP, Body, bodies, names_in, numbered
from fathom_onnx.graph.dataflow import COPIES, Dataflow, moves
from fathom_onnx.graph.tensors import tensors_by_body
from fathom_onnx.runtime.traces.foreign import TracedNode

from .absent import AbsentGroup, absent_groups, assign
from .constant_ifs import from_decided_branch
from .fusions import ACTIVATIONS, FOLDED_INTO
from .traced_names import NameMatch, match_by_name

__all__ = ["Reconstruction", "reconstruct"]

_TO_USER = frozenset({"ReorderInput", "MemcpyFromHost"})
_GEMM_INPUT = "gemm_input_reshape"
_MATMUL_ADD = "/MatMulAddFusion"
_SCALE = "/MatMulScaleFusion"
_QUANTIZED = frozenset({"int8", "uint8", "int16", "uint16"})
_IN_BRANCH = "in a branch of an If that was decided before the run; the optimized model tells"
_FED = "what a node takes that is not told"


@dataclass(frozen=True)
class Reconstruction:
    """A model of executed nodes.

    Attributes:
        model: The model; nodes have their names in the trace, and tensors as far as they are told.
        numbers: Number of a node in the model, by its number in the trace.
        untold: Number in the model to why it is not told what a node stands for.
        doubtful: Original nodes (numbers) that may be in a node of ``untold``.
    """

    model: onnx.ModelProto
    numbers: tuple[int, ...]
    untold: Mapping[int, str]
    doubtful: frozenset[int]


@dataclass
class _Whole:
    """What all graphs of a model share.

    Attributes:
        traced: The nodes of the trace.
        inside: Number of a traced control-flow node, or None for the top, to the nodes in it.
        originals: The numbers of the original nodes in each body.
        tensors: The original tensors that each body sees.
        untold: Number in the trace to why it is not told what a node stands for.
        doubtful: Original nodes that may be in one of ``untold``.
    """

    traced: Sequence[TracedNode]
    inside: Mapping[int | None, Sequence[int]]
    originals: Mapping[Body, Sequence[int]]
    tensors: Mapping[Body, Mapping[str, Tensor]]
    untold: dict[int, str] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)


def reconstruct(graph: Graph, traced: Sequence[TracedNode]) -> Reconstruction:
    """The optimized model as far as a trace tells it.

    Args:
        graph: The original graph.
        traced: The nodes of the trace, from :func:`fathom_onnx.runtime.traces.foreign.read_foreign`.
    """
    fixed = {v.name for v in graph.metadata.variables} if graph.metadata and not graph.training else set()
    inside: dict[int | None, list[int]] = defaultdict(list)
    for number, node in enumerate(traced):
        inside[node.parent].append(number)
    originals: dict[Body, list[int]] = defaultdict(list)
    for entry in numbered(graph.model.graph):
        originals[entry.parent, entry.body].append(entry.index)
    whole = _Whole(traced, inside, originals, tensors_by_body(graph.model.graph))
    model = helper.make_model(_Scope(whole, graph.model.graph, TOP, inside[None], fixed).graph())
    number_of = {entry.node.name: entry.index for entry in numbered(model.graph)}
    numbers = tuple(number_of[str(number)] for number in range(len(traced)))
    for entry in numbered(model.graph):
        entry.node.name = traced[int(entry.node.name)].name
    untold = {numbers[number]: why for number, why in whole.untold.items()}
    return Reconstruction(model, numbers, untold, frozenset(whole.doubtful))


class _Scope:
    """One graph or body, and the executed nodes in it.

    Args:
        whole: What it shares with the others.
        original: The original graph or body; an empty one where it is not known.
        where: Its place in the model.
        numbers: The executed nodes in it.
        fixed: Tensors that never change between steps.
    """

    def __init__(
        self,
        whole: _Whole,
        original: onnx.GraphProto,
        where: Body,
        numbers: Sequence[int],
        fixed: Collection[str],
    ) -> None:
        self.whole, self.original, self.where, self.numbers = whole, original, where, numbers
        self.flow = Dataflow(original, whole.tensors[where] if original.node else {}, fixed)
        self.nodes = [whole.traced[number] for number in numbers]
        self.matches = match_by_name(self.flow.nodes, self.nodes)
        self.made: dict[int, list[str]] = {}
        self.claimed: set[int] = {match.original for match in self.matches.values()}
        self.stops: set[str] = set()
        self.made_classes: set[str] = set()

    def graph(self) -> onnx.GraphProto:
        """The executed nodes with their tensors."""
        for place, match in self.matches.items():
            self.made[place] = self._outputs(self.nodes[place], match)
        self._place_the_absent()
        made = {self.flow.class_of(name) for names in self.made.values() for name in names if name}
        self.made_classes = (
            made
            | {self.flow.class_of(name) for name in self.stops}
            | {self.flow.class_of(name) for name in self.flow.fed}
        )
        protos = [self._proto(place) for place in range(len(self.nodes))]
        self._attach_movement(protos)
        fed = [helper.make_empty_tensor_value_info(name) for name in (_FED, *sorted(self.stops))]
        constants = [tensor.name for tensor in self.original.initializer]
        constants += [name for node in self.original.node if node.op_type == "Constant" for name in node.output]
        values = [onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT) for name in constants]
        return helper.make_graph(protos, self.original.name or "graph", fed, [], values)

    def _outputs(self, node: TracedNode, match: NameMatch) -> list[str]:
        """The tensors that a matched node makes; none where its name is told and what it makes is not."""
        origin = self.flow.nodes[match.original]
        outputs = list(origin.output)
        if match.tensor:
            residual = ("Add", "Sum") if node.op_type == "Conv" and _adds_to_its_output(node) else ()
            return [self._grown(match.tensor, residual, ACTIVATIONS)]
        if not outputs:
            return []
        if _MATMUL_ADD in node.name:
            outputs[0] = self._grown(outputs[0], ("Add",), ())
        if _SCALE in node.name:
            outputs[0] = self._folded(outputs[0], ("Mul", "Div"))
        if origin.op_type in FOLDED_INTO:
            outputs[0] = self._folded(outputs[0], FOLDED_INTO[origin.op_type])
        if not match.kept:
            activations = ACTIVATIONS if node.op_type.startswith(("Fused", "NhwcFused")) else ()
            residual = ("Add", "Sum") if "Conv" in node.op_type and _adds_to_its_output(node) else ()
            outputs[0] = self._grown(outputs[0], residual, activations)
        on_quantized = node.output_types[:1] and node.output_types[0] in _QUANTIZED
        if on_quantized and match.original not in self.flow.movers and not self._is_quantized(outputs[0]):
            outputs[0] = self._quantized(outputs[0])
        return outputs

    def _is_quantized(self, name: str) -> bool:
        tensor = self.flow.tensors.get(name)
        return tensor is None or tensor.dtype in _QUANTIZED

    def _quantized(self, name: str) -> str:
        """The tensor that ``name`` becomes when it is quantized, an activation on the way included."""
        after = self._next(name, ACTIVATIONS)
        quantized = self._next(name if after is None else self.flow.nodes[after].output[0], ("QuantizeLinear",))
        if quantized is None:
            return name
        self.claimed.update(i for i in (after, quantized) if i is not None)
        return str(self.flow.nodes[quantized].output[0])

    def _next(self, name: str, ops: Collection[str]) -> int | None:
        """The absent node of one of these op types that alone uses a tensor, or None."""
        users = {
            user
            for member in self.flow.members(self.flow.class_of(name))
            for user in self.flow.users.get(member, ())
            if user not in self.flow.movers
        }
        user = users.pop() if len(users) == 1 else None
        absent = user is not None and user not in self.claimed and self.flow.nodes[user].op_type in ops
        return user if absent else None

    def _grown(self, name: str, first: Collection[str], then: Collection[str]) -> str:
        """The tensor after the absent nodes that were fused into the maker of ``name``: an addition, an activation."""
        for ops in (first, then):
            after = self._next(name, ops)
            if after is not None:
                self.claimed.add(after)
                name = self.flow.nodes[after].output[0]
        return name

    def _folded(self, name: str, ops: Collection[str]) -> str:
        """The tensor after the absent nodes whose constants were folded into the maker of ``name``."""
        while True:
            after = self._next(name, ops)
            if after is None or sum(n not in self.flow.constant for n in self.flow.inputs[after]) != 1:
                return name
            self.claimed.add(after)
            name = self.flow.nodes[after].output[0]

    def _place_the_absent(self) -> None:
        """Find which of the nodes that are not told stand for which of the original nodes that are absent."""
        untold = [p for p, node in enumerate(self.nodes) if p not in self.matches and not _inserted(node)]
        made_by = {self.flow.class_of(name): p for p, names in self.made.items() for name in names if name}
        users_at: dict[int, int] = {match.original: place for place, match in self.matches.items()}
        groups = absent_groups(self.flow, self.claimed, made_by, users_at)
        found = assign({p: self.nodes[p] for p in untold}, groups)
        for place, several in found.of.items():
            self.made[place] = [name for group in several for name in group.outputs]
        branches = {p for p in found.untold if from_decided_branch(self.nodes[p].name)}
        for place, why in found.untold.items():
            self.whole.untold[self.numbers[place]] = _IN_BRANCH if place in branches else why
        for group in groups:
            if group in found.open or (branches and "If" in group.op_types):
                self._leave_open(group)

    def _leave_open(self, group: AbsentGroup) -> None:
        """Original nodes that may be in a node that is not told must not be taken for a part of the next one."""
        self.stops.update(group.outputs)
        numbers = self.whole.originals[self.where]
        self.whole.doubtful.update(numbers[index] for index in group.members)

    def _proto(self, place: int) -> onnx.NodeProto:
        number, node = self.numbers[place], self.nodes[place]
        match = self.matches.get(place)
        origin = self.flow.nodes[match.original] if match else None
        inputs = [self._taken(name) for name in origin.input] if match and origin and match.kept else [_FED]
        fresh = f"made by {number}"
        domain = origin.domain if match and origin and match.kept else _domain(node.op_type)
        proto = helper.make_node(node.op_type, inputs, self.made.get(place) or [fresh], name=str(number), domain=domain)
        around = self.whole.inside.get(number, ())
        if origin is not None and match is not None and match.kept:
            proto.attribute.extend(self._bodies(origin, self.whole.originals[self.where][match.original], around))
        elif around:
            body = _Scope(self.whole, onnx.GraphProto(), TOP, around, ())
            proto.attribute.append(helper.make_attribute("body", body.graph()))
        return proto

    def _taken(self, name: str) -> str:
        """An input as the executed node has it: what an absent node makes is made inside some executed node."""
        absent = name in self.flow.producer and name not in self.flow.constant
        return _FED if absent and self.flow.class_of(name) not in self.made_classes else name

    def _bodies(self, origin: onnx.NodeProto, index: int, numbers: Sequence[int]) -> list[onnx.AttributeProto]:
        """The bodies of a control-flow node, each with the executed nodes that are in it."""
        several = dict(bodies(origin))
        nodes = [self.whole.traced[number] for number in numbers]
        known = {name: match_by_name(body.node, nodes) for name, body in several.items()}
        inside: dict[str, list[int]] = {name: [] for name in several}
        for place, number in enumerate(numbers):
            names = [name for name in several if place in known[name]]
            likely = names or [name for name in several if known[name]] or list(several)
            inside[likely[0]].append(number)
        made = []
        for name, body in several.items():
            fixed = self.flow.constant - names_in(body)
            scope = _Scope(self.whole, body, (index, name), inside[name], fixed)
            made.append(helper.make_attribute(name, scope.graph()))
        return made

    def _attach_movement(self, protos: Sequence[onnx.NodeProto]) -> None:
        """Tie movement that the optimizer inserted to the nearest node that makes, or takes, a tensor of its size."""
        told = [p for p in range(len(self.nodes)) if self.made.get(p) and p in self.matches]
        for place, node in enumerate(self.nodes):
            if place in self.matches or not _inserted(node):
                continue
            to_user = node.op_type in _TO_USER or node.name.startswith(_GEMM_INPUT)
            near = [p for p in told if p > place] if to_user else [p for p in reversed(told) if p < place]
            size = _elements(node.input_shapes if to_user else node.output_shapes)
            fitting = [p for p in near if size is not None and size in self._sizes(p, to_user)]
            beside = next(iter([*fitting, *near]), None)
            if beside is None:
                continue
            if to_user:
                protos[beside].input.append(protos[place].output[0])
                taken = [n for n in self.flow.nodes[self.matches[beside].original].input if n]
                protos[place].input[:] = taken[:1]
            else:
                protos[place].input[:] = self.made[beside][:1]

    def _sizes(self, place: int, of_inputs: bool) -> set[int | None]:
        names = self.flow.nodes[self.matches[place].original].input if of_inputs else self.made[place]
        known = (self.flow.tensors.get(name) for name in names)
        return {tensor.elements for tensor in known if tensor and tensor.elements is not None}


def _inserted(node: TracedNode) -> bool:
    """Whether a node that is not in the graph is movement."""
    proto = helper.make_node(node.op_type, ["x"], ["y"])
    return node.op_type in COPIES or moves(proto) or node.op_type == "Cast"


def _adds_to_its_output(node: TracedNode) -> bool:
    """Whether a convolution takes a tensor of its output's shape beside its data: one that it adds to the output."""
    return node.output_shapes[:1] != () and node.output_shapes[0] in node.input_shapes[1:]


def _domain(op_type: str) -> str:
    """A domain that knows the op: that of onnx, else onnxruntime's own."""
    return "" if onnx.defs.has(op_type) else "com.microsoft"


def _elements(shapes: Sequence[tuple[int, ...]]) -> int | None:
    if not shapes:
        return None
    size = 1
    for dim in shapes[0]:
        size *= dim
    return size
