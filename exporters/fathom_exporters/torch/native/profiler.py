"""Native profiles in PyTorch: the eager step with and without ``torch.profiler``."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.torch.models import TORCH
from fathom_exporters.torch.stepping import layer_marks
from fathom_onnx.native import NativeMeasurement, NativeRequest, NativeStep, Progress, spent
from fathom_onnx.workloads.contract import Array

from .events import ROOT, find_step, operation_times, profiler_mark
from .split import REPEATS, ConvolutionGradients
from .users import UserStep

__all__ = ["TorchNative"]

# Read when the profiler first starts: without it, it announces every start and stop on standard error.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

_Tensors = dict[str, Tensor]
_Run = Callable[[_Tensors], None]
"""Runs a step on a batch and records what is measured."""


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """While entered, PyTorch runs with ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Series:
    """Series of steps that all start from the same values and take the same batches."""

    def __init__(self, request: NativeRequest, progress: Progress) -> None:
        self._request, self._progress = request, progress
        self._start = request.workload.initial_values(request.mode, request.seed)
        self._batches = [{n: torch.from_numpy(v) for n, v in batch.items()} for batch in request.batches]

    def begin(self, step: UserStep) -> _Tensors:
        """Put the starting values into a step's module; the first batch."""
        step.load(self._start)
        return self._batches[0]

    def run(self, what: str, step: UserStep, once: _Run) -> None:
        """Run the steps by ``once``, those of the warm-up included."""
        count = self._request.warmup + self._request.steps
        self.begin(step)
        for number, batch in enumerate(itertools.islice(itertools.cycle(self._batches), count), 1):
            once(batch)
            self._progress(what, number, count)


class TorchNative(FrameworkPart):
    """Profiles workloads in PyTorch; an implementation of :class:`fathom_onnx.native.NativeProfiler`."""

    def __init__(self) -> None:
        super().__init__(TORCH)

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the step eagerly, without and with the profiler; see :class:`fathom_onnx.native.NativeProfiler`."""
        workload, mode = request.workload, request.mode
        series = _Series(request, progress)
        with _threads(request.threads):
            plain = UserStep(workload, mode)
            control_us, first = _control(request, series, plain)
            gradients = ConvolutionGradients()
            if mode == "training":
                batch = series.begin(plain)
                with gradients:
                    plain.run(batch)
            layers = {layer.name: layer.name for layer in workload.layers}
            updates_by = plain.updates_by
            marked = UserStep(workload, mode, mark=profiler_mark, model=plain.model)
            del plain  # and with it the state of its optimizer
            with layer_marks(marked.model, layers, profiler_mark):
                steps = _profiled(request, series, marked, gradients)
        facts = {
            "execution": f"eager module, {updates_by}" if mode == "training" else "eager module",
            "profiler": "torch.profiler, CPU activities",
            "convolution_gradients": f"split by the fastest of {REPEATS} runs of each gradient alone",
            "mkldnn": torch.backends.mkldnn.is_available(),
        }
        return NativeMeasurement(steps, control_us, control_us, first, facts)


def _control(request: NativeRequest, series: _Series, step: UserStep) -> tuple[tuple[float, ...], dict[str, Array]]:
    """Wall times of unprofiled steps, and the outputs of the first one."""
    walls: list[float] = []
    first: dict[str, Array] = {}

    def once(batch: _Tensors) -> None:
        started = time.perf_counter()
        outputs = step.run(batch)
        walls.append((time.perf_counter() - started) * 1e6)
        if not first:
            first.update({name: value.numpy() for name, value in outputs.items()})

    series.run("control", step, once)
    return tuple(walls[request.warmup :]), first


def _profiled(
    request: NativeRequest, series: _Series, step: UserStep, gradients: ConvolutionGradients
) -> tuple[NativeStep, ...]:
    """The profiled steps, those of the warm-up left out."""
    steps: list[NativeStep] = []
    number = itertools.count()

    def once(batch: _Tensors) -> None:
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            started = time.perf_counter()
            with record_function(ROOT):
                step.run(batch)
            wall = (time.perf_counter() - started) * 1e6
        if next(number) >= request.warmup:  # reading the events takes longer than the step
            root = find_step(profiler.events() or ())
            times = operation_times(root, request.mode, gradients.input_shares, step.trained())
            steps.append(NativeStep(wall, float(root.time_range.elapsed_us()), spent(times)))

    series.run("profile", step, once)
    return tuple(steps)
