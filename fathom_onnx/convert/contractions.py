"""Loop nests of contractions: convolutions, transposed convolutions, matrix products and einsums.

A contraction sums products of two operands: ``out[f(i)] += a[g(i)] * b[h(i)]`` over the values of loop variables ``i``.
Its multiply-accumulates are the product of the loop bounds. Each axis of a tensor is indexed by a linear expression of
the loop variables; the rows of an image, for example, by ``stride * p + dilation * r``. Images include their padding,
without the rows and columns that no window reaches.

Which nodes are contractions, and what of a node is kept where it is none, is in :mod:`.layers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from fathom_onnx.analysis.cost.call import Call, NotKnown
from fathom_onnx.analysis.cost.einsum import indices, path

from .forms.product import MatrixProduct

__all__ = ["Axis", "Contraction", "Operand", "loop_nest", "product_nest"]

Axis = tuple[tuple[str, int], ...]
"""The index expression of one axis of a tensor: the sum of loop variables times their coefficients."""

_SPATIAL = (("p", "r"), ("q", "s"), ("t", "u"))
"""Loop variables of output position and kernel position, by spatial axis."""


@dataclass(frozen=True)
class Operand:
    """A tensor with the index expressions of its axes.

    Attributes:
        tensor: Its name.
        axes: The expression of each axis.
        typed_as: For a tensor that the graph does not have: one of the graph's that has its element type.
    """

    tensor: str
    axes: tuple[Axis, ...]
    typed_as: str = ""


@dataclass(frozen=True)
class Contraction:
    """A node as a loop nest.

    Attributes:
        index: Index of the node in the graph.
        name: The node's name, or its op type and index.
        op_type: Its op type.
        sizes: Loop variable to loop bound. Of convolutions: ``n`` batch, ``g`` group, ``m`` output channel, ``c`` input
            channel, ``p q t`` output position, ``r s u`` kernel position. Of matrix products: ``b0 b1 ...`` batch,
            ``n`` row, ``m`` column, ``c`` the summed dimension. Of einsums: the indices of the equation.
        image: The first operand. Of a transposed convolution, ``p q t`` run over its positions.
        weights: The second operand.
        output: The result. A transposed convolution adds into it at overlapping positions.
        strides: By spatial axis; empty for what is no convolution.
        dilations: By spatial axis; empty for what is no convolution.
        transposed: Whether it is a transposed convolution.
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
    transposed: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return math.prod(self.sizes.values())

    @property
    def spatial(self) -> int:
        """Number of spatial axes, 0 for what is no convolution."""
        return len(self.strides)

    def size(self, *names: str) -> int:
        """Product of the bounds of some loop variables; a variable that the contraction does not have counts as 1."""
        return math.prod(self.sizes.get(name, 1) for name in names)


def _one(name: str) -> Axis:
    """An axis indexed by one loop variable."""
    return ((name, 1),)


def _operands(call: Call) -> tuple[int, int]:
    """Positions of the two operands among the inputs of a node: quantized ops have scales between them."""
    return (0, 3) if call.node.op_type.startswith(("QLinear", "QGemm")) else (0, 1)


def _convolution(call: Call, index: int, name: str) -> Contraction | None:
    """A convolution, transposed or not, of one to three spatial axes, grouped or not.

    Conv: ``out[n, (g, m), p, q] += x[n, (g, c), stride p + dilation r, ...] w[(g, m), c, r, s]``; ConvTranspose
    scatters: ``out[n, (g, m), stride p + dilation r, ...] += x[n, (g, c), p, q] w[(g, c), m, r, s]``.
    """
    first, second = _operands(call)
    x, w, out = call.shape(first), call.shape(second), call.result()
    spatial = len(x) - 2
    if not 1 <= spatial <= len(_SPATIAL):
        return None
    transposed = "ConvTranspose" in call.node.op_type
    group = call.integer("group", 1)
    strides = tuple(call.integers("strides")) or (1,) * spatial
    dilations = tuple(call.integers("dilations")) or (1,) * spatial
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

    node = call.node
    c, m = channels("c", inner), channels("m", outer)
    image = Operand(node.input[first], (_one("n"), c, *(points if transposed else windows)))
    output = Operand(node.output[0], (_one("n"), m, *(windows if transposed else points)))
    pair = (c, _one("m")) if transposed else (m, _one("c"))
    weights = Operand(node.input[second], (*pair, *taps))
    return Contraction(index, name, node.op_type, sizes, image, weights, output, strides, dilations, transposed)


def _gemm(call: Call, index: int, name: str) -> Contraction:
    node, (first, second) = call.node, _operands(call)
    a, out = call.matrix(first, 2), call.result()
    flip_a, flip_b = call.integer("transA", 0), call.integer("transB", 0)
    sizes = {"n": out[0], "m": out[1], "c": a[0] if flip_a else a[1]}
    n, m, c = _one("n"), _one("m"), _one("c")
    image = Operand(node.input[first], (c, n) if flip_a else (n, c))
    weights = Operand(node.input[second], (m, c) if flip_b else (c, m))
    return Contraction(index, name, node.op_type, sizes, image, weights, Operand(node.output[0], (n, m)))


def _matmul(call: Call, index: int, name: str) -> Contraction | None:
    """MatMul by numpy's rules: a vector lacks the row or the column axis, batch axes are broadcast.

    A batch axis of size 1 that is broadcast is indexed by ``z``, a loop variable of bound 1.
    """
    node, (first, second) = call.node, _operands(call)
    a, b = call.shape(first), call.shape(second)
    if not a or not b:
        return None
    depth = max(len(a), len(b), 2) - 2
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
    image = Operand(node.input[first], (*batch[0], *row, _one("c")))
    weights = Operand(node.input[second], (*batch[1], _one("c"), *column))
    output = Operand(node.output[0], (*(_one(f"b{axis}") for axis in range(depth)), *row, *column))
    return Contraction(index, name, node.op_type, sizes, image, weights, output)


def _einsum(call: Call, index: int, name: str) -> Contraction | None:
    """An einsum of two operands without a diagonal, a broadcast dimension or a sum within one operand."""
    node = call.node
    if len(node.input) != 2 or path(call).sums:
        return None
    terms, result, sizes = indices(call)
    whole = all(
        size == sizes[i]
        for position, term in enumerate(terms)
        for i, size in zip(term, call.shape(position), strict=True)
    )
    if not whole or any(len(set(term)) < len(term) for term in terms):
        return None
    # other loop variables are lower-case letters; an index under an ellipsis or of a capital has two characters
    names = {i: i if i.isalpha() and i.islower() else f"i{n}" for n, i in enumerate(sizes)}
    image, weights, output = (tuple(_one(names[i]) for i in term) for term in (*terms, result))
    return Contraction(
        index,
        name,
        node.op_type,
        {names[i]: size for i, size in sizes.items()},
        Operand(node.input[0], image),
        Operand(node.input[1], weights),
        Operand(node.output[0], output),
    )


_NESTS = {
    "": {
        "Conv": _convolution,
        "ConvInteger": _convolution,
        "ConvTranspose": _convolution,
        "Einsum": _einsum,
        "Gemm": _gemm,
        "MatMul": _matmul,
        "MatMulInteger": _matmul,
        "QLinearConv": _convolution,
        "QLinearMatMul": _matmul,
    },
    "com.microsoft": {
        "DynamicQuantizeMatMul": _matmul,
        "FusedConv": _convolution,
        "FusedGemm": _gemm,
        "MatMulIntegerToFloat": _matmul,
        "QGemm": _gemm,
        "QLinearConvTranspose": _convolution,
    },
}
"""Domain, then op type, to the function from a node to its loop nest; ops beside these are matrix products only."""


def loop_nest(call: Call, index: int, name: str) -> Contraction | None:
    """The loop nest of a node; None for an op that has none, or where a shape is not known.

    Args:
        call: The node with its shapes.
        index: Its number in the graph.
        name: What to call it.
    """
    nest = _NESTS.get(call.node.domain.replace("ai.onnx", ""), {}).get(call.node.op_type)
    try:
        return nest(call, index, name) if nest else None
    except (NotKnown, ArithmeticError, IndexError, ValueError):
        return None


def product_nest(node: onnx.NodeProto, index: int, name: str, product: MatrixProduct) -> Contraction:
    """The loop nest of one of a node's matrix products, on tensors of its own that are named after it."""
    batch = [_one("b0")] if product.times > 1 else []
    sizes = {**({"b0": product.times} if batch else {}), "n": product.m, "m": product.n, "c": product.k}
    n, m, c = _one("n"), _one("m"), _one("c")
    like = next(source for source in node.input if source), next(made for made in node.output if made)
    image = Operand(f"{name}.left", (*batch, n, c), like[0])
    weights = Operand(f"{name}.right", (*batch, c, m), like[0])
    return Contraction(
        index, name, node.op_type, sizes, image, weights, Operand(f"{name}.out", (*batch, n, m), like[1])
    )
