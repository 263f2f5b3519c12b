"""Sums of products that are given by an equation, as matrix products."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from .emit import Emit, Handler

__all__ = ["PRODUCTS"]


def _equation(text: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, an ellipsis written out."""
    left, _, result = text.replace(" ", "").partition("->")
    operands = left.split(",")
    free = [letter for letter in string.ascii_letters if letter not in text]
    hidden = [rank - len(labels.replace("...", "")) for labels, rank in zip(operands, ranks, strict=True)]
    longest = max((n for n, labels in zip(hidden, operands, strict=True) if "..." in labels), default=0)
    names = "".join(free[:longest])

    def written(labels: str, count: int) -> str:
        return labels.replace("...", names[longest - count :])

    return [written(o, n) for o, n in zip(operands, hidden, strict=True)], written(result, longest)


def _reordered(e: Emit, x: str, labels: str, wanted: str) -> str:
    """``x`` with its axes in another order."""
    return x if labels == wanted else e.transpose(x, [labels.index(label) for label in wanted])


def _summed(e: Emit, x: str, labels: str, kept: set[str]) -> tuple[str, str]:
    """``x`` summed over the labels that nothing else has."""
    axes = [axis for axis, label in enumerate(labels) if label not in kept]
    if not axes:
        return x, labels
    left = "".join(label for label in labels if label in kept)
    shape = [size for axis, size in enumerate(e.shape(x)) if axis not in axes]
    return e.op("ReduceSum", x, e.ints(axes), shape=shape, keepdims=0), left


def einsum(e: Emit) -> None:
    """Einsum of one or two operands: a sum and a permutation, or a matrix product.

    Labels that repeat in an operand, or that stand for 1 in one and for more in the other, are left to ONNX's Einsum.
    """
    equation = str(e.attribute("equation"))
    operands, result = _equation(equation, [len(e.shape(x)) for x in e.inputs])
    sizes: dict[str, int] = {}
    plain = len(operands) <= 2 and all(len(set(labels)) == len(labels) for labels in [*operands, result])
    for x, labels in zip(e.inputs, operands, strict=True):
        for label, size in zip(labels, e.shape(x), strict=True):
            plain = plain and sizes.setdefault(label, size) == size
    if not plain:
        e.replace("Einsum", *e.inputs, equation=equation)
        return
    if len(operands) == 1:
        x, labels = _summed(e, e.inputs[0], operands[0], set(result))
        e.become(_reordered(e, x, labels, result))
        return
    (a, a_labels), (b, b_labels) = (
        _summed(e, x, labels, {*result, *other})
        for x, labels, other in zip(e.inputs, operands, operands[::-1], strict=True)
    )
    shared = [label for label in a_labels if label in b_labels]
    batch = "".join(label for label in shared if label in result)
    inner = "".join(label for label in shared if label not in result)
    rows = "".join(label for label in a_labels if label not in shared)
    columns = "".join(label for label in b_labels if label not in shared)

    def elements(labels: str) -> int:
        return math.prod(sizes[label] for label in labels)

    outer = [sizes[label] for label in batch]
    left = e.reshape(_reordered(e, a, a_labels, batch + rows + inner), [*outer, elements(rows), elements(inner)])
    right = e.reshape(_reordered(e, b, b_labels, batch + inner + columns), [*outer, elements(inner), elements(columns)])
    made = e.op("MatMul", left, right, shape=[*outer, elements(rows), elements(columns)])
    labels = batch + rows + columns
    made = e.reshape(made, [sizes[label] for label in labels])
    e.become(_reordered(e, made, labels, result))


PRODUCTS: dict[str, Handler] = {"Einsum": einsum}
"""TensorFlow operation to its handler."""
