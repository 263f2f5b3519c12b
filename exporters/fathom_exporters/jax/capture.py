"""The recording of a workload's step as a jaxpr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import Interface, Mode, NoiseSource, TensorSpec, Workload

from .jaxprs import ClosedJaxpr, same
from .models import Model
from .step import draw_from, run_step

__all__ = ["Captured", "capture"]


@dataclass(frozen=True)
class Captured:
    """A recorded step.

    Attributes:
        workload: The workload.
        mode: The mode.
        interface: The graph's inputs and outputs, which are the jaxpr's arguments and first results in order.
        jaxpr: The step. Its floating-point type is float64 where that gives the same equations: its numbers then
            have all their digits. The graph is of float32 in both cases.
        gradients: The parameters whose gradients are the jaxpr's further results, in order.
    """

    workload: Workload
    mode: Mode
    interface: Interface
    jaxpr: ClosedJaxpr
    gradients: tuple[str, ...] = field(default=())


def _shape(spec: TensorSpec, dtype: str) -> Any:
    floating = np.issubdtype(np.dtype(spec.dtype), np.floating)
    made: Any = jax.ShapeDtypeStruct
    return made(spec.shape, dtype if floating else spec.dtype)


def capture(workload: Workload, model: Model, mode: Mode, noise: NoiseSource) -> Captured:
    """Record a workload's step.

    Raises:
        ExportError: The model and the workload do not agree.
    """
    interface = workload.interface(mode, noise)
    trained = tuple(p.name for p in workload.parameters) if mode == "training" else ()

    def step(*arguments: Array) -> list[Array]:
        values = {spec.name: value for spec, value in zip(interface.inputs, arguments, strict=True)}
        made = run_step(workload, model, mode, values, draw_from(workload, mode, values))
        _check_outputs(made.outputs, interface)
        return [*(made.outputs[spec.name] for spec in interface.outputs), *(made.gradients[name] for name in trained)]

    def record(dtype: Literal["float32", "float64"]) -> Any:
        return jax.make_jaxpr(step)(*(_shape(spec, dtype) for spec in interface.inputs))

    with jax.enable_x64(True):  # whole numbers of the interface are int64
        double, single = record("float64"), record("float32")
    return Captured(workload, mode, interface, double if same(double, single) else single, trained)


def _check_outputs(outputs: Mapping[str, Array], interface: Interface) -> None:
    """Refuse outputs of another shape than the workload's.

    Raises:
        ExportError: One has another shape.
    """
    for spec in interface.outputs:
        shape = tuple(outputs[spec.name].shape)
        if shape != spec.shape:
            raise ExportError(
                f"the JAX model's '{spec.name}' is {shape}, the workload says {spec.shape}",
                "the model and the workload must agree",
            )
