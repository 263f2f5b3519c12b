"""The pass that gives every image of a graph its layout, so that as few transposes as possible are left."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from fathom_exporters.lowering.values import known_shape

from .cut import Choice, Cut
from .permutations import RANKS, keeps_order, permuted, to_first, to_last
from .rules import Agnostic, agnostic

__all__ = ["AssignLayouts"]

_TRANSPOSE, _RESHAPE = 1000, 1
"""What a transpose and a reshape cost. A transpose of more elements costs up to a tenth more."""


@dataclass(eq=False)
class _Image:
    """An image, whatever its layout.

    Attributes:
        value: The tensor as its producer makes it.
        source: The label of its layout there: False for channels last, True for first, or the node that decides.
        users: The labels of the layouts in which it is read.
        shape: Its shape with the channels last.
        forms: Label to the tensor with that layout.
    """

    value: ir.Value
    source: Choice
    shape: list[int]
    users: list[Choice] = field(default_factory=list)
    forms: dict[bool, ir.Value] = field(default_factory=dict)

    @property
    def cost(self) -> int:
        """The cost of its second layout; a constant has both."""
        if self.value.is_initializer():
            return 0
        if keeps_order(self.shape, to_first(len(self.shape))):
            return _RESHAPE
        return _TRANSPOSE + min(math.prod(self.shape) // 1000, _TRANSPOSE // 10)


class _Images:
    """The images of a graph: each tensor is one of them in one of the layouts.

    Attributes:
        of: Tensor to image and the label of the tensor's layout.
        moves: Transposes that only change the layout.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.of: dict[ir.Value, tuple[_Image, bool]] = {}
        self.moves: set[ir.Node] = set()
        for value in [*graph.inputs, *graph.initializers.values()]:
            self._add(value)
        for node in graph:
            if not self._is_move(node):
                for value in node.outputs:
                    self._add(value)

    def _add(self, value: ir.Value) -> None:
        shape = known_shape(value)
        if shape is None or len(shape) not in RANKS:
            return
        rank = len(shape)
        # for one side both permutations are the same
        first = rank > 3 and any(_perm(user) == to_last(rank) for user, _ in value.uses())
        last_shape = permuted(shape, to_last(rank)) if first else list(shape)
        self.of[value] = (_Image(value, first, last_shape), first)

    def _is_move(self, node: ir.Node) -> bool:
        perm, source = _perm(node), node.inputs[0] if node.inputs else None
        if perm is None or source not in self.of:
            return False
        image, first = self.of[source]
        if perm != (to_last if first else to_first)(len(perm)):
            return False
        self.of[node.outputs[0]] = (image, not first)
        self.moves.add(node)
        return True


def _perm(node: ir.Node) -> list[int] | None:
    return list(node.attributes["perm"].as_ints()) if node.op_type == "Transpose" and not node.domain else None


class AssignLayouts(ir.passes.InPlacePass):
    """Images have the channels first or last wherever that needs the fewest transposes in the whole graph.

    An op on images has its layout fixed, and so have the graph's inputs and outputs and what reads the elements in
    their order (a Reshape to a matrix). All else, such as sums, means, concatenations and activations, does the same in
    either. The layouts of these are a minimum cut: an image that is read in another layout than it is made in costs a
    transpose, once for all its readers; where it has only one axis of more than one element, as a mean over all pixels
    has, only a reshape.

    Exact: the elements are the same and no arithmetic changes; a sum over the pixels may add them in another order.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        graph = model.graph
        images = _Images(graph)
        if all(len(_perm(node) or ()) == 3 for node in images.moves):  # matrices, not images
            return ir.passes.PassResult(model, False)
        rules = self._choices(graph, images)
        labels = self._labels(graph, images, rules)
        _Rewriter(graph, images, rules, labels).run()
        return ir.passes.PassResult(model, True)

    @staticmethod
    def _choices(graph: ir.Graph, images: _Images) -> dict[ir.Node, Agnostic]:
        """The nodes that may have either layout."""
        found = {}
        for node in graph:
            rule = agnostic(node) if node not in images.moves else None
            if rule is None:
                continue
            values = [node.inputs[index] for index in rule.follow] + list(node.outputs)
            if any(images.of[value][1] for value in values if value in images.of):
                continue  # within an op on images: the channels are first already
            found[node] = rule
            for value in node.outputs:
                if value in images.of:
                    images.of[value][0].source = node
        return found

    @staticmethod
    def _labels(graph: ir.Graph, images: _Images, rules: dict[ir.Node, Agnostic]) -> dict[Choice, bool]:
        cut = Cut()
        for node in graph:
            if node in images.moves:
                continue
            rule = rules.get(node)
            follow = rule.follow if rule is not None else ()
            for index, value in enumerate(node.inputs):
                if value in images.of:
                    image, label = images.of[value]
                    image.users.append(node if index in follow else label)
            if rule is None:
                continue
            for index in rule.aligned:
                shape = _whole(node, index)
                value = node.inputs[index]
                is_constant = value is not None and value.is_initializer()
                is_reshape = is_constant or keeps_order(shape, to_first(len(shape)))
                cut.prefer(node, False, _RESHAPE if is_reshape else _TRANSPOSE)
        for value in graph.outputs:
            if value in images.of:
                image, label = images.of[value]
                image.users.append(label)
        for image in dict.fromkeys(image for image, _ in images.of.values()):
            if image.users and image.cost:
                cut.connect(image.source, image.users, image.cost)
        return cut.solve()


def _whole(node: ir.Node, index: int) -> list[int]:
    """The shape of an input that broadcasts, with all axes of the output."""
    shape, rank = known_shape(node.inputs[index]) or (), len(known_shape(node.outputs[0]) or ())
    return [1] * (rank - len(shape)) + list(shape)


class _Rewriter:
    """Writes the graph with the layouts that were chosen."""

    def __init__(
        self, graph: ir.Graph, images: _Images, rules: dict[ir.Node, Agnostic], labels: dict[Choice, bool]
    ) -> None:
        self._graph, self._images, self._rules, self._labels = graph, images, rules, labels
        self._numbers = itertools.count()
        self._ints: dict[tuple[int, ...], ir.Value] = {}

    def run(self) -> None:
        """Write it."""
        nodes = [node for node in self._graph if node not in self._images.moves]
        for image, _ in self._images.of.values():
            image.forms[self._labels.get(image.source, False)] = image.value
        for node in nodes:
            rule = self._rules.get(node)
            first = rule is not None and self._labels.get(node, False)
            for index, value in enumerate(node.inputs):
                if value in self._images.of:
                    label = first if rule is not None and index in rule.follow else self._images.of[value][1]
                    node.replace_input_with(index, self._form(self._images.of[value][0], label, node))
            if rule is not None and first:
                self._move(node, rule)
        for index, value in enumerate(self._graph.outputs):
            if value in self._images.of:
                image, label = self._images.of[value]
                self._put_out(index, value, image, label)
        for node in reversed(list(self._graph)):
            if node in self._images.moves and not any(v.uses() or v.is_graph_output() for v in node.outputs):
                self._graph.remove(node, safe=True)

    def _move(self, node: ir.Node, rule: Agnostic) -> None:
        """Make a node one on images with the channels first."""
        for index in rule.aligned:
            node.replace_input_with(index, self._aligned(node, index))
        for index, values in rule.ints.items():
            node.replace_input_with(index, self._constant(values))
        for name, value in rule.attributes.items():
            attribute = ir.AttrInt64(name, value) if isinstance(value, int) else ir.AttrInt64s(name, value)
            node.attributes[name] = attribute
        for value in node.outputs:
            shape = known_shape(value)
            if shape is not None and len(shape) in RANKS:
                value.shape = ir.Shape(permuted(shape, to_first(len(shape))))

    def _aligned(self, node: ir.Node, index: int) -> ir.Value:
        """An input of fewer axes for a node with the channels first, without leading axes of one element."""
        value, whole = node.inputs[index], _whole(node, index)
        assert value is not None
        perm = to_first(len(whole))
        shape = permuted(whole, perm)
        while len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
        if value.is_initializer() and value.const_value is not None:
            array = value.const_value.numpy().reshape(whole).transpose(perm).reshape(shape)
            return self._initializer(array)
        if keeps_order(whole, perm):
            return self._reshaped(value, shape, node)
        spread = value if list(known_shape(value) or ()) == whole else self._reshaped(value, whole, node)
        return self._made(node, "Transpose", [spread], permuted(whole, perm), value, {"perm": perm})

    def _form(self, image: _Image, label: bool, user: ir.Node) -> ir.Value:
        """An image in a layout; made before ``user``, the first to read it, if it is not there yet."""
        if label not in image.forms:
            (value,) = image.forms.values()
            rank = len(image.shape)
            shape = permuted(image.shape, to_first(rank)) if label else list(image.shape)
            perm = to_first(rank) if label else to_last(rank)
            if value.is_initializer() and value.const_value is not None:
                made = self._initializer(value.const_value.numpy().transpose(perm))
            elif keeps_order(image.shape, to_first(rank)):
                made = self._reshaped(value, shape, user)
            else:
                made = self._made(user, "Transpose", [value], shape, value, {"perm": perm})
            image.forms[label] = made
        return image.forms[label]

    def _put_out(self, index: int, value: ir.Value, image: _Image, label: bool) -> None:
        """Make the graph's output an image in its layout, with its name."""
        made = image.forms.get(label)
        if made is value:
            return
        if made is None or made.is_graph_output() or made.is_graph_input():
            source = made if made is not None else image.forms[not label]
            maker = value.producer()
            assert maker is not None
            perm = (to_first if label else to_last)(len(image.shape))
            op_type, attributes = ("Identity", None) if made is not None else ("Transpose", {"perm": perm})
            node = ir.node(op_type, [source], attributes, metadata_props=dict(maker.metadata_props))
            made = image.forms[label] = node.outputs[0]
            made.shape = ir.Shape(permuted(image.shape, to_first(len(image.shape))) if label else image.shape)
            made.type = value.type
            self._graph.append(node)
        name, value.name = value.name, f"layout_{next(self._numbers)}"
        made.name = name
        self._graph.outputs[index] = made

    def _reshaped(self, value: ir.Value, shape: list[int], user: ir.Node) -> ir.Value:
        return self._made(user, "Reshape", [value, self._constant(shape)], shape, value)

    def _made(
        self,
        user: ir.Node,
        op_type: str,
        inputs: list[ir.Value],
        shape: list[int],
        like: ir.Value,
        attributes: dict[str, list[int]] | None = None,
    ) -> ir.Value:
        """The output of a node before ``user``, with its tag."""
        node = ir.node(op_type, inputs, attributes, metadata_props=dict(user.metadata_props))
        made = node.outputs[0]
        made.name = f"layout_{next(self._numbers)}"
        made.shape, made.type = ir.Shape(shape), like.type
        self._graph.insert_before(user, node)
        return made

    def _constant(self, values: Sequence[int]) -> ir.Value:
        key = tuple(values)
        if key not in self._ints:
            self._ints[key] = self._initializer(np.array(values, np.int64))
        return self._ints[key]

    def _initializer(self, array: npt.NDArray[Any]) -> ir.Value:
        value = ir.Value(
            name=f"layout_constant_{next(self._numbers)}",
            const_value=ir.tensor(np.ascontiguousarray(array)),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape(array.shape),
        )
        self._graph.register_initializer(value)
        return value
