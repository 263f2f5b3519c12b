"""Loop nests of contractions: convolutions, transposed convolutions and matrix products.

A contraction sums products of two operands: ``out[f(i)] += a[g(i)] * b[h(i)]`` over the values of loop variables ``i``.
Its multiply-accumulates are the product of the loop bounds. Each axis of a tensor is indexed by a linear expression of
the loop variables; the rows of an image, for example, by ``stride * p + dilation * r``. Images include their padding,
without the rows and columns that no window reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from fathom_onnx.errors import GraphError
from fathom_onnx.graph import Graph

__all__ = ["Axis", "Contraction", "Operand", "contractions", "no_contractions", "other_nodes"]

Axis = tuple[tuple[str, int], ...]
"""The index expression of one axis of a tensor: the sum of loop variables times their coefficients."""

_SPATIAL = (("p", "r"), ("q", "s"), ("t", "u"))
"""Loop variables of output position and kernel position, by spatial axis."""


@dataclass(frozen=True)
class Operand:
    """A tensor with the index expressions of its axes."""

    tensor: str
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class Contraction:
    """A node as a loop nest.

    Attributes:
        index: Index of the node in the graph.
        name: The node's name, or its op type and index.
        op_type: Its op type.
        sizes: Loop variable to loop bound. Of convolutions: ``n`` batch, ``g`` group, ``m`` output channel, ``c`` input
            channel, ``p q t`` output position, ``r s u`` kernel position. Of matrix products: ``b0 b1 ...`` batch,
            ``n`` row, ``m`` column, ``c`` the summed dimension.
        image: The first operand. Of a transposed convolution, ``p q t`` run over its positions.
        weights: The second operand.
        output: The result. A transposed convolution adds into it at overlapping positions.
        strides: By spatial axis; empty for a matrix product.
        dilations: By spatial axis; empty for a matrix product.
    """

    index: int
    name: str
    op_type: str
    sizes: dict[str, int]
    image: Operand
    weights: Operand
    output: Operand
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.sizes.values())

    @property
    def spatial(self) -> int:
        """Number of spatial axes, 0 for a matrix product."""
        return len(self.strides)

    def size(self, *names: str) -> int:
        """Product of the bounds of some loop variables; a variable that the contraction does not have counts as 1."""
        return math.prod(self.sizes.get(name, 1) for name in names)

    @property
    def batch(self) -> int:
        """Product of the batch sizes of a matrix product."""
        return math.prod(size for name, size in self.sizes.items() if name.startswith("b"))


def _ints(node: onnx.NodeProto, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(attribute.ints) or (attribute.i,)
    return default


def _shape(graph: Graph, name: str) -> tuple[int, ...] | None:
    tensor = graph.tensors.get(name)
    return tensor.shape if tensor else None


def _one(name: str) -> Axis:
    """An axis indexed by one loop variable."""
    return ((name, 1),)


def _convolution(graph: Graph, index: int, node: onnx.NodeProto, name: str) -> Contraction | str:
    """Conv and ConvTranspose of one to three spatial axes, grouped or not.

    Conv: ``out[n, (g, m), p, q] += x[n, (g, c), stride p + dilation r, ...] w[(g, m), c, r, s]``; ConvTranspose
    scatters: ``out[n, (g, m), stride p + dilation r, ...] += x[n, (g, c), p, q] w[(g, c), m, r, s]``.
    """
    x, w, out = (_shape(graph, t) for t in (node.input[0], node.input[1], node.output[0]))
    if x is None or w is None or out is None:
        return "a shape is not known"
    spatial = len(x) - 2
    if not 1 <= spatial <= len(_SPATIAL):
        return f"{spatial} spatial axes"
    transposed = node.op_type == "ConvTranspose"
    (group,) = _ints(node, "group", (1,))
    strides = _ints(node, "strides", (1,) * spatial)
    dilations = _ints(node, "dilations", (1,) * spatial)
    inner, outer = (w[0] // group, w[1]) if transposed else (w[1], w[0] // group)
    positions = x[2:] if transposed else out[2:]
    sizes = {"n": x[0], **({"g": group} if group > 1 else {}), "m": outer, "c": inner}
    sizes |= {p: size for (p, _), size in zip(_SPATIAL, positions, strict=False)}
    sizes |= {r: size for (_, r), size in zip(_SPATIAL, w[2:], strict=False)}
    windows: tuple[Axis, ...] = tuple(
        ((p, stride), (r, dilation)) for (p, r), stride, dilation in zip(_SPATIAL, strides, dilations, strict=False)
    )
    points: tuple[Axis, ...] = tuple(_one(p) for p, _ in _SPATIAL[:spatial])
    taps: tuple[Axis, ...] = tuple(_one(r) for _, r in _SPATIAL[:spatial])

    def channels(variable: str, size: int) -> Axis:
        return (("g", size), (variable, 1)) if group > 1 else _one(variable)

    c, m = channels("c", inner), channels("m", outer)
    image = Operand(node.input[0], (_one("n"), c, *(points if transposed else windows)))
    output = Operand(node.output[0], (_one("n"), m, *(windows if transposed else points)))
    pair = (c, _one("m")) if transposed else (m, _one("c"))
    weights = Operand(node.input[1], (*pair, *taps))
    return Contraction(index, name, node.op_type, sizes, image, weights, output, strides, dilations)


def _gemm(graph: Graph, index: int, node: onnx.NodeProto, name: str) -> Contraction | str:
    a, out = _shape(graph, node.input[0]), _shape(graph, node.output[0])
    if a is None or out is None:
        return "a shape is not known"
    (flip_a,), (flip_b,) = _ints(node, "transA", (0,)), _ints(node, "transB", (0,))
    sizes = {"n": out[0], "m": out[1], "c": a[0] if flip_a else a[1]}
    n, m, c = _one("n"), _one("m"), _one("c")
    image = Operand(node.input[0], (c, n) if flip_a else (n, c))
    weights = Operand(node.input[1], (m, c) if flip_b else (c, m))
    return Contraction(index, name, node.op_type, sizes, image, weights, Operand(node.output[0], (n, m)))


def _matmul(graph: Graph, index: int, node: onnx.NodeProto, name: str) -> Contraction | str:
    """MatMul by numpy's rules: a vector lacks the row or the column axis, batch axes are broadcast.

    A batch axis of size 1 that is broadcast is indexed by ``z``, a loop variable of bound 1.
    """
    a, b = _shape(graph, node.input[0]), _shape(graph, node.input[1])
    if not a or not b:
        return "a shape is not known"
    depth = max(len(a), len(b)) - 2
    sizes: dict[str, int] = {}
    batch: dict[int, list[Axis]] = {0: [], 1: []}
    for axis in range(depth):
        operand_sizes = [shape[axis - depth - 2] if len(shape) - 2 >= depth - axis else None for shape in (a, b)]
        size = max(s for s in operand_sizes if s is not None)
        sizes[f"b{axis}"] = size
        for side, own in enumerate(operand_sizes):
            if own is not None:
                broadcast = own == 1 and size > 1
                batch[side].append(_one("z" if broadcast else f"b{axis}"))
                sizes |= {"z": 1} if broadcast else {}
    row = [_one("n")] if len(a) > 1 else []
    column = [_one("m")] if len(b) > 1 else []
    sizes |= {"n": a[-2]} if row else {}
    sizes |= {"m": b[-1]} if column else {}
    sizes["c"] = a[-1]
    image = Operand(node.input[0], (*batch[0], *row, _one("c")))
    weights = Operand(node.input[1], (*batch[1], _one("c"), *column))
    output = Operand(node.output[0], (*(_one(f"b{axis}") for axis in range(depth)), *row, *column))
    return Contraction(index, name, node.op_type, sizes, image, weights, output)


_NESTS = {"Conv": _convolution, "ConvTranspose": _convolution, "Gemm": _gemm, "MatMul": _matmul}
"""Op type to the function from a node to its loop nest, or to the reason why it has none."""


def _nests(graph: Graph) -> Iterator[tuple[int, Contraction | str]]:
    """Index of every node of the top level, with its loop nest or the reason why it has none."""
    for index, node in enumerate(graph.model.graph.node):
        if node.domain in ("", "ai.onnx") and node.op_type in _NESTS:
            yield index, _NESTS[node.op_type](graph, index, node, node.name or f"{node.op_type}_{index}")
        else:
            yield index, "no convolution or matrix product"


def contractions(graph: Graph) -> tuple[Contraction, ...]:
    """The contractions of a graph's top level, in order; :func:`other_nodes` are the rest."""
    return tuple(nest for _, nest in _nests(graph) if isinstance(nest, Contraction))


def other_nodes(graph: Graph) -> dict[int, str]:
    """Index of every other node of the top level, to the reason why it is not a contraction."""
    return {index: reason for index, reason in _nests(graph) if isinstance(reason, str)}


def no_contractions(graph: Graph) -> GraphError:
    """The error for a graph without any contraction that a format can hold."""
    return GraphError(
        f"graph '{graph.name}' has no convolution or matrix product of known shapes",
        "give a graph with at least one",
    )
