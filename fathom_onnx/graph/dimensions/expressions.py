"""Expressions in the place of a size: ``past_sequence_length + 1``, ``2*seq``, ``floor(h/2)``, ``Max(1, s0)``.

Exporters write what follows from other dimensions in the notation of Python or sympy. Names with dots or dashes, which
some write too, and whatever else is no expression, are names as they stand.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["DimExpression", "Linear", "NotLinearError", "read_expressions"]

_LONGEST = 500
"""Characters of an expression; what is longer is a name."""
_LARGEST_BITS = 4096
"""Bits of a number on the way to a size, so that a power cannot take all memory."""

_DASHED_NAME = re.compile(r"[A-Za-z_]\w*-[A-Za-z_]")
"""A dash between letters, without blanks: a part of a name."""
_DASHED_NUMBER = re.compile(r"\w-\d")
"""A dash before a digit, without blanks: a difference only where its terms are known from elsewhere."""


class NotLinearError(Exception):
    """An expression has no single size of the unknown name for each of its values."""


def _modular(value: Fraction, divisor: Fraction, modulus: Fraction) -> Fraction:
    return (value // divisor) % modulus


def _exact(value: Fraction) -> Fraction:
    return value


_FUNCTIONS: dict[str, tuple[Callable[..., Fraction | int], int]] = {
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "ceiling": (math.ceil, 1),
    "trunc": (math.trunc, 1),
    "abs": (abs, 1),
    "max": (max, 0),
    "min": (min, 0),
    "mod": (lambda value, divisor: value % divisor, 2),
    "floordiv": (lambda value, divisor: value // divisor, 2),
    "ceildiv": (lambda value, divisor: -(-value // divisor), 2),
    # as torch prints them
    "pythonmod": (lambda value, divisor: value % divisor, 2),
    "cleandiv": (lambda value, divisor: value / divisor, 2),
    "inttruediv": (lambda value, divisor: value / divisor, 2),
    "floattruediv": (lambda value, divisor: value / divisor, 2),
    "modularindexing": (_modular, 3),
    "floortoint": (math.floor, 1),
    "ceiltoint": (math.ceil, 1),
    "trunctoint": (math.trunc, 1),
    "tofloat": (_exact, 1),
}
"""Name in lower case to the function and how many arguments it takes; 0 for one or more."""

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}
"""Operators that are linear in neither operand; the others are in :func:`_linear`."""

Linear = tuple[Fraction, Fraction]
"""Factor of the unknown name, and the constant."""


@dataclass(frozen=True)
class DimExpression:
    """What stands in the place of a size.

    Attributes:
        text: As it is written.
        names: The names in it, in order; a text that is no expression is one name.
        plain: The text written in one way, so that blanks make no difference.
    """

    text: str
    names: tuple[str, ...]
    plain: str
    _tree: ast.expr

    def value(self, sizes: Mapping[str, int]) -> Fraction:
        """Its value.

        Args:
            sizes: Sizes of all its names.

        Raises:
            ZeroDivisionError: It divides by 0.
            OverflowError: A number on the way is out of all proportion.
        """
        return _linear(self._tree, sizes, None)[1]

    def linear(self, unknown: str, sizes: Mapping[str, int]) -> Linear:
        """Its dependence on one name.

        Args:
            unknown: The name.
            sizes: Sizes of all other names.

        Raises:
            NotLinearError: The dependence is another.
            ZeroDivisionError: It divides by 0.
            OverflowError: A number on the way is out of all proportion.
        """
        return _linear(self._tree, sizes, unknown)


def read_expressions(texts: Iterable[str]) -> dict[str, DimExpression]:
    """Text to expression, for all dimensions of a graph."""
    texts = list(dict.fromkeys(texts))
    trees = {text: _parsed(text) for text in texts}
    symbols = {
        name
        for text, tree in trees.items()
        if tree is not None and not _DASHED_NUMBER.search(text)
        for name in _names(tree)
    }
    return {text: _expression(text, trees[text], symbols) for text in texts}


def _expression(text: str, tree: ast.expr | None, symbols: set[str]) -> DimExpression:
    names = () if tree is None else _names(tree)
    if tree is None or (_DASHED_NUMBER.search(text) and not symbols.issuperset(names)):
        name = text.strip()
        return DimExpression(text, (name,), name, ast.Name(name))
    return DimExpression(text, names, ast.unparse(tree), tree)


def _parsed(text: str) -> ast.expr | None:
    """The syntax of a text, or None where it is no expression."""
    if len(text) > _LONGEST or not text.isascii() or _DASHED_NAME.search(text):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tree if _allowed(tree) and _names(tree) else None


def _allowed(node: ast.expr) -> bool:
    match node:
        case ast.Name():
            return True
        case ast.Constant(value=int() | float() as value):
            return not isinstance(value, bool) and math.isfinite(value)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            return _allowed(node.operand)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.FloorDiv() | ast.Mod() | ast.Pow()):
            return _allowed(node.left) and _allowed(node.right)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name.lower() in _FUNCTIONS:
            wanted = _FUNCTIONS[name.lower()][1]
            return len(node.args) >= 1 and wanted in (0, len(node.args)) and all(map(_allowed, node.args))
    return False


def _names(node: ast.expr) -> tuple[str, ...]:
    """The names in an expression, in order; functions are none."""
    match node:
        case ast.Name():
            return (node.id,)
        case ast.UnaryOp():
            return _names(node.operand)
        case ast.BinOp():
            return tuple(dict.fromkeys([*_names(node.left), *_names(node.right)]))
        case ast.Call():
            return tuple(dict.fromkeys(name for argument in node.args for name in _names(argument)))
    return ()


def _linear(node: ast.expr, sizes: Mapping[str, int], unknown: str | None) -> Linear:
    """An expression as a factor of the unknown name and a constant."""
    match node:
        case ast.Name():
            found = (Fraction(1), Fraction(0)) if node.id == unknown else (Fraction(0), Fraction(sizes[node.id]))
        case ast.Constant():
            found = Fraction(0), Fraction(str(node.value))
        case ast.UnaryOp():
            factor, constant = _linear(node.operand, sizes, unknown)
            found = (-factor, -constant) if isinstance(node.op, ast.USub) else (factor, constant)
        case ast.BinOp():
            found = _combined(node.op, _linear(node.left, sizes, unknown), _linear(node.right, sizes, unknown))
        case ast.Call(func=ast.Name(id=name)):
            arguments = [_constant(_linear(argument, sizes, unknown)) for argument in node.args]
            found = Fraction(0), Fraction(_FUNCTIONS[name.lower()][0](*arguments))
        case _:
            raise AssertionError(f"{node} was not allowed")
    if max(part.numerator.bit_length() + part.denominator.bit_length() for part in found) > _LARGEST_BITS:
        raise OverflowError
    return found


def _combined(operator: ast.operator, left: Linear, right: Linear) -> Linear:
    match operator:
        case ast.Add():
            return left[0] + right[0], left[1] + right[1]
        case ast.Sub():
            return left[0] - right[0], left[1] - right[1]
        case ast.Mult():
            if left[0] and right[0]:
                raise NotLinearError
            return left[0] * right[1] + right[0] * left[1], left[1] * right[1]
        case ast.Div():
            divisor = _constant(right)
            return left[0] / divisor, left[1] / divisor
        case ast.Pow():
            return Fraction(0), _power(_constant(left), _constant(right))
    return Fraction(0), Fraction(_OPERATORS[type(operator)](_constant(left), _constant(right)))


def _constant(value: Linear) -> Fraction:
    if value[0]:
        raise NotLinearError
    return value[1]


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise NotLinearError
    if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _LARGEST_BITS:
        raise OverflowError
    return base ** int(exponent)
