"""A step as StableHLO, for the compilers that read no ONNX: text or bytecode of MLIR, from frameworks that have it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from fathom_onnx.errors import ExportError, FathomError, UsageError, one_line
from fathom_onnx.graph.files import write_aside

from .contract import ExportRequest, find_exporter
from .graphs import Exported

__all__ = ["BYTECODE", "TEXT", "StableHlo", "export_stablehlo", "refuse_no_stablehlo"]

TEXT = ".mlir"
"""Ending of a file of text, with the scopes of operations in its locations."""

BYTECODE = ".mlirbc"
"""Ending of a file of portable bytecode."""


@dataclass(frozen=True)
class StableHlo:
    """A step as a module of StableHLO, whose arguments and results are those of the ONNX graph in order.

    Attributes:
        text: The module as text; the location of an operation is its name stack, as ``forward/conv1/dot_general``.
        bytecode: The module as a portable artifact.
        operations: The number of its operations.
    """

    text: str
    bytecode: bytes
    operations: int


def refuse_no_stablehlo(framework: str) -> None:
    """Refuse StableHLO of a framework whose exporter makes none.

    Raises:
        UsageError: It has no method ``stablehlo``.
        UnknownNameError: No exporter of this name.
        MissingDependencyError: The framework is not installed.
    """
    if not hasattr(find_exporter(framework), "stablehlo"):
        raise UsageError(
            f"the exporter of {framework} writes no StableHLO", "take --framework jax, or a model of your own in JAX"
        )


def export_stablehlo(framework: str, request: ExportRequest, path: Path) -> Exported:
    """Export a step to a file of StableHLO, text or bytecode by the ending of its name.

    Raises:
        UsageError: The ending is another, the framework has no StableHLO, or the step draws random numbers itself.
        ExportError: The step cannot be exported.
        OutputError: The file cannot be written.
    """
    started = time.perf_counter()
    if path.suffix not in (TEXT, BYTECODE):
        raise UsageError(f"'{path}' does not end in {TEXT} or {BYTECODE}", f"name it *{TEXT} for text")
    refuse_no_stablehlo(framework)
    workload, mode = request.workload, request.mode
    workload.check_mode(mode)
    if request.noise == "graph" and workload.noise.get(mode):
        raise UsageError(
            f"{workload.name} ({mode}) draws random numbers, and StableHLO has no draw without a key",
            "take them as inputs: --noise input (noise='input')",
        )
    try:
        made: StableHlo = find_exporter(framework).stablehlo(request)  # type: ignore[attr-defined]
    except FathomError:
        raise
    except Exception as error:
        what = f"{workload.name} ({mode})"
        raise ExportError(f"{framework} cannot export {what}: {type(error).__name__}: {one_line(error)}") from error
    data = made.text.encode() if path.suffix == TEXT else made.bytecode
    with write_aside(path) as file:
        file.write(data)
    seconds = time.perf_counter() - started
    return Exported(path, workload.name, framework, mode, made.operations, len(data), seconds)
