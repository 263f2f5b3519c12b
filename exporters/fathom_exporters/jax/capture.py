"""The recording of a workload's step as a jaxpr."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
from jax import Array

from fathom_onnx.errors import ExportError
from fathom_onnx.workloads.contract import (
    GradientDescent,
    Gradients,
    Interface,
    Mode,
    NoiseSource,
    TensorSpec,
    Workload,
)

from .jaxprs import ClosedJaxpr, same
from .models import Model
from .step import Made, draw_from, run_step

__all__ = ["Captured", "Width", "capture", "captured_step", "shape_of_spec"]


Width = Literal["float32", "float64"]
"""The floating-point type in which a step is recorded."""


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
        owners: Optimizer state and noise on gradients to the parameter that they belong to, by name.
    """

    workload: Workload
    mode: Mode
    interface: Interface
    jaxpr: ClosedJaxpr
    gradients: tuple[str, ...] = field(default=())
    owners: Mapping[str, str] = field(default_factory=dict)


def shape_of_spec(spec: TensorSpec, dtype: str) -> Any:
    """Shape and type of a tensor for recording; what is of a floating-point type is of ``dtype``."""
    floating = np.issubdtype(np.dtype(spec.dtype), np.floating)
    made: Any = jax.ShapeDtypeStruct
    return made(spec.shape, dtype if floating else spec.dtype)


def capture(workload: Workload, model: Model, mode: Mode, noise: NoiseSource) -> Captured:
    """Record a workload's step.

    Raises:
        ExportError: The model and the workload do not agree.
    """
    rule = workload.optimizer
    owners: dict[str, str] = {}
    for name in (p.name for p in workload.parameters):
        slots = () if isinstance(rule, GradientDescent) else rule.slots(name)
        owners |= dict.fromkeys((*slots, Gradients.noise_of(name)), name)

    def step(values: Mapping[str, Array]) -> Made:
        return run_step(workload, model, mode, values, draw_from(workload, mode, values))

    with jax.enable_x64(True):  # whole numbers of the interface are int64
        return captured_step(workload, mode, noise, step, owners)


def captured_step(
    workload: Workload,
    mode: Mode,
    noise: NoiseSource,
    step: Callable[[Mapping[str, Array]], Made],
    owners: Mapping[str, str],
    widths: Sequence[Width] = ("float64", "float32"),
) -> Captured:
    """Record a function from the inputs of an interface to its outputs and gradients.

    Args:
        workload: The workload.
        mode: The mode.
        noise: Where random tensors come from.
        step: The function.
        owners: As for :class:`Captured`.
        widths: The floating-point types to record it in; of both, the first where they give the same equations.

    Raises:
        ExportError: An output has another shape than the workload's.
    """
    interface = workload.interface(mode, noise)
    trained = tuple(p.name for p in workload.parameters) if mode == "training" else ()

    def run(*arguments: Array) -> list[Array]:
        made = step({spec.name: value for spec, value in zip(interface.inputs, arguments, strict=True)})
        _check_outputs(made.outputs, interface)
        return [*(made.outputs[spec.name] for spec in interface.outputs), *(made.gradients[name] for name in trained)]

    def record(dtype: Width) -> Any:
        return jax.make_jaxpr(run)(*(shape_of_spec(spec, dtype) for spec in interface.inputs))

    first, *others = map(record, widths)
    kept = first if all(same(first, other) for other in others) else others[-1]
    return Captured(workload, mode, interface, kept, trained, owners)


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
