"""Arithmetic of ``Einsum``: any number of operands, contracted two by two in the best order.

Two operands that share a summed index are a product: multiply-accumulates for each combination of their indices. Two
that share none (an outer or an elementwise product) make one FLOP for each combination and no multiply-accumulate. What
is summed within one operand is additions, one an element, and is summed first. A repeated index in one operand is its
diagonal and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .call import Arithmetic, Call, NotKnown, Shape

__all__ = ["Indices", "Path", "Step", "einsum", "indices", "path"]

Indices = frozenset[str]
"""The indices of an operand; those under an ellipsis are named by their distance from the right."""

_MOST = 12
"""Operands among which the best order is looked for; three times the work for each more."""


@dataclass(frozen=True)
class Step:
    """The product of two operands, or of what came of them; an index that the result lacks is summed."""

    left: Indices
    right: Indices
    result: Indices

    @property
    def summed(self) -> Indices:
        """The indices that are summed, which both operands have; without any it is no contraction."""
        return (self.left | self.right) - self.result


@dataclass(frozen=True)
class Path:
    """The best order of the products of an einsum.

    Attributes:
        steps: The products, each after those that it uses.
        sizes: Index to size.
        sums: Elements that are summed within one operand before.
    """

    steps: tuple[Step, ...]
    sizes: Mapping[str, int]
    sums: int

    def elements(self, indices: Iterable[str]) -> int:
        """Combinations of some indices."""
        return math.prod(self.sizes[index] for index in indices)


def einsum(call: Call) -> Arithmetic:
    """MACs of the pairwise contractions of the operands; FLOPs of these, of plain products and of sums."""
    found = path(call)
    products = [(found.elements(step.left | step.right), bool(step.summed)) for step in found.steps]
    macs = sum(size for size, summed in products if summed)
    return macs, found.sums + sum(2 * size if summed else size for size, summed in products)


def path(call: Call) -> Path:
    """The order of pairwise products with the least FLOPs.

    Raises:
        NotKnown: The equation does not fit, a shape is not known, or there are too many operands to look for it.
    """
    terms, result, sizes = indices(call)
    if len(terms) > _MOST:
        raise NotKnown(f"the best order of more than {_MOST} operands is not looked for")
    # a dimension of 1 that is broadcast is none of its operand
    shapes = [call.shape(position) for position in range(len(terms))]
    operands = [
        frozenset(name for name, size in zip(names, shape, strict=True) if size == sizes[name])
        for names, shape in zip(terms, shapes, strict=True)
    ]
    return _contracted(operands, frozenset(result), sizes)


def indices(call: Call) -> tuple[list[list[str]], list[str], dict[str, int]]:
    """The indices of each operand and of the result, in the order of their dimensions, and the size of each index.

    Raises:
        NotKnown: The equation does not fit, or a shape is not known.
    """
    equation = call.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(call.node.input) or not equation:
        raise NotKnown("the equation does not fit the inputs")
    shapes = [call.shape(position) for position in range(len(terms))]
    named = [_named(term, shape, position) for position, (term, shape) in enumerate(zip(terms, shapes, strict=True))]
    sizes: dict[str, int] = {}
    for names, shape in zip(named, shapes, strict=True):
        for name, size in zip(names, shape, strict=True):
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    dotted = [name for name in sizes if name.startswith(".")]
    dotted.sort(key=lambda name: -int(name[1:]))
    if arrow:
        before, dots, after = right.partition("...")
        return named, [*before, *(dotted if dots else []), *after], sizes
    # the output has what stands once
    return named, [*dotted, *sorted(c for c in sizes if left.count(c) == 1 and c not in dotted)], sizes


def _named(term: str, shape: Shape, position: int) -> list[str]:
    """The index of each dimension of an operand."""
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise NotKnown(f"the equation does not fit input {position}")
    # dimensions under an ellipsis are counted from the right, as broadcasting aligns them
    return [*before, *(f".{n}" for n in range(hidden, 0, -1)), *after]


def _contracted(operands: Sequence[Indices], kept: Indices, sizes: Mapping[str, int]) -> Path:
    """The way to all operands with the least FLOPs: the best way to any set of them by its best parts."""

    def elements(indices: Iterable[str]) -> int:
        return math.prod(sizes[index] for index in indices)

    left = list(operands)
    sums = 0
    for place, operand in enumerate(left):
        alone = operand - kept.union(*left[:place], *left[place + 1 :])
        if alone:
            sums += elements(operand)
            left[place] = operand - alone
    one = {1 << place: operand for place, operand in enumerate(left)}
    everything = (1 << len(left)) - 1

    def result(of: int) -> Indices:
        """What the product of some operands has: an index that is in the output or in another operand."""
        inside = frozenset[str]().union(*(operand for bit, operand in one.items() if bit & of))
        return inside & kept.union(*(operand for bit, operand in one.items() if not bit & of))

    results = {of: result(of) for of in range(1, everything + 1)}
    best = dict.fromkeys(one, (0, 0))  # (FLOPs, MACs) of the product of these operands
    parted: dict[int, int] = {}
    for of in range(1, everything + 1):
        for part in _parts(of):
            both = results[part] | results[of ^ part]
            products = elements(both)
            summed = results[of] != both
            before = (best[part], best[of ^ part])
            flops = (2 if summed else 1) * products + sum(f for f, _ in before)
            macs = (products if summed else 0) + sum(m for _, m in before)
            if of not in best or (flops, macs) < best[of]:
                best[of], parted[of] = (flops, macs), part

    def steps(of: int) -> Iterator[Step]:
        if of in parted:
            # the part with the first operand comes first
            part, rest = sorted((parted[of], of ^ parted[of]), key=lambda bits: bits & -bits)
            yield from steps(part)
            yield from steps(rest)
            yield Step(results[part], results[rest], results[of])

    return Path(tuple(steps(everything)), sizes, sums)


def _parts(of: int) -> Iterator[int]:
    """The ways to part a set of bits in two, each by one of its parts."""
    part = (of - 1) & of
    while part > of ^ part:
        yield part
        part = (part - 1) & of
