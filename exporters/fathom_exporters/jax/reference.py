"""A workload's step as JAX itself runs it, compiled by XLA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array as JaxArray

from fathom_exporters.shared.reference import StepInParts
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import StepResult
from fathom_onnx.workloads.contract import Array, Mode, TensorSpec, Workload

from . import optimizers
from .jaxprs import convolves_in_double
from .models import Model
from .step import Made, draw_from, run_step

__all__ = ["QUICKLY", "JaxReference", "arrays", "quickly", "tensor"]


QUICKLY: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""XLA's options for steps that run a few times and that nobody times.

XLA makes the same program of operations, and machine code of it without trying hard: a tenth of the time to compile.
"""


def quickly(jaxpr: Any) -> dict[str, Any]:
    """XLA's options for a step: :data:`QUICKLY`, with more effort where that takes less time in all.

    XLA has kernels for convolutions in float32. Those in float64 it writes as loops, which run up to twenty times as
    long where it does not try at all: 3.7 s in place of 0.2 of deepq's training step (preset small), 11.5 s in place of
    3.0 of residual's, which takes 5 s longer to compile. Steps of other operations gain less than they take to compile.
    """
    return {**QUICKLY, "xla_backend_optimization_level": 1} if convolves_in_double(jaxpr) else QUICKLY


class JaxReference(StepInParts):
    """A workload's step in JAX; an implementation of :class:`fathom_onnx.exporting.ReferenceInParts`.

    It is the function that is exported, as ``jax.jit`` runs it: what marks stand for in a graph is JAX's own here.
    Types of 64 bits are allowed while it runs, and nowhere else.
    """

    def __init__(self, workload: Workload, model: Model, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._model, self._mode, self._dtype = workload, model, mode, dtype
        self._inputs = workload.interface(mode, "input").inputs
        self._jitted: Any = jax.jit(self._step, static_argnums=1)
        self._compiled: dict[bool, Any] = {}
        self._compiled_update: Any = jax.jit(self._update, compiler_options=QUICKLY)

    def _step(self, values: dict[str, JaxArray], update: bool) -> tuple[dict[str, JaxArray], dict[str, JaxArray]]:
        noise = draw_from(self._workload, self._mode, values)
        made: Made = run_step(self._workload, self._model, self._mode, values, noise, update=update)
        return made.outputs, made.gradients

    def _update(self, values: dict[str, JaxArray], gradients: dict[str, JaxArray]) -> dict[str, JaxArray]:
        return optimizers.apply(self._workload, values, gradients, draw_from(self._workload, self._mode, values))

    def _tensor(self, spec: TensorSpec, values: Mapping[str, Array]) -> JaxArray:
        return tensor(spec, values, self._dtype)

    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        with jax.enable_x64(True):
            unread = set() if update else {slot.name for slot in self._workload.slots}
            given = {spec.name: self._tensor(spec, values) for spec in self._inputs if spec.name not in unread}
            if update not in self._compiled:
                traced = self._jitted.trace(given, update)
                self._compiled[update] = traced.lower().compile(quickly(traced.jaxpr.jaxpr))
            outputs, gradients = self._compiled[update](given)
            return StepResult(arrays(outputs), arrays(gradients))

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What optax makes of given gradients; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: A variable has no value, or a parameter no gradient.
        """
        workload = self._workload
        with jax.enable_x64(True):
            inputs = {spec.name: self._tensor(spec, values) for spec in self._inputs}
            given = {p.name: self._tensor(p.spec, gradients) for p in workload.parameters}
            new = self._compiled_update(inputs, given)
            return {f"{name}.next": array for name, array in arrays(new).items()}


def tensor(spec: TensorSpec, values: Mapping[str, Array], dtype: str) -> JaxArray:
    """The value of a tensor, of a floating-point type if it has one.

    Raises:
        UnknownNameError: It has no value.
    """
    if spec.name not in values:
        raise UnknownNameError("input value", spec.name, values)
    own = dtype if np.issubdtype(np.dtype(spec.dtype), np.floating) else spec.dtype
    return jnp.asarray(np.asarray(values[spec.name]).reshape(spec.shape), own)


def arrays(tensors: Mapping[str, JaxArray]) -> dict[str, Array]:
    """Tensors as arrays of NumPy."""
    return {name: np.asarray(value) for name, value in tensors.items()}
