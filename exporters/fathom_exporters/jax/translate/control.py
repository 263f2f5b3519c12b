"""Loops and branches: a loop is unrolled, a branch that depends on values is computed on both sides."""

from __future__ import annotations

import numpy as np

from .emit import Emit
from .registry import Equation, Rule, UnknownError
from .values import Spread, Stack, Value, dtype_of, known, shape_of

__all__ = ["CONTROL"]

_MOST_PASSES = 10_000
"""Passes from which a loop is not unrolled."""


def _row(e: Emit, x: Value, number: int) -> Value:
    """One row of what a loop reads."""
    if isinstance(x, Stack):
        return x.parts[number]
    if isinstance(x, np.ndarray):
        row: Value = x[number]
        return row
    size = shape_of(x)
    if isinstance(x, Spread):
        base = shape_of(x.base)
        if len(base) < len(size) or base[0] == 1:
            held = x.base if len(base) < len(size) else e.reshape(x.base, base[1:])
            return held if shape_of(held) == size[1:] else Spread(held, size[1:])
    e.op = "Slice"
    part = e.slice(x, [number, *[0] * (len(size) - 1)], [number + 1, *size[1:]])
    made: Value = e.reshape(part, size[1:])
    return made


def _scan(e: Emit, q: Equation) -> list[Value]:
    """Its passes one after the other; the rows that they make are read one by one where another loop reads them."""
    p = q.params
    body, length = p["jaxpr"], p["length"]
    fixed, carried = p["num_consts"], p["num_carry"]
    if length > _MOST_PASSES:
        raise UnknownError(f"a loop of {length} passes is not unrolled")
    consts, carry, rows = q.given[:fixed], list(q.given[fixed : fixed + carried]), q.given[fixed + carried :]
    place, made = e.place, []
    for number in reversed(range(length)) if p["reverse"] else range(length):
        e.place = place
        now = [_row(e, x, number) for x in rows]
        outputs = q.run(body.jaxpr, body.consts, [*consts, *carry, *now], q.stack)
        carry = outputs[:carried]
        made.append(outputs[carried:])
    e.place = place
    if p["reverse"]:
        made.reverse()
    return [*carry, *(Stack(tuple(parts)) for parts in zip(*made, strict=True))]


def _while(e: Emit, q: Equation) -> list[Value]:
    """A loop whose number of passes depends on no value of the graph."""
    p = q.params
    test, body = p["cond_jaxpr"], p["body_jaxpr"]
    of_test, of_body = p["cond_nconsts"], p["body_nconsts"]
    test_consts, body_consts = q.given[:of_test], q.given[of_test : of_test + of_body]
    carry = list(q.given[of_test + of_body :])
    for _ in range(_MOST_PASSES):
        (goes_on,) = q.run(test.jaxpr, test.consts, [*test_consts, *carry], q.stack)
        decided = known(goes_on)
        if decided is None:
            raise UnknownError("the number of passes depends on values", "give the loop a fixed number")
        if not decided.reshape(-1)[0]:
            return carry
        carry = q.run(body.jaxpr, body.consts, [*body_consts, *carry], q.stack)
    raise UnknownError(f"a loop of more than {_MOST_PASSES} passes is not unrolled")


def _cond(e: Emit, q: Equation) -> list[Value]:
    """The branch that is known to be taken, or all of them and a choice."""
    branches, (which, *given) = q.params["branches"], q.given
    number = known(which)
    if number is not None:
        chosen = branches[min(max(int(number.reshape(())), 0), len(branches) - 1)]
        return q.run(chosen.jaxpr, chosen.consts, given, q.stack)
    place = e.place
    results = [q.run(branch.jaxpr, branch.consts, given, q.stack) for branch in branches]
    e.place, e.op = place, "Select"
    made = results[-1]
    for index in reversed(range(len(branches) - 1)):
        at = e.pointwise("LessOrEqual", which, np.array(index, dtype_of(which)), dtype=np.bool_)
        made = [
            e.pointwise("Where", at, here, there, dtype=dtype_of(here))
            for here, there in zip(results[index], made, strict=True)
        ]
    return made


CONTROL: dict[str, Rule] = {"cond": _cond, "scan": _scan, "while": _while}
"""Primitive to its rule."""
