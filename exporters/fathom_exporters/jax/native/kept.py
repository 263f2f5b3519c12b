"""A compiled step as files, for other processes that run it: compiling takes as long as hundreds of steps."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from fathom_onnx.graph.files import ensure_folder, write_bytes
from fathom_onnx.native import NativeOp

from .plan import Call, Plan
from .programs import CompiledStep, from_bytes, to_bytes

__all__ = ["keep", "kept_step"]

_PLAN, _CONSTANTS, _PROGRAMS = "step.json", "constants.npz", "programs.bin"


def keep(folder: Path, make: Callable[[], CompiledStep]) -> None:
    """Write a step into a folder that does not hold it yet.

    Args:
        folder: The folder, which belongs to this very step.
        make: Makes the step.

    Raises:
        OutputError: The folder cannot be written.
    """
    if (folder / _PLAN).is_file():  # which is written last
        return
    step = make()
    stored = [to_bytes(program) for program in (step.whole, *step.programs)]
    constants = io.BytesIO()
    np.savez(constants, **{str(at): value for at, value in step.plan.constants.items()})  # type: ignore[arg-type]
    plan = {
        "calls": [[list(call.op), call.program, call.inputs, call.outputs, call.frees] for call in step.plan.calls],
        "places": step.plan.places,
        "given": step.plan.given,
        "outputs": step.plan.outputs,
        "state": step.plan.state,
        "sizes": [len(program) for program in stored],
    }
    ensure_folder(folder)
    write_bytes(folder / _PROGRAMS, b"".join(stored))
    write_bytes(folder / _CONSTANTS, constants.getvalue())
    write_bytes(folder / _PLAN, orjson.dumps(plan))


def kept_step(folder: Path, arguments: Any) -> CompiledStep:
    """The step that a folder keeps.

    Args:
        folder: The folder; its programs are run as they are.
        arguments: What the step is called with, or a tree like it.
    """
    stored: dict[str, Any] = orjson.loads((folder / _PLAN).read_bytes())
    with np.load(folder / _CONSTANTS, allow_pickle=False) as arrays:
        constants = {int(at): arrays[at] for at in arrays}
    calls = tuple(
        Call(NativeOp(*op), program, tuple(inputs), tuple(outputs), tuple(frees))
        for op, program, inputs, outputs, frees in stored["calls"]
    )
    plan = Plan(calls, stored["places"], tuple(stored["given"]), constants, stored["outputs"], stored["state"])
    used = {call.program: call for call in calls}
    trees = [
        (arguments, (plan.outputs, plan.state)),
        *((call.inputs, call.outputs) for _, call in sorted(used.items())),
    ]
    programs = (folder / _PROGRAMS).read_bytes()
    loaded, begin = [], 0
    for size, (given, made) in zip(stored["sizes"], trees, strict=True):
        loaded.append(from_bytes(programs[begin : begin + size], given, made))
        begin += size
    return CompiledStep(plan, loaded[0], loaded[1:])
