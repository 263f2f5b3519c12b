"""A workload's step as JAX's users write one: a pure function of its state, compiled whole by ``jax.jit``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fathom_exporters.jax.models import JAX
from fathom_exporters.jax.step import draw_from, run_step
from fathom_onnx.workloads.contract import Array, Mode, Workload

__all__ = ["Arguments", "Program", "Tensors", "UserStep", "finished", "on_device"]

Made = TypeVar("Made")

Program = Callable[..., Any]
"""A compiled function."""

Tensors = dict[str, jax.Array]
"""Arrays by name."""

Arguments = tuple[Tensors, Tensors, Tensors, np.ndarray[Any, Any]]
"""State, the variables that a step does not change, the batch, and the key that random numbers are drawn from."""


def on_device(values: Mapping[str, Array]) -> Tensors:
    """Arrays of JAX, copies of their own: of 32 bits, which is what JAX computes in by default."""
    return {name: jnp.array(value) for name, value in values.items()}


def finished(tree: Made) -> Made:
    """A tree of arrays once all of them are computed."""
    wait: Any = jax.block_until_ready
    wait(tree)
    return tree


class UserStep:
    """A step and its state, which the compiled step takes over: its memory is used for the new state.

    Attributes:
        function: The step: :data:`Arguments` to the loss (in inference the outputs), the new state and, in training,
            the gradients, by name.
    """

    def __init__(self, workload: Workload, mode: Mode, seed: int = 0) -> None:
        """Make the function.

        Args:
            workload: The workload.
            mode: Its mode.
            seed: Seed of what the step draws.

        Raises:
            UnknownNameError: The workload has no model in JAX.
        """
        model = JAX.model(workload.name)
        carried = workload.carried(mode)
        self._carried = {variable.name for variable in carried}
        self._seed, self._number = seed, 0
        self._state: Tensors = {}
        self._fixed: Tensors = {}
        shown = [Workload.LOSS] if mode == "training" else [spec.name for spec in workload.outputs]

        def step(state: Tensors, fixed: Tensors, batch: Tensors, key: Any) -> tuple[Tensors, Tensors, Tensors]:
            values = {**batch, **fixed, **state}
            made = run_step(workload, model, mode, values, draw_from(workload, mode, values, key))
            new = {v.name: made.outputs[v.next.name] for v in carried}
            return {name: made.outputs[name] for name in shown}, new, made.gradients

        self.function = step
        self._jitted: Any = jax.jit(lambda *arguments: step(*arguments)[:2], donate_argnums=0)
        self._compiled: Program = self._jitted
        self._variables = workload.variables(mode)

    def shapes(self, batch: Mapping[str, Array]) -> tuple[Any, ...]:
        """Shapes and types of :data:`Arguments`, with those of a batch."""
        shape: Any = jax.ShapeDtypeStruct

        def of(named: Mapping[str, Any]) -> dict[str, Any]:
            return {name: shape(one.shape, jax.dtypes.canonicalize_dtype(one.dtype)) for name, one in named.items()}

        carried = {v.name: v for v in self._variables if v.name in self._carried}
        fixed = {v.name: v for v in self._variables if v.name not in self._carried}
        return of(carried), of(fixed), of(batch), shape((2,), np.uint32)

    def compile(self, batch: Mapping[str, Array]) -> Program:
        """The compiled step, for batches like this one."""
        compiled: Program = self._jitted.lower(*self.shapes(batch)).compile()
        return compiled

    def use(self, compiled: Program) -> None:
        """Run a step that was compiled before, of :meth:`compile`."""
        self._compiled = compiled

    def load(self, values: Mapping[str, Array]) -> None:
        """Start from these values of the workload's variables."""
        tensors = on_device(values)
        self._state = {name: value for name, value in tensors.items() if name in self._carried}
        self._fixed = {name: value for name, value in tensors.items() if name not in self._carried}
        self._number = 0

    def arguments(self, batch: Tensors) -> Arguments:
        """What the next step is called with; each has a key of its own."""
        self._number += 1
        return self._state, self._fixed, batch, np.array([self._seed, self._number], np.uint32)

    def keep(self, state: Tensors) -> None:
        """Go on from a state."""
        self._state = state

    def run(self, batch: Tensors) -> Tensors:
        """Run one step, compiled, to its end: the loss or, in inference, the outputs besides new caches."""
        outputs: Tensors
        outputs, state = finished(self._compiled(*self.arguments(batch)))
        self.keep(state)
        return outputs
