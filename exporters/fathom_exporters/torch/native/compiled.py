"""A workload's step by ``torch.compile``: how long it takes, and what its kernels are.

The forward pass with the loss is compiled, and with it the backward pass; the optimizer's step stays eager, as it does
for users who compile their model. The compiler (inductor) writes one kernel for many operations, whose name lists some
of them, and calls libraries for convolutions and matrix products.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from torch.profiler import ProfilerActivity, profile, record_function

from fathom_onnx.errors import RunError, one_line
from fathom_onnx.native import CompiledKernel, CompiledMeasurement, KernelKind, NativeRequest, Progress
from fathom_onnx.workloads.contract import Array, Mode

from .event_tree import ROOT, Event, event_tree, find_step
from .ops import CONVOLUTION_BACKWARD, PREFIX, canonical_op, plain_name
from .series import Series, Tensors, with_threads
from .users import UserStep

__all__ = ["kernels_of", "measure_compiled"]

_GENERATED = re.compile(r"^(graph_\d+_)?cpp_fused")
"""Names of the kernels that inductor writes for the CPU."""

_COMPILED = "CompiledFxGraph"
"""In the name of the scope around each piece of compiled code."""

_UPDATE = "Optimizer.step#"
"""Start of the name of the scope around an optimizer's step."""

UNKNOWN = (
    "how the time of a generated kernel divides among the operations that it computes, their phases and layers; which "
    "operations were removed"
)
"""What cannot be known of a step that inductor compiled."""


def _kernels(event: Event, mode: Mode, update: str, inside: bool = False, op: str = "") -> Iterator[CompiledKernel]:
    """The kernels below an event, a call each; ``op`` is what all of them count as."""
    name = event.name
    if _GENERATED.match(name):
        yield CompiledKernel(name, "generated", "", event.us, 1)
    elif name.startswith(PREFIX):
        kind: KernelKind = "library" if inside else "eager"
        plain = plain_name(name)
        own = "Conv2DBackInput" if plain == CONVOLUTION_BACKWARD else canonical_op(plain, mode)
        yield CompiledKernel(name, kind, op or own, event.us, 1)
    else:
        for child in event.children:
            yield from _kernels(
                child, mode, update, inside or _COMPILED in name, update if name.startswith(_UPDATE) else op
            )


def kernels_of(steps: Iterable[Event], mode: Mode, update: str) -> tuple[CompiledKernel, ...]:
    """The kernels of a step, each with its median time over several of the same, and its calls; slowest first.

    Args:
        steps: The profiler's event of each step.
        mode: Their mode.
        update: The canonical op of the optimizer's step.
    """
    times: list[Counter[tuple[str, KernelKind, str]]] = []
    calls: Counter[tuple[str, KernelKind, str]] = Counter()
    for step in steps:
        times.append(Counter())
        found: Counter[tuple[str, KernelKind, str]] = Counter()
        for kernel in _kernels(step, mode, update):
            times[-1][kernel[:3]] += kernel.us  # type: ignore[assignment]  # a Counter of microseconds
            found[kernel[:3]] += 1
        calls |= found
    medians = {key: float(np.median([one[key] for one in times])) for key in calls}
    ordered = sorted(medians, key=lambda key: -medians[key])
    return tuple(CompiledKernel(*key, medians[key], calls[key]) for key in ordered)


def measure_compiled(
    request: NativeRequest, progress: Progress, compiler: Callable[[Any], Any] = torch.compile
) -> CompiledMeasurement:
    """Run the step compiled, without a profiler and then with it.

    Args:
        request: What is run.
        progress: Called with what is done.
        compiler: What compiles the forward pass and the loss.

    Raises:
        RunError: PyTorch could not compile the step: no C++ compiler, say.
    """
    walls: list[float] = []
    first: dict[str, Array] = {}
    roots: list[Event] = []
    number = itertools.count()

    def plain(batch: Tensors) -> None:
        started = time.perf_counter()
        outputs = step.run(batch)
        walls.append((time.perf_counter() - started) * 1e6)
        if not first:
            first.update({name: value.clone().numpy() for name, value in outputs.items()})

    def profiled(batch: Tensors) -> None:
        with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(ROOT):
            step.run(batch)
        if next(number) >= request.warmup:
            roots.append(find_step(event_tree(profiler)))

    series = Series(request, progress)
    step = UserStep(request.workload, request.mode, compiler=compiler)
    # generated kernels then announce themselves to the profiler
    with with_threads(request.threads), torch._inductor.config.patch({"cpp.enable_kernel_profile": True}):
        try:
            plain(series.begin(step))
        except Exception as error:
            raise RunError(
                f"PyTorch cannot compile {request.workload.name}: {one_line(error)}",
                "install a C++ compiler, or leave --compiled out",
            ) from error
        (first_us,) = walls
        walls.clear()
        series.run("compiled", step, plain)
        series.run("compiled, profiled", step, profiled)
    return CompiledMeasurement(
        compiler="torch.compile (inductor): forward and backward pass; the optimizer eager"
        if request.mode == "training"
        else "torch.compile (inductor): the forward pass",
        first_us=first_us,
        step_us=tuple(walls[request.warmup :]),
        kernels=kernels_of(roots, request.mode, request.workload.optimizer.OP),
        unknown=UNKNOWN,
        first=first,
    )
