"""Operators of our own for onnx's reference evaluator, written as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnx.reference.op_run import OpRun

from fathom_onnx.workloads.contract import Array

__all__ = ["Function", "operator"]

Function = Callable[..., "Array | tuple[Array, ...]"]
"""From the inputs (None for one that is left out) and the attributes by name to the output, or to all outputs."""


def operator(op_type: str, function: Function) -> type[OpRun]:
    """An operator of the default domain as the evaluator takes it.

    Args:
        op_type: The op type, of which it is every version.
        function: What it computes. It may return more outputs than a node has.
    """

    def run(self: OpRun, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        made = function(*inputs, **attributes)
        return made if isinstance(made, tuple) else (made,)

    return type(op_type, (OpRun,), {"op_domain": "", "_run": run})
