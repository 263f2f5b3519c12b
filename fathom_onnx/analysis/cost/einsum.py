"""Arithmetic of ``Einsum``: any number of operands, contracted two by two in the best order.

Two operands that share a summed index are a product: multiply-accumulates for each combination of their indices. Two
that share none (an outer or an elementwise product) make one FLOP for each combination and no multiply-accumulate. What
is summed within one operand is additions, one an element, and is summed first. A repeated index in one operand is its
diagonal and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .call import Arithmetic, Call, NotKnown, Shape

__all__ = ["einsum"]

Indices = frozenset[str]
"""The indices of an operand; those under an ellipsis are named by their distance from the right."""

_MOST = 12
"""Operands among which the best order is looked for; three times the work for each more."""


def einsum(call: Call) -> Arithmetic:
    """MACs of the pairwise contractions of the operands; FLOPs of these, of plain products and of sums."""
    equation = call.text("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(call.node.input) or not equation:
        raise NotKnown("the equation does not fit the inputs")
    if len(terms) > _MOST:
        raise NotKnown(f"the best order of more than {_MOST} operands is not looked for")
    named = [_named(term, call.shape(position), position) for position, term in enumerate(terms)]
    sizes: dict[str, int] = {}
    for names, shape in named:
        for name, size in zip(names, shape, strict=True):
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    dotted = {name for name in sizes if name.startswith(".")}
    if arrow:
        letters = set(right.replace("...", ""))
        kept = frozenset(letters | (dotted if "..." in right else set()))
    else:  # the output has what stands once
        kept = frozenset(dotted | {c for c in sizes if left.count(c) == 1})
    # a dimension of 1 that is broadcast is none of its operand
    operands = [
        frozenset(n for n, size in zip(names, shape, strict=True) if size == sizes[n]) for names, shape in named
    ]
    return _contracted(operands, kept, sizes)


def _named(term: str, shape: Shape, position: int) -> tuple[list[str], Shape]:
    """The index of each dimension of an operand, and the shape."""
    before, dots, after = term.partition("...")
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise NotKnown(f"the equation does not fit input {position}")
    # dimensions under an ellipsis are counted from the right, as broadcasting aligns them
    return [*before, *(f".{n}" for n in range(hidden, 0, -1)), *after], shape


def _contracted(operands: Sequence[Indices], kept: Indices, sizes: Mapping[str, int]) -> Arithmetic:
    """The least FLOPs for all operands, and the MACs among them: the best way to any set of them by its best parts."""

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
    for of in range(1, everything + 1):
        for part in _parts(of):
            both = results[part] | results[of ^ part]
            products = elements(both)
            summed = results[of] != both
            before = (best[part], best[of ^ part])
            flops = (2 if summed else 1) * products + sum(f for f, _ in before)
            macs = (products if summed else 0) + sum(m for _, m in before)
            best[of] = min(best.get(of, (flops, macs)), (flops, macs))
    flops, macs = best[everything]
    return macs, flops + sums


def _parts(of: int) -> Iterator[int]:
    """The ways to part a set of bits in two, each by one of its parts."""
    part = (of - 1) & of
    while part > of ^ part:
        yield part
        part = (part - 1) & of
