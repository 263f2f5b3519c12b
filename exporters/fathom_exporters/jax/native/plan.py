"""A step taken apart: the equations of its jaxpr as a list of calls, and the different programs that these run.

What JAX itself calls as one function under a mark (a softplus, a batch normalisation and its gradient) is one equation;
the bodies of all other calls are taken apart. Equations of the same primitive, parameters and shapes share a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fathom_exporters.jax.jaxprs import body_of, is_drop, literal, live, place_of, stack_of
from fathom_exporters.jax.marks import read_mark
from fathom_exporters.jax.translate.control import CONTROL
from fathom_onnx.native import NativeOp
from fathom_onnx.workloads.contract import Array, GradientDescent, Mode, Workload

from .ops import Labels
from .users import UserStep

__all__ = ["Call", "Plan", "Source", "take_apart"]

Source = tuple[Any, Sequence[Array | None]]
"""An equation and the values of those of its arguments that are literals."""


@dataclass(frozen=True)
class Call:
    """One equation: what it is called, the number of its program, the places of its arguments and results.

    Places are numbers in a list of all values of the step; an argument's last reader frees its place.
    """

    op: NativeOp
    program: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    frees: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A step as calls.

    Attributes:
        calls: The calls, in order.
        places: How many places there are.
        given: The places of the step's arguments, in the order of their leaves.
        constants: Values that are no argument, by place.
        outputs: The places of the loss or, in inference, of the outputs, by name.
        state: The places of the new state, by name.
    """

    calls: tuple[Call, ...]
    places: int
    given: tuple[int, ...]
    constants: Mapping[int, Array]
    outputs: Mapping[str, int]
    state: Mapping[str, int]


def take_apart(step: UserStep, workload: Workload, mode: Mode, batch: Mapping[str, Array]) -> tuple[Plan, list[Source]]:
    """The calls of a step, and the programs that they run, which are still to be compiled.

    Args:
        step: The step.
        workload: Its workload.
        mode: Its mode.
        batch: A batch like those that it will be run with.
    """
    taken = _TakenApart(step, workload, mode, batch)
    return taken.plan, taken.sources


class _TakenApart:
    """A step while it is taken apart."""

    def __init__(self, step: UserStep, workload: Workload, mode: Mode, batch: Mapping[str, Array]) -> None:
        arguments = step.shapes(batch)
        closed, (outputs, state, gradients) = jax.make_jaxpr(step.function, return_shape=True)(*arguments)
        jaxpr = closed.jaxpr
        names = [path[1].key if len(path) > 1 else "" for path, _ in jax.tree_util.tree_leaves_with_path(arguments)]
        results = [*sorted(outputs), *sorted(state)]
        self.sources: list[Source] = []
        self._programs: dict[str, int] = {}
        self._constants: dict[int, Array] = {}
        self._count = 0
        given = [self._place() for _ in jaxpr.invars]
        layers = {layer.name for layer in workload.layers} | {Workload.LOSS}
        parameter_of = _parameter_of(workload)
        owners = {at: parameter_of[name] for at, name in zip(given, names, strict=True) if name in parameter_of}
        self._labels = Labels(layers, workload.optimizer.OP, owners)
        gradient_of = dict(zip(jaxpr.outvars[len(results) :], sorted(gradients), strict=True))
        calls: list[Call] = []
        made = self._walk(jaxpr, closed.consts, given, "", calls, gradient_of)[: len(results)]
        self.plan = Plan(
            calls=_with_frees(calls, {*made, *self._constants}),
            places=self._count,
            given=tuple(given),
            constants=self._constants,
            outputs=dict(zip(sorted(outputs), made, strict=False)),
            state=dict(zip(sorted(state), made[len(outputs) :], strict=True)),
        )

    def _place(self) -> int:
        self._count += 1
        return self._count - 1

    def _constant(self, value: Any) -> int:
        at = self._place()
        self._constants[at] = np.asarray(value)
        return at

    def _walk(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        given: Sequence[int],
        stack: str,
        calls: list[Call],
        gradient_of: Mapping[Any, str] | None = None,
    ) -> list[int]:
        """Add the calls of a jaxpr; the places of its results."""
        places: dict[Any, int] = dict(zip(jaxpr.invars, given, strict=True))
        places |= {variable: self._constant(const) for variable, const in zip(jaxpr.constvars, consts, strict=True)}
        for equation in live(jaxpr):
            inner = stack_of(equation, stack)
            body = None if _is_whole(equation) else body_of(equation)
            if body is None:
                made = self._add(equation, inner, places, calls)
            else:
                arguments = [
                    places[atom] if (number := literal(atom)) is None else self._constant(number)
                    for atom in equation.invars
                ]
                made = self._walk(body.jaxpr, body.consts, arguments, inner, calls)
            for variable, at in zip(equation.outvars, made, strict=True):
                if not is_drop(variable):
                    places[variable] = at
                    if gradient_of and variable in gradient_of:
                        self._labels.gradient(at, gradient_of[variable])
        return [places[atom] if (number := literal(atom)) is None else self._constant(number) for atom in jaxpr.outvars]

    def _add(self, equation: Any, stack: str, places: dict[Any, int], calls: list[Call]) -> list[int]:
        numbers = [literal(atom) for atom in equation.invars]
        all_places = [
            places[atom] if number is None else None for atom, number in zip(equation.invars, numbers, strict=True)
        ]
        inputs = tuple(at for at in all_places if at is not None)
        outputs = [self._place() for _ in equation.outvars]
        label = self._labels.of(equation, place_of(stack), all_places, outputs)
        calls.append(Call(label, self._program(equation, numbers), inputs, tuple(outputs)))
        return outputs

    def _program(self, equation: Any, numbers: Sequence[Array | None]) -> int:
        """The number of the program that computes an equation from the arguments that are no literals."""
        sizes = [str(atom.aval) for atom in equation.invars]
        known = [None if number is None else number.tolist() for number in numbers]
        key = f"{equation.primitive.name} {sizes} {known} {equation.params}"
        if key not in self._programs:
            self._programs[key] = len(self.sources)
            self.sources.append((equation, numbers))
        return self._programs[key]


def _parameter_of(workload: Workload) -> dict[str, str]:
    """Parameters and their optimizer state to the parameter."""
    rule = workload.optimizer
    found = {p.name: p.name for p in workload.parameters}
    if not isinstance(rule, GradientDescent):
        found |= {slot: p.name for p in workload.parameters for slot in rule.slots(p.name)}
    return found


def _is_whole(equation: Any) -> bool:
    """Whether an equation is run as one: loops, branches, and marks."""
    return equation.primitive.name in CONTROL or read_mark(str(equation.params.get("name", ""))) is not None


def _with_frees(calls: Sequence[Call], kept: set[int]) -> tuple[Call, ...]:
    """The calls, each with the places that nothing reads after it."""
    seen, found = set(kept), []
    for call in reversed(calls):
        last = {at for at in (*call.inputs, *call.outputs) if at not in seen}
        seen |= last
        found.append(Call(call.op, call.program, call.inputs, call.outputs, tuple(sorted(last))))
    return tuple(found[::-1])
