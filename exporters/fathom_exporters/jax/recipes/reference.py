"""A recipe's step as JAX itself runs it: the user's own function and optimizer, compiled by XLA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

from fathom_exporters.jax.reference import QUICKLY, arrays, tensor
from fathom_exporters.shared.reference import StepInParts
from fathom_onnx.errors import UnknownNameError
from fathom_onnx.exporting import StepResult
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Array, Mode, Workload

from .capture import capture_recipe, drawing
from .described import Described, Function

__all__ = ["RecipeReference"]


class RecipeReference(StepInParts):
    """A recipe's step in JAX; an implementation of :class:`fathom_onnx.exporting.ReferenceInParts`.

    The function is called as it is. Where it draws random numbers, its record is computed anew with the numbers that
    are given in their place.
    """

    def __init__(self, workload: RecipeWorkload, mode: Mode, dtype: Literal["float32", "float64"]) -> None:
        self._workload, self._mode, self._dtype = workload, mode, dtype
        self._described: Described = workload.described
        self._wide = dtype == "float64"
        self._inputs = workload.interface(mode, "input").inputs
        recorded = self._described.traced(dtype)  # says in one line what the function cannot be run in
        self._replay = self._described.replay(recorded) if workload.noise.get(mode) else None
        # what the loss does not depend on, or the update does not read, has no gradient in a graph
        self._derived = capture_recipe(workload, mode, "input").gradients
        self._step: Any = jax.jit(self._made, static_argnums=1, compiler_options=QUICKLY)
        self._update: Any = jax.jit(self._updated, compiler_options=QUICKLY)

    def _function(self, values: Mapping[str, Any]) -> Function:
        if self._replay is None:
            return self._described.flat
        return drawing(self._replay, self._workload, self._mode, values, labelled=False)

    def _made(self, values: dict[str, Any], update: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        function = self._function(values)
        step = self._described.inference if self._mode == "inference" else self._described.training
        made = step(values, function)
        kept = made.outputs
        if self._mode == "training" and not update:  # XLA leaves out what is computed for others alone
            kept = {name: kept[name] for name in (Workload.LOSS, *(b.next.name for b in self._workload.buffers))}
        return kept, made.gradients

    def _updated(self, values: dict[str, Any], gradients: dict[str, Any]) -> dict[str, Any]:
        loss = self._described.training(values, self._function(values)).outputs["loss"]
        return self._described.update(values, gradients, loss)

    def _given(self, values: Mapping[str, Array]) -> dict[str, Any]:
        return {spec.name: tensor(spec, values, self._dtype) for spec in self._inputs}

    def _run(self, values: Mapping[str, Array], update: bool) -> StepResult:
        with jax.enable_x64(self._wide):
            outputs, gradients = self._step(self._given(values), update)
            return StepResult(arrays(outputs), {n: g for n, g in arrays(gradients).items() if n in self._derived})

    def update(self, values: Mapping[str, Array], gradients: Mapping[str, Array]) -> dict[str, Array]:
        """What the optimizer makes of given gradients; see :class:`fathom_onnx.exporting.Reference`.

        Raises:
            UnknownNameError: A gradient is of no parameter.
        """
        parameters = {spec.name: spec for spec in self._described.parameters.specs}
        for name in gradients:
            if name not in parameters:
                raise UnknownNameError("parameter", name, parameters)
        whole = {n: gradients.get(n, np.zeros(spec.shape)) for n, spec in parameters.items()}
        with jax.enable_x64(self._wide):
            given = {n: tensor(spec, whole, self._dtype) for n, spec in parameters.items()}
            new = self._update(self._given(values), given)
            return {f"{name}.next": array for name, array in arrays(new).items()}
