"""What XLA compiles for a step: a program for the whole of it, and one for each different operation of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import serialize_executable

from fathom_onnx.workloads.contract import Array, Mode, Workload

from .plan import Plan, Source, take_apart
from .users import Program, UserStep

__all__ = ["CompiledStep", "compile_step", "from_bytes", "to_bytes"]


@dataclass(frozen=True)
class CompiledStep:
    """A step, compiled.

    Attributes:
        plan: The step op by op.
        whole: The whole step.
        programs: The programs of the plan, by number.
    """

    plan: Plan
    whole: Program
    programs: Sequence[Program]


def compile_step(
    step: UserStep, workload: Workload, mode: Mode, batch: Mapping[str, Array], threads: int
) -> CompiledStep:
    """Compile a step, whole and op by op.

    Args:
        step: The step.
        workload: Its workload.
        mode: Its mode.
        batch: A batch like those that it will be run with.
        threads: How many programs are compiled at the same time.
    """
    plan, sources = take_apart(step, workload, mode, batch)
    with ThreadPoolExecutor(threads) as pool:
        whole = pool.submit(step.compile, batch)
        programs = list(pool.map(_compiled, sources))
    return CompiledStep(plan, whole.result(), programs)


_known: dict[str, Program] = {}
"""Programs of this process by what XLA is given: inference and training of a workload have many of them in common."""


def _compiled(source: Source) -> Program:
    equation, numbers = source

    def compute(*given: Any) -> tuple[Any, ...]:
        rest = iter(given)
        made = equation.primitive.bind(
            *(next(rest) if number is None else number for number in numbers), **equation.params
        )
        return tuple(made) if equation.primitive.multiple_results else (made,)

    shape: Any = jax.ShapeDtypeStruct
    given = [
        shape(atom.aval.shape, atom.aval.dtype)
        for atom, number in zip(equation.invars, numbers, strict=True)
        if number is None
    ]
    lowered = jax.jit(compute).lower(*given)
    text = lowered.as_text()
    if text not in _known:
        _known[text] = lowered.compile()
    return _known[text]


def to_bytes(program: Any) -> bytes:
    """A program as bytes, machine code included."""
    return bytes(serialize_executable.serialize(program)[0])


def from_bytes(stored: bytes, arguments: Any, results: Any) -> Program:
    """A program from its bytes, which are trusted.

    Args:
        stored: The bytes.
        arguments: A tree like that of its arguments.
        results: A tree like that of its results.
    """
    given: Any = (arguments, {})  # none by name
    structure, load = jax.tree_util.tree_structure, serialize_executable.deserialize_and_load
    loaded: Program = load(stored, structure(given), structure(results))
    return loaded
