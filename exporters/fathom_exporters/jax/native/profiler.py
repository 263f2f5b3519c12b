"""Native profiles in JAX: the step compiled by XLA, without a profiler, and the same step op by op."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.jax.models import JAX
from fathom_onnx.errors import RunError, one_line
from fathom_onnx.native import (
    CompiledMeasurement,
    NativeMeasurement,
    NativeRequest,
    NativeStep,
    Progress,
    spent,
)
from fathom_onnx.workloads.contract import Array, Mode

from .backend import on_cpu
from .equations import OpByOp
from .kept import keep, kept_step
from .programs import CompiledStep, compile_step
from .users import Tensors, UserStep, on_device

__all__ = ["JaxNative"]

Made = TypeVar("Made")

PROFILED_AS = "op by op; XLA fuses these"
"""What an op's time is here, which is not how JAX runs a step by default."""


class JaxNative(FrameworkPart):
    """Profiles workloads in JAX; an implementation of :class:`fathom_onnx.native.NativeProfiler`."""

    def __init__(self) -> None:
        super().__init__(JAX)

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the step compiled, then op by op; see :class:`fathom_onnx.native.NativeProfiler`."""
        with on_cpu(request.threads):
            series = _Series(request, progress)
            step = series.step
            compiled = _compiled(request, step, series.begin())
            step.use(compiled.whole)
            op_by_op = OpByOp(compiled.plan, compiled.programs)
            control_us, first = _walls(request, series, "control")

            def plain(batch: Tensors) -> float:
                arguments = step.arguments(batch)
                started = time.perf_counter()
                _, state = op_by_op.run(arguments)
                wall = (time.perf_counter() - started) * 1e6
                step.keep(state)
                return wall

            def timed(batch: Tensors) -> NativeStep:
                arguments = step.arguments(batch)
                started = time.perf_counter()
                times, (_, state) = op_by_op.timed(arguments)
                wall = (time.perf_counter() - started) * 1e6
                step.keep(state)
                return NativeStep(wall, wall, spent(times))

            steps = series.run("profile", timed)
            # which has warmed the same programs up
            comparable_us = series.run("control op by op", plain, warmup=0)
            facts = {
                "execution": _compiler(request.mode),
                "profiler": "the equations of the step's jaxpr one by one, each compiled alone and run to its end; the "
                "control is the step compiled whole",
                "equations": len(compiled.plan.calls),
                "programs": len(compiled.programs),
                "empty_call_us": _empty_call_us(),
            }
        return NativeMeasurement(steps, tuple(control_us), tuple(comparable_us), first, facts, PROFILED_AS)

    def prepare(self, request: NativeRequest) -> None:
        """Compile the step into the folder that is kept; see :class:`fathom_onnx.native.NativeProfiler`."""
        if request.kept is not None:
            with on_cpu(request.threads):
                _keep(request, request.kept)

    def compiled(self, request: NativeRequest, progress: Progress) -> CompiledMeasurement:
        """Run the step compiled by XLA; see :class:`fathom_onnx.native.NativeProfiler`."""
        with on_cpu(request.threads):
            series = _Series(request, progress)
            batch = series.begin()
            started = time.perf_counter()
            try:
                series.step.run(batch)
            except jax.errors.JaxRuntimeError as error:
                raise RunError(
                    f"XLA cannot compile {request.workload.name}: {one_line(error)}", "leave --compiled out"
                ) from error
            first_us = (time.perf_counter() - started) * 1e6
            step_us, first = _walls(request, series, "compiled")
        return CompiledMeasurement(
            compiler=_compiler(request.mode),
            first_us=first_us,
            step_us=tuple(step_us),
            kernels=None,
            unknown="which operations a fused kernel computes, and how its time divides among their phases and layers",
            first=first,
        )


def _make(request: NativeRequest, step: UserStep) -> CompiledStep:
    return compile_step(step, request.workload, request.mode, request.batches[0], request.threads)


def _keep(request: NativeRequest, folder: Path) -> None:
    keep(folder, lambda: _make(request, UserStep(request.workload, request.mode, request.seed)))


def _compiled(request: NativeRequest, step: UserStep, batch: Tensors) -> CompiledStep:
    """The compiled step: where it is kept, as it is kept, so that all processes run the same."""
    if request.kept is None:
        return _make(request, step)
    _keep(request, request.kept)
    return kept_step(request.kept, step.arguments(batch))


class _Series:
    """Series of steps that all start from the same values and take the same batches."""

    def __init__(self, request: NativeRequest, progress: Progress) -> None:
        self._request, self._progress = request, progress
        self._start = request.workload.initial_values(request.mode, request.seed)
        self._batches = [on_device(batch) for batch in request.batches]
        self.step = UserStep(request.workload, request.mode, request.seed)

    def begin(self) -> Tensors:
        """Load the starting values; the first batch."""
        self.step.load(self._start)
        return self._batches[0]

    def run(self, what: str, once: Callable[[Tensors], Made], warmup: int | None = None) -> tuple[Made, ...]:
        """What ``once`` makes of each batch, those of the warm-up left out, which is the request's for None."""
        warmup = self._request.warmup if warmup is None else warmup
        count = warmup + self._request.steps
        self.begin()
        made = []
        for number, batch in enumerate(itertools.islice(itertools.cycle(self._batches), count), 1):
            made.append(once(batch))
            self._progress(what, number, count)
        return tuple(made[warmup:])


def _walls(request: NativeRequest, series: _Series, what: str) -> tuple[tuple[float, ...], dict[str, Array]]:
    """Wall times of compiled steps, and the outputs of the first one."""
    first: dict[str, Array] = {}

    def once(batch: Tensors) -> float:
        started = time.perf_counter()
        outputs = series.step.run(batch)
        wall = (time.perf_counter() - started) * 1e6
        if not first:
            first.update({name: np.asarray(value) for name, value in outputs.items()})
        return wall

    return series.run(what, once), first


def _compiler(mode: Mode) -> str:
    part = "the whole step, the update included" if mode == "training" else "the forward pass"
    return f"XLA (jax.jit): {part}"


_EMPTY_CALLS = 200


def _empty_call_us() -> float:
    """The median time of a call that computes next to nothing: what each op's time has of the calling itself."""
    one = jax.numpy.zeros(())
    nothing = jax.jit(lambda x: x + 1)
    times = []
    for _ in range(_EMPTY_CALLS):
        started = time.perf_counter()
        nothing(one).block_until_ready()
        times.append((time.perf_counter() - started) * 1e6)
    return float(np.median(times))
