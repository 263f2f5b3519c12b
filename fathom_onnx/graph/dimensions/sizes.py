"""Sizes of a graph's open dimensions from those that a user gives: by name, or for a whole expression."""

from __future__ import annotations

import operator
import shlex
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from fathom_onnx.errors import UnknownNameError, UsageError

from .expressions import DimExpression, NotLinearError, read_expressions

__all__ = ["DimSizes", "asked_names", "command_line", "solve_sizes"]

_LARGEST = 2**63 - 1


class DimSizes(NamedTuple):
    """What follows from the sizes given.

    Attributes:
        known: Label to size.
        missing: Label to the names whose sizes it still needs.
    """

    known: dict[str, int]
    missing: dict[str, tuple[str, ...]]


def asked_names(labels: Iterable[str]) -> list[str]:
    """The names to ask a user for, so that all labels have a size."""
    return list(dict.fromkeys(name for found in read_expressions(labels).values() for name in found.names))


def command_line(names: Iterable[str]) -> str:
    """Options that give sizes, ``N`` in their place."""
    return " ".join(f"--dim {shlex.quote(f'{name}=N')}" for name in names)


def solve_sizes(labels: Iterable[str], given: Mapping[str, int]) -> DimSizes:
    """Sizes of dimensions.

    Args:
        labels: What stands in the place of their sizes: names and expressions.
        given: Sizes of names, or of whole expressions, which a single unknown name follows from.

    Raises:
        UnknownNameError: ``given`` has a name that occurs in no label.
        UsageError: A size given is no whole number from 0, sizes contradict each other, or one that follows is negative
            or no whole number.
    """
    expressions = read_expressions(labels)
    names = list(dict.fromkeys(name for found in expressions.values() for name in found.names))
    wholes = {found.plain: found for found in expressions.values() if found.names != (found.plain,)}
    sizes: dict[str, int] = {}
    totals: dict[str, int] = {}
    for label, size in given.items():
        plain = _plain(label, names, wholes)
        if plain is None:
            raise UnknownNameError("dynamic dimension", label, [*names, *(w.text for w in wholes.values())])
        _add(totals if plain in wholes else sizes, plain, _whole(label, size))
    _solve(wholes, totals, sizes)
    known: dict[str, int] = {}
    missing: dict[str, tuple[str, ...]] = {}
    for label, found in expressions.items():
        unknown = tuple(name for name in found.names if name not in sizes)
        if found.plain in totals:
            known[label] = totals[found.plain]
        elif unknown:
            missing[label] = unknown
        else:
            known[label] = _size(found, sizes)
    return DimSizes(known, missing)


def _plain(label: str, names: list[str], wholes: Mapping[str, DimExpression]) -> str | None:
    """The name, or the expression written in one way, that a user means; None for neither."""
    if label.strip() in names:
        return label.strip()
    # read beside the names, which tell a difference from a name with a dash
    read = read_expressions([*names, label])[label].plain
    return read if read in wholes else None


def _add(sizes: dict[str, int], name: str, size: int) -> None:
    if sizes.setdefault(name, size) != size:
        raise UsageError(f"dimension '{name}' cannot be both {sizes[name]} and {size}", "give one size")


def _whole(label: str, size: int) -> int:
    try:
        whole = operator.index(size)
    except TypeError:
        whole = -1
    if not 0 <= whole <= _LARGEST:
        raise UsageError(f"dimension '{label}' cannot be '{size}'", "give a whole number, 0 or more")
    return whole


def _solve(wholes: Mapping[str, DimExpression], totals: Mapping[str, int], sizes: dict[str, int]) -> None:
    """Add the sizes of names that follow from those of whole expressions, and check these."""
    for _ in totals:  # one more name with each round, at the most
        for plain, total in totals.items():
            unknown = [name for name in wholes[plain].names if name not in sizes]
            if len(unknown) == 1:
                solved = _solved(wholes[plain], total, unknown[0], sizes)
                sizes.update({} if solved is None else {unknown[0]: solved})
    for plain, total in totals.items():
        if all(name in sizes for name in wholes[plain].names):
            follows = _value(wholes[plain], sizes)
            if follows != total:
                raise UsageError(
                    f"dimension '{wholes[plain].text}' cannot be {total}: it is {follows} with "
                    f"{_with(wholes[plain], sizes)}",
                    "give sizes that agree",
                )


def _solved(expression: DimExpression, total: int, unknown: str, sizes: Mapping[str, int]) -> int | None:
    """The size of the unknown name that makes an expression a size; None where no single one does.

    Raises:
        UsageError: It would be negative or no whole number.
    """
    try:
        factor, constant = expression.linear(unknown, sizes)
    except (NotLinearError, ZeroDivisionError, OverflowError):
        return None
    if not factor:
        return None
    solved = (total - constant) / factor
    if solved.denominator != 1 or not 0 <= solved <= _LARGEST:
        raise UsageError(
            f"dimension '{expression.text}' cannot be {total}: '{unknown}' would be {solved}", "give another size"
        )
    return int(solved)


def _value(expression: DimExpression, sizes: Mapping[str, int]) -> Fraction:
    try:
        return expression.value(sizes)
    except ZeroDivisionError:
        reason = "divides by 0"
    except (OverflowError, NotLinearError):
        reason = "is no size"
    raise UsageError(
        f"dimension '{expression.text}' {reason} with {_with(expression, sizes)}", "give other sizes"
    ) from None


def _size(expression: DimExpression, sizes: Mapping[str, int]) -> int:
    """The size that an expression has."""
    value = _value(expression, sizes)
    if value.denominator != 1 or not 0 <= value <= _LARGEST:
        raise UsageError(
            f"dimension '{expression.text}' would be {value} with {_with(expression, sizes)}",
            "give sizes that make it a whole number, 0 or more",
        )
    return int(value)


def _with(expression: DimExpression, sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={sizes[name]}" for name in expression.names)
