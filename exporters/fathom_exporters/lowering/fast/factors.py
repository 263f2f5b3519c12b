"""Updates of parameters with fewer passes over memory by scalars: clipped gradients and second moments.

Exact up to rounding, for scalars s, t, c and k and a gradient g of a parameter:

* ``(g s) t`` is ``g (s t)``: a gradient that is clipped and then multiplied by the learning rate is read once less
  (:class:`MergeFactors`);
* the second moment ``v' = b v + c g g`` of Adam and RMSProp is ``b v + r r`` with ``r = sqrt(c) g``. What else reads g
  reads r: ``k g`` is ``(k / sqrt(c)) r``, ``m + k (g - m)`` is ``(1 - k) m + (k / sqrt(c)) r``, and ``k (g / u)`` is
  ``(k / sqrt(c)) (r / u)``. To make r costs nothing where g is a product of two matrices, which onnxruntime multiplies
  by a constant as it is made (its MatMulScaleFusion), or is a gradient times a scalar of the step already
  (:class:`ScaleGradients`). Of 12 passes of Adam over memory 11 are left, of RMSProp's 9 there are 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import onnx_ir as ir

from fathom_exporters.lowering.builder import Builder
from fathom_exporters.lowering.tags import Tag
from fathom_exporters.lowering.values import known_shape, operands

from .scalars import begin_step, constant_operand, only_user, product, scalar_operand

__all__ = ["MergeFactors", "ScaleGradients"]

_LEAST = 1e-30
"""Below it, the root of a factor of squares would make float32 of gradients that are none."""


def _optimizer_tag(node: ir.Node) -> Tag | None:
    tag = Tag.of(node)
    return tag if tag is not None and tag.phase == "optimizer" and not node.domain else None


class MergeFactors(ir.passes.InPlacePass):
    """One product of a tensor with a scalar for two in a row, in the optimizer phase."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        b = Builder(model.graph, "merged")
        modified = False
        for inner in list(model.graph):
            outer, index = only_user(inner, "Mul"), scalar_operand(inner) if inner.op_type == "Mul" else None
            factor, tag = scalar_operand(outer), _optimizer_tag(outer) if outer is not None else None
            if outer is None or index is None or factor is None or tag is None or _optimizer_tag(inner) is None:
                continue
            scalars = operands(inner)[index], operands(outer)[factor]
            begin_step(b, tag)
            both = product(b, *scalars)
            model.graph.insert_before(outer, b.nodes)
            outer.replace_input_with(factor, both)
            outer.replace_input_with(1 - factor, inner.inputs[1 - index])
            model.graph.remove(inner, safe=True)
            modified = True
        return ir.passes.PassResult(model, modified)


@dataclass
class _Uses:
    """What reads a gradient, where a scaled one can be read in its place.

    Attributes:
        scaled: The last node of ``c g g``.
        factor: c.
        readers: The Mul or Div of each ``k g`` and ``k (g / u)``, and which input the gradient is.
        products: The Mul by k of each of them, which input k is, and its number.
        averages: The Sub and the Add of each ``m + k (g - m)``, with k.
    """

    scaled: ir.Node
    factor: float
    readers: list[tuple[ir.Node, int]] = field(default_factory=list)
    products: list[tuple[ir.Node, int, float]] = field(default_factory=list)
    averages: list[tuple[ir.Node, ir.Node, float]] = field(default_factory=list)


def _square(g: ir.Value, node: ir.Node) -> tuple[ir.Node, float] | None:
    """The last node of ``c g g`` that a reader of g begins, and c."""
    if node.op_type != "Mul" or node.domain:
        return None
    if all(value is g for value in node.inputs):  # c (g g)
        last = only_user(node, "Mul")
        factor = constant_operand(last)
        return (last, factor[1]) if last is not None and factor is not None else None
    factor, last = constant_operand(node), only_user(node, "Mul")  # (c g) g
    if factor is None or last is None or not any(value is g for value in last.inputs):
        return None
    return last, factor[1]


def _average(node: ir.Node) -> tuple[ir.Node, float] | None:
    """The Add of ``m + k (g - m)`` whose Sub is given, and k."""
    scaled = only_user(node, "Mul")
    factor = constant_operand(scaled)
    added = only_user(scaled, "Add") if scaled is not None else None
    moment = node.inputs[1]
    if factor is None or added is None or not any(value is moment for value in added.inputs):
        return None
    return added, factor[1]


def _scaled_by(g: ir.Value, node: ir.Node) -> tuple[ir.Node, int, float] | None:
    """The Mul by k of the ``k g`` or ``k (g / u)`` that a reader of g begins, which input k is, and its number."""
    last: ir.Node | None = node
    if node.op_type == "Div" and node.inputs[0] is g and node.inputs[1] is not g:
        last = only_user(node, "Mul")
    constant = constant_operand(last)
    return (last, *constant) if last is not None and constant is not None else None


def _uses(g: ir.Value) -> _Uses | None:
    """The readers of a gradient, if each is of a kind that can read another and one makes a second moment."""
    readers = {use.node: use.idx for use in g.uses()}
    if any(_optimizer_tag(reader) is None for reader in readers):
        return None
    squares = {reader: square for reader in readers if (square := _square(g, reader)) is not None}
    if len(squares) != 1:
        return None
    ((first, (scaled, factor)),) = squares.items()
    if not _LEAST <= factor <= 1:
        return None
    uses = _Uses(scaled, factor)
    for reader, index in readers.items():
        if reader in (first, scaled):
            continue
        by = _scaled_by(g, reader)
        average = _average(reader) if reader.op_type == "Sub" and reader.inputs[0] is g else None
        if by is not None:
            uses.readers.append((reader, index))
            uses.products.append(by)
        elif average is not None:
            uses.averages.append((reader, *average))
        else:
            return None
    return uses


def _is_product(node: ir.Node) -> bool:
    """Whether a node is a product of two matrices alone."""
    if node.op_type == "MatMul":
        return all(len(known_shape(value) or ()) == 2 for value in node.inputs)
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    return node.op_type == "Gemm" and len(node.inputs) == 2 and attributes.get("alpha", 1.0) == 1


class ScaleGradients(ir.passes.InPlacePass):
    """Second moments are sums of squares of scaled gradients, where to scale them costs no pass over memory."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass on ``model``."""
        b = Builder(model.graph, "scaled")
        modified = False
        for node in list(model.graph):
            if node.domain or len(node.outputs) != 1:
                continue
            by = scalar_operand(node) if node.op_type == "Mul" and _optimizer_tag(node) is not None else None
            clipped = by is not None and not node.outputs[0].is_graph_output()
            if not clipped and not _is_product(node):
                continue
            uses = _uses(node.outputs[0])
            if uses is not None:
                _scale(model.graph, b, node, by if clipped else None, uses)
                modified = True
        return ir.passes.PassResult(model, modified)


def _as_matmul(b: Builder, node: ir.Node) -> ir.Node:
    """A product as a MatMul, which onnxruntime fuses with transposed operands and a constant factor."""
    if node.op_type == "MatMul":
        return node
    b.begin(Tag.of(node))
    sides = []
    for value, name in zip(operands(node), ("transA", "transB"), strict=True):
        if name in node.attributes and node.attributes[name].as_int():
            value, given = b.op("Transpose", value, perm=[1, 0]), value
            value.type, value.shape = given.type, ir.Shape(tuple(reversed(known_shape(given) or ())))
        sides.append(value)
    b.replace(node, b.op("MatMul", *sides))
    return b.nodes[-1]


def _scaled_gradient(graph: ir.Graph, b: Builder, node: ir.Node, by: int | None, root: float, tag: Tag) -> ir.Value:
    """The gradient that a node makes times a number, which goes to the scalar at input ``by`` if there is one."""
    if by is None:
        node = _as_matmul(b, node)
        b.begin(tag)
        g = node.outputs[0]
        r = b.op("Mul", g, b.number(root, g))
        r.type, r.shape = g.type, g.shape
        graph.insert_after(node, b.nodes)
        return r
    scalar, g = operands(node)[by], operands(node)[1 - by]
    begin_step(b, tag)
    factor = product(b, scalar, b.number(root, scalar))
    graph.insert_after(node, b.nodes)
    b.begin(tag)
    r = b.op("Mul", g, factor)
    r.type, r.shape = node.outputs[0].type, node.outputs[0].shape
    graph.insert_after(node, b.nodes)
    return r


def _scale(graph: ir.Graph, b: Builder, node: ir.Node, by: int | None, uses: _Uses) -> None:
    """Let what reads the gradient that a node makes read a scaled one."""
    root = math.sqrt(uses.factor)
    tag = Tag.of(uses.scaled)
    assert tag is not None
    r = _scaled_gradient(graph, b, node, by, root, tag)
    b.begin(tag)
    b.replace(uses.scaled, b.op("Mul", r, r))
    for reader, index in uses.readers:
        reader.replace_input_with(index, r)
    for last, index, number in uses.products:
        last.replace_input_with(index, b.number(number / root, r))
    for subtracted, added, number in uses.averages:
        moment = subtracted.inputs[1]
        b.begin(Tag.of(added))
        parts = [b.op("Mul", value, b.number(k, r)) for value, k in ((moment, 1 - number), (r, number / root))]
        for part in parts:
            part.type, part.shape = r.type, r.shape
        b.replace(added, b.op("Add", *parts))
