"""What is read of a jaxpr: the only module that touches parts of JAX that are not stable between its versions.

These are the classes of :mod:`jax.extend.core`, the text of an equation's name stack, its traceback, the numbers of
literals, and whether XLA has started.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax._src.xla_bridge import backends_are_initialized
from jax.extend import core, source_info_util

from .marks import MARK

__all__ = [
    "ClosedJaxpr",
    "Place",
    "backend_runs",
    "body_of",
    "bound",
    "convolves_in_double",
    "depending_results",
    "evaluate",
    "is_drop",
    "is_plain_call",
    "literal",
    "live",
    "place_of",
    "same",
    "scopes_of",
    "source_of",
    "stack_of",
    "with_results",
]

ClosedJaxpr = core.ClosedJaxpr
"""A jaxpr and the constants that it closes over."""

_STEP_PHASES = ("forward", "loss", "optimizer")


@dataclass(frozen=True)
class Place:
    """Where an equation is: its phase, and the names of the scopes below that, from the outside."""

    phase: str | None
    names: tuple[str, ...] = ()


def place_of(stack: str) -> Place:
    """The place that a name stack says.

    JAX writes ``jvp(forward)/conv1`` where the forward pass is recorded for a derivative and
    ``transpose(jvp(forward))/conv1`` for the derivative itself. What is transposed further inside, in the body of a
    function of the forward pass, belongs to the forward pass.
    """
    found = re.search(rf"(?:^|[/(])({'|'.join(_STEP_PHASES)})(?=[/)]|$)", stack)
    if found is None:
        return Place(None)
    phase = found[1]
    if phase != "optimizer" and "transpose(" in stack[: found.start(1)]:
        phase = "backward"
    below = re.sub(r"\w*\(|\)", "", stack[found.end(1) :])
    names = tuple(name for name in below.split("/") if name)
    return Place(phase, ("loss", *names) if found[1] == "loss" else names)


def stack_of(equation: Any, outer: str) -> str:
    """The name stack of an equation within one that has the stack ``outer``."""
    inner = str(equation.source_info.name_stack)
    return f"{outer}/{inner}" if inner and outer else inner or outer


def source_of(equation: Any) -> str:
    """File and line of the user's code that made an equation, ``model.py:12``; empty where that is not known."""
    text = source_info_util.summarize(equation.source_info)
    found = re.match(r"(?:.*/)?([^/]+:\d+)", text)
    return found[1] if found else ""


def literal(atom: Any) -> np.ndarray[Any, Any] | None:
    """The value of a literal; None of a variable."""
    held: Any = atom
    return np.asarray(held.val, held.aval.dtype) if isinstance(atom, core.Literal) else None


def is_drop(variable: Any) -> bool:
    """Whether a result is thrown away."""
    return isinstance(variable, core.DropVar)


def backend_runs() -> bool:
    """Whether XLA runs in this process: its number of threads cannot be set any more."""
    return bool(backends_are_initialized())


def body_of(equation: Any) -> ClosedJaxpr | None:
    """The jaxpr that an equation calls once with its arguments; None for other equations."""
    for name in ("call_jaxpr", "jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        if inner is not None:
            return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
    return None


def live(jaxpr: Any) -> list[Any]:
    """The equations of a jaxpr that its outputs depend on, in order."""
    needed = {id(atom) for atom in jaxpr.outvars}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            kept.append(equation)
            needed |= {id(atom) for atom in equation.invars}
    return kept[::-1]


def evaluate(equation: Any, given: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """The results of an equation of known arguments."""
    with jax.ensure_compile_time_eval():
        made = equation.primitive.bind(*given, **equation.params)
    return [np.asarray(value) for value in (made if equation.primitive.multiple_results else [made])]


def _steps(jaxpr: Any) -> Iterator[tuple[Any, ...]]:
    """What a jaxpr computes, in order: primitives, shapes and literals, without casts between floating-point types."""
    for equation in live(jaxpr):
        name = equation.primitive.name
        if name == "convert_element_type" and np.issubdtype(equation.params["new_dtype"], np.floating):
            continue
        numbers = tuple(value for atom in equation.invars if (value := literal(atom)) is not None)
        yield name, tuple(tuple(v.aval.shape) for v in equation.outvars), numbers
        if not str(equation.params.get("name", "")).startswith(f"{MARK}Random"):  # the bits differ, and are not drawn
            for inner in _bodies(equation.params):
                yield from _steps(inner)


def _bodies(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def convolves_in_double(jaxpr: Any) -> bool:
    """Whether a jaxpr, or one that it calls, has a convolution in float64."""
    return any(
        (equation.primitive.name == "conv_general_dilated" and equation.outvars[0].aval.dtype == np.float64)
        or any(convolves_in_double(inner) for inner in _bodies(equation.params))
        for equation in jaxpr.eqns
    )


def same(double: ClosedJaxpr, single: ClosedJaxpr) -> bool:
    """Whether a step recorded in float64 is that recorded in float32, but for the digits of its numbers."""
    ours, theirs = list(_steps(double.jaxpr)), list(_steps(single.jaxpr))
    if [step[:2] for step in ours] != [step[:2] for step in theirs]:
        return False
    for (_, _, a), (_, _, b) in zip(ours, theirs, strict=True):
        if len(a) != len(b):
            return False
        with np.errstate(over="ignore"):
            if not all(np.array_equal(x.astype(y.dtype), y, equal_nan=True) for x, y in zip(a, b, strict=True)):
                return False
    return True


def scopes_of(equation: Any) -> tuple[str, ...]:
    """Names of the user's scopes of an equation, from the outside, without those of transformations and of einsum."""
    text = re.sub(r"\w*\(|\)", "", str(equation.source_info.name_stack))
    return tuple(name for name in text.split("/") if name and "->" not in name)


def bound(equation: Any, arguments: Sequence[Any], scopes: Sequence[str]) -> list[Any]:
    """The results of an equation, computed or recorded anew with its own place, within some scopes."""
    stack = source_info_util.current_name_stack()
    for name in scopes:
        stack = stack.extend(name)
    source = equation.source_info
    place = source_info_util.user_context(source.traceback, name_stack=stack + source.name_stack)
    primitive = equation.primitive
    with place, equation.ctx.manager:
        made = primitive.bind(*arguments, **primitive.get_bind_params(equation.params))
    return list(made) if primitive.multiple_results else [made]


def depending_results(jaxpr: ClosedJaxpr, first: int) -> list[int]:
    """The results from ``first`` on that depend on an argument, and that one of the results before ``first`` needs."""
    inner = jaxpr.jaxpr
    made = {id(variable) for variable in inner.invars}
    for equation in inner.eqns:
        if any(id(atom) in made for atom in equation.invars):
            made |= {id(variable) for variable in equation.outvars}
    needed = {id(atom) for atom in inner.outvars[:first]}
    for equation in reversed(inner.eqns):
        if any(id(variable) in needed for variable in equation.outvars):
            needed |= {id(atom) for atom in equation.invars}
    return [n for n, atom in enumerate(inner.outvars) if n >= first and id(atom) in made & needed]


def with_results(jaxpr: ClosedJaxpr, kept: Sequence[int]) -> ClosedJaxpr:
    """A jaxpr with some of its results."""
    inner = jaxpr.jaxpr
    results = [inner.outvars[number] for number in kept]
    return ClosedJaxpr(inner.replace(outvars=results, debug_info=inner.debug_info.with_unknown_names()), jaxpr.consts)


def is_plain_call(equation: Any) -> bool:
    """Whether an equation is the call of a function that is no mark."""
    return equation.primitive.name in ("jit", "pjit") and not str(equation.params["name"]).startswith(MARK)
