"""A step as a module of StableHLO by ``jax.export``, with the scopes of its operations in their locations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array
from jax import export as jax_export
from jax.interpreters.mlir import make_ir_context

from fathom_onnx.exporting import ExportRequest, StableHlo

from .capture import shape_of_spec
from .step import Made

__all__ = ["exported_step", "to_stablehlo"]


def exported_step(request: ExportRequest, step: Callable[[Mapping[str, Array]], Made]) -> jax_export.Exported:
    """A step as JAX exports it: arguments and results are ordered mappings by the names of the interface.

    Args:
        request: What is exported.
        step: From the inputs of the interface to what the step makes.
    """
    interface = request.workload.interface(request.mode, request.noise)

    def step_of_names(values: OrderedDict[str, Array]) -> OrderedDict[str, Array]:
        made = step(values).outputs
        return OrderedDict((spec.name, made[spec.name].astype(spec.dtype)) for spec in interface.outputs)

    wide = any(spec.dtype.endswith("64") for spec in interface.inputs)  # whole numbers of a workload's are int64
    with jax.enable_x64(wide):
        shapes = OrderedDict((spec.name, shape_of_spec(spec, "float32")) for spec in interface.inputs)
        # without keep_unused, what the step does not read is no argument
        return jax_export.export(jax.jit(step_of_names, keep_unused=True), platforms=["cpu"])(shapes)


def to_stablehlo(request: ExportRequest, step: Callable[[Mapping[str, Array]], Made]) -> StableHlo:
    """A step as text and bytecode; for the arguments see :func:`exported_step`."""
    exported = exported_step(request, step)
    with make_ir_context():
        operation: Any = exported.mlir_module(serialized=False).operation
        text, count = operation.get_asm(enable_debug_info=True), _operations(operation)
    return StableHlo(text, bytes(exported.mlir_module_serialized), count)


def _operations(operation: Any) -> int:
    """The operations within one, functions and returns left out."""
    inner = [child for region in operation.regions for block in region.blocks for child in block.operations]
    named = [child.operation for child in inner]
    return sum((0 if child.name.startswith("func.") else 1) + _operations(child) for child in named)
