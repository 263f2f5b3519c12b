"""A step op by op: the equations of its jaxpr, each compiled alone and run to its end before the next one.

What JAX itself calls as one function under a mark (a softplus, a batch normalisation and its gradient) is one equation;
the bodies of all other calls are taken apart. Equations of the same primitive, parameters and shapes share a program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from fathom_exporters.jax.jaxprs import body_of, is_drop, literal, live, place_of, stack_of
from fathom_exporters.jax.marks import read_mark
from fathom_exporters.jax.translate.control import CONTROL
from fathom_onnx.native import NativeOp
from fathom_onnx.workloads.contract import GradientDescent, Mode, Workload

from .ops import Labels
from .users import Arguments, Tensors, UserStep, finished

__all__ = ["Call", "OpByOp"]

Results = Callable[..., Sequence[jax.Array]]

Source = tuple[Any, Sequence[np.ndarray[Any, Any] | None]]
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


class OpByOp:
    """A step as a list of calls.

    Attributes:
        calls: The calls, in order.
        programs: How many different programs they run.

    Args:
        step: The step, its state loaded.
        workload: Its workload.
        mode: Its mode.
        batch: A batch.
        threads: How many programs are compiled at the same time.
        run: Whether they are compiled at all: the calls can be looked at without.
    """

    def __init__(
        self, step: UserStep, workload: Workload, mode: Mode, batch: Tensors, threads: int = 1, run: bool = True
    ) -> None:
        arguments = step.arguments(batch)
        closed, shape = jax.make_jaxpr(step.function, return_shape=True)(*arguments)
        jaxpr = closed.jaxpr
        names = [path[1].key if len(path) > 1 else "" for path, _ in jax.tree_util.tree_leaves_with_path(arguments)]
        outputs, state, gradients = shape
        returned, self._results = jax.tree_util.tree_flatten((outputs, state))
        self._constants: list[tuple[int, Any]] = []
        self._count = 0
        self._programs: dict[str, int] = {}
        self._sources: list[Source] = []
        given = [self._place() for _ in jaxpr.invars]
        layers = {layer.name for layer in workload.layers} | {Workload.LOSS}
        parameter_of = _parameter_of(workload)
        owners = {at: parameter_of[name] for at, name in zip(given, names, strict=True) if name in parameter_of}
        self._labels = Labels(layers, workload.optimizer.OP, owners)
        gradient_of = dict(zip(jaxpr.outvars[len(returned) :], sorted(gradients), strict=True))
        calls: list[Call] = []
        self._given = tuple(given)
        self._made = self._walk(jaxpr, closed.consts, given, "", calls, gradient_of)[: len(returned)]
        self.calls = _with_frees(calls, {*self._made, *(at for at, _ in self._constants)})
        self.programs = len(self._sources)
        with ThreadPoolExecutor(threads) as pool:
            self._run: list[Results] = list(pool.map(_compiled, self._sources)) if run else []

    def _place(self) -> int:
        self._count += 1
        return self._count - 1

    def _constant(self, value: Any) -> int:
        at = self._place()
        self._constants.append((at, jax.numpy.asarray(value)))
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

    def _program(self, equation: Any, numbers: Sequence[np.ndarray[Any, Any] | None]) -> int:
        """The number of the program that computes an equation from the arguments that are no literals."""
        sizes = [str(atom.aval) for atom in equation.invars]
        known = [None if number is None else number.tolist() for number in numbers]
        key = f"{equation.primitive.name} {sizes} {known} {equation.params}"
        if key not in self._programs:
            self._programs[key] = len(self._sources)
            self._sources.append((equation, numbers))
        return self._programs[key]

    def run(self, arguments: Arguments) -> tuple[Tensors, Tensors]:
        """Run the step without a clock: its outputs and the new state."""
        values = self._start(arguments)
        for call in self.calls:
            made = self._run[call.program](*[values[at] for at in call.inputs])
            for at, value in zip(call.outputs, made, strict=True):
                values[at] = value
            for at in call.frees:
                values[at] = None
        return self._end(values)

    def timed(self, arguments: Arguments) -> tuple[list[tuple[NativeOp, float]], tuple[Tensors, Tensors]]:
        """Run the step, each call to its end: the microseconds of each, and what :meth:`run` returns."""
        values = self._start(arguments)
        times: list[tuple[NativeOp, float]] = []
        for call in self.calls:
            given, run = [values[at] for at in call.inputs], self._run[call.program]
            started = time.perf_counter()
            made = run(*given)
            for value in made:
                value.block_until_ready()
            times.append((call.op, (time.perf_counter() - started) * 1e6))
            for at, value in zip(call.outputs, made, strict=True):
                values[at] = value
            for at in call.frees:
                values[at] = None
        return times, self._end(values)

    def _start(self, arguments: Arguments) -> list[Any]:
        values: list[Any] = [None] * self._count
        for at, value in zip(self._given, jax.tree_util.tree_leaves(arguments), strict=True):
            values[at] = value
        for at, value in self._constants:
            values[at] = value
        return values

    def _end(self, values: Sequence[Any]) -> tuple[Tensors, Tensors]:
        made: tuple[Tensors, Tensors] = jax.tree_util.tree_unflatten(self._results, [values[at] for at in self._made])
        return finished(made)


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


def _compiled(source: Source) -> Results:
    equation, numbers = source

    def compute(*given: Any) -> Sequence[Any]:
        rest = iter(given)
        made = equation.primitive.bind(
            *(next(rest) if number is None else number for number in numbers), **equation.params
        )
        return made if equation.primitive.multiple_results else (made,)

    shape: Any = jax.ShapeDtypeStruct
    given = [
        shape(atom.aval.shape, atom.aval.dtype)
        for atom, number in zip(equation.invars, numbers, strict=True)
        if number is None
    ]
    compiled: Results = jax.jit(compute).lower(*given).compile()
    return compiled


def _with_frees(calls: Sequence[Call], kept: set[int]) -> tuple[Call, ...]:
    """The calls, each with the places that nothing reads after it."""
    seen, found = set(kept), []
    for call in reversed(calls):
        last = {at for at in (*call.inputs, *call.outputs) if at not in seen}
        seen |= last
        found.append(Call(call.op, call.program, call.inputs, call.outputs, tuple(sorted(last))))
    return tuple(found[::-1])
