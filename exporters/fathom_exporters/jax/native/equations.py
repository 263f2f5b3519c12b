"""A step op by op: its calls, each run to its end before the next one where they are timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax

from fathom_onnx.native import NativeOp

from .plan import Plan
from .users import Arguments, Program, Tensors, finished

__all__ = ["OpByOp"]


class OpByOp:
    """A step as calls of programs.

    Args:
        plan: The calls.
        programs: The programs, by number.
    """

    def __init__(self, plan: Plan, programs: Sequence[Program]) -> None:
        self._plan, self._programs = plan, programs
        self._constants = {at: jax.numpy.asarray(value) for at, value in plan.constants.items()}

    def run(self, arguments: Arguments) -> tuple[Tensors, Tensors]:
        """Run the step without a clock: its outputs and the new state."""
        values = self._start(arguments)
        for call in self._plan.calls:
            made = self._programs[call.program](*[values[at] for at in call.inputs])
            for at, value in zip(call.outputs, made, strict=True):
                values[at] = value
            for at in call.frees:
                values[at] = None
        return self._end(values)

    def timed(self, arguments: Arguments) -> tuple[list[tuple[NativeOp, float]], tuple[Tensors, Tensors]]:
        """Run the step, each call to its end: the microseconds of each, and what :meth:`run` returns."""
        values = self._start(arguments)
        times: list[tuple[NativeOp, float]] = []
        for call in self._plan.calls:
            given, run = [values[at] for at in call.inputs], self._programs[call.program]
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
        values: list[Any] = [None] * self._plan.places
        for at, value in zip(self._plan.given, jax.tree_util.tree_leaves(arguments), strict=True):
            values[at] = value
        for at, value in self._constants.items():
            values[at] = value
        return values

    def _end(self, values: Sequence[Any]) -> tuple[Tensors, Tensors]:
        outputs, state = (
            {name: values[at] for name, at in places.items()} for places in (self._plan.outputs, self._plan.state)
        )
        return finished((outputs, state))
