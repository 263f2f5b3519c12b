"""Uses in arithmetic, in comparisons and as a condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .findings import Finding, Pass
from .use import Rule, Use

__all__ = ["ARITHMETIC_RULES"]

MOST_VALUES = 16
"""Constants that are listed, at most, of those that the graph compares an input with."""

_FAR = 2**31 - 1


def _other(use: Use) -> tuple[float, float] | None:
    """Bounds of the other operand."""
    return use.flow.bounds(use.site.input(1 - use.position))


def _mask(use: Use) -> Iterator[Finding | Pass]:
    yield Finding("mask", f"a mask, by {use.site.label}", use.reach)


def _flag(on: bool, what: str) -> Rule:
    def rule(use: Use) -> Iterator[Finding | Pass]:
        yield Finding("flag", f"{what} {use.site.label}", use.reach, preferred=int(on))

    return rule


def _add(use: Use) -> Iterator[Finding | Pass]:
    other = _other(use)
    if other is None:
        yield from use.on(replace(use.reach, shares=use.reach.shares + 1, whole=False))
    else:
        yield from use.on(replace(use.reach.moved(*other), whole=False))


def _subtract(use: Use) -> Iterator[Finding | Pass]:
    other = _other(use)
    if use.position == 1 and other == (1.0, 1.0):
        yield from _mask(use)  # what is kept, from what is left out
    if other is None:
        return
    reach = use.reach.scaled(-1).moved(*other) if use.position else use.reach.moved(-other[1], -other[0])
    yield from use.on(replace(reach, whole=False))


def _multiply(use: Use) -> Iterator[Finding | Pass]:
    other = _other(use)
    if other is None:
        yield from _mask(use)
    elif max(map(abs, other)) > 0:
        factor = max(other, key=abs)
        yield from use.on(replace(use.reach.scaled(factor), whole=False))


def _divide(use: Use) -> Iterator[Finding | Pass]:
    if use.position == 1:
        yield from use.within("limit", 1, _FAR, f"a divisor of {use.site.label}")
        return
    other = _other(use)
    if other is not None and other[0] == other[1] != 0:
        yield from use.on(replace(use.reach.scaled(1 / other[0]), whole=False))


def _modulo(use: Use) -> Iterator[Finding | Pass]:
    if use.position == 1:
        yield from use.within("limit", 1, _FAR, f"a divisor of {use.site.label}")


def _exponent(use: Use) -> Iterator[Finding | Pass]:
    yield from use.within("range", 1, 2, f"an exponent of {use.site.label}")


def _negative(use: Use) -> Iterator[Finding | Pass]:
    yield from use.on(use.reach.scaled(-1))


def _summed(axis: int | None) -> Rule:
    """Elements summed up: along an axis that an input names, or as an attribute or input says."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        count = use.elements or 1
        named = use.flow.constant(use.site.input(1))
        if axis is None and named is not None and named.size == 1:
            count = use.flow.size(use.key, int(named.ravel()[0])) or count
        yield from use.on(use.reach.scaled(count).lost(counted=True))

    return rule


def _clipped(use: Use) -> Iterator[Finding | Pass]:
    ends = [use.flow.bounds(use.site.input(n)) for n in (1, 2)]
    if use.position == 0 and ends[0] is not None and ends[1] is not None and ends[0][1] <= ends[1][0]:
        yield from use.within("range", ends[0][1], ends[1][0], f"the bounds of {use.site.label}")
    if use.position == 0:
        yield from use.on()


def _equal(use: Use) -> Iterator[Finding | Pass]:
    known = use.flow.constant(use.site.input(1 - use.position))
    if known is None or not known.size:
        return
    if known.dtype.kind not in "biuf":
        words = tuple(dict.fromkeys(str(word) for word in known.ravel()))[:MOST_VALUES]
        yield Finding("words", f"what {use.site.label} compares with", use.reach, values=words)
        return
    values = [use.reach.input_value(float(value)) for value in np.unique(known)[:MOST_VALUES]]
    whole = tuple(dict.fromkeys(int(value) for value in values if value is not None and value == int(value)))
    if not whole:
        return
    if set(whole) <= {0, 1} and use.elements != 1:
        yield from _mask(use)
    else:
        yield Finding("values", use.site.label, use.reach, values=whole)


def _ordered(less: bool, equal: bool) -> Rule:
    """Compared by order: with the numbers of an axis, it is a length; with one number, that is a threshold."""

    def rule(use: Use) -> Iterator[Finding | Pass]:
        other = _other(use)
        if other is None:
            return
        low, high = other
        if low != high:
            # positions that count: i < x, or x > i
            if (use.position == 1) == less:
                length = (low + (0 if equal else 1), high + (0 if equal else 1))
                yield from use.within("length", max(1, length[0]), max(1, length[1]), f"lengths for {use.site.label}")
            else:
                yield from use.within("range", low, high, f"what {use.site.label} compares with")
        elif use.elements == 1:
            value = use.reach.input_value(low)
            if value is not None:
                yield Finding("values", use.site.label, use.reach, values=(int(value),))
        elif low in (0.0, 0.5) and (use.position == 0) != less:
            yield from _mask(use)
        elif low > 0:
            yield from use.within("range", 0, low, f"what {use.site.label} compares with")

    return rule


def _to_truth(use: Use) -> Iterator[Finding | Pass]:
    """A cast: to a truth value it is a mask, where there are several, or decides something."""
    if use.site.number("to", 0) == 9 and use.text != "bool":
        yield from _mask(use)
    yield from use.on()


_MS = "com.microsoft"

ARITHMETIC_RULES: dict[tuple[str, int], Rule] = {
    ("Add", 0): _add,
    ("Add", 1): _add,
    ("Sub", 0): _subtract,
    ("Sub", 1): _subtract,
    ("Mul", 0): _multiply,
    ("Mul", 1): _multiply,
    ("Div", 0): _divide,
    ("Div", 1): _divide,
    ("Mod", 0): _modulo,
    ("Mod", 1): _modulo,
    ("Pow", 1): _exponent,
    ("Neg", 0): _negative,
    ("CumSum", 0): _summed(None),
    ("ReduceSum", 0): _summed(0),
    ("Clip", 0): _clipped,
    ("Equal", 0): _equal,
    ("Equal", 1): _equal,
    ("Less", 0): _ordered(less=True, equal=False),
    ("Less", 1): _ordered(less=True, equal=False),
    ("LessOrEqual", 0): _ordered(less=True, equal=True),
    ("LessOrEqual", 1): _ordered(less=True, equal=True),
    ("Greater", 0): _ordered(less=False, equal=False),
    ("Greater", 1): _ordered(less=False, equal=False),
    ("GreaterOrEqual", 0): _ordered(less=False, equal=True),
    ("GreaterOrEqual", 1): _ordered(less=False, equal=True),
    ("Cast", 0): _to_truth,
    ("Where", 0): _mask,
    ("And", 0): _mask,
    ("And", 1): _mask,
    ("Or", 0): _mask,
    ("Or", 1): _mask,
    ("Xor", 0): _mask,
    ("Xor", 1): _mask,
    ("Not", 0): _mask,
    ("Compress", 1): _mask,
    ("Attention", 3): _mask,
    ("If", 0): _flag(True, "the branch of"),
    ("Loop", 1): _flag(True, "going on with"),
    ("Dropout", 2): _flag(False, "training of"),
    (f"{_MS}.Attention", 3): _mask,
    (f"{_MS}.QAttention", 5): _mask,
    (f"{_MS}.MultiHeadAttention", 4): _mask,
    (f"{_MS}.EmbedLayerNormalization", 7): _mask,
    (f"{_MS}.QEmbedLayerNormalization", 7): _mask,
}
"""Op type and position to what a number, a truth value or a comparison there says."""
