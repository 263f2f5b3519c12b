"""Native profiles in PyTorch: the eager step with and without ``torch.profiler``."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.torch.built import built_subject
from fathom_exporters.torch.models import TORCH
from fathom_exporters.torch.stepping import Step, layer_marks, make_step
from fathom_onnx.native import NativeMeasurement, NativeRequest, NativeStep, Progress, spent
from fathom_onnx.workloads.contract import Array

from .events import ROOT, find_step, operation_times, profiler_mark
from .split import REPEATS, ConvolutionGradients

__all__ = ["TorchNative"]

# Read when the profiler first starts: without it, it announces every start and stop on standard error.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

_Tensors = dict[str, Tensor]
_Run = Callable[[_Tensors], _Tensors]
"""Runs a step on its inputs, records what is measured, and returns its outputs."""


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """While entered, PyTorch runs with ``count`` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _no_mark(_: dict[str, str]) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()


class _Series:
    """Series of steps that all start from the same values and take the same batches."""

    def __init__(self, request: NativeRequest, progress: Progress) -> None:
        self._request, self._progress = request, progress
        workload, mode = request.workload, request.mode
        self._start = {n: torch.from_numpy(v) for n, v in workload.initial_values(mode, request.seed).items()}
        self._batches = [{n: torch.from_numpy(v) for n, v in batch.items()} for batch in request.batches]
        self._carried = [(v.name, v.next.name) for v in workload.carried(mode)]

    def inputs(self) -> _Tensors:
        """The inputs of the first step."""
        return {**self._batches[0], **self._start}

    def run(self, what: str, once: _Run) -> None:
        """Run the steps by ``once``, those of the warm-up included."""
        count = self._request.warmup + self._request.steps
        state = self._start
        for number, batch in enumerate(itertools.islice(itertools.cycle(self._batches), count), 1):
            outputs = once({**batch, **state})
            state = {**state, **{name: outputs[new] for name, new in self._carried}}
            self._progress(what, number, count)


class TorchNative(FrameworkPart):
    """Profiles workloads in PyTorch; an implementation of :class:`fathom_onnx.native.NativeProfiler`."""

    def __init__(self) -> None:
        super().__init__(TORCH)

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the step eagerly, without and with the profiler; see :class:`fathom_onnx.native.NativeProfiler`."""
        workload, mode = request.workload, request.mode
        subject = built_subject(workload, mode)
        series = _Series(request, progress)
        with _threads(request.threads):
            plain = make_step(subject, mode, _no_mark, recorded=False)
            control_us, first = _control(request, series, plain)
            gradients = ConvolutionGradients()
            if mode == "training":
                with gradients:
                    plain(series.inputs())
            layers = {layer.name: layer.name for layer in workload.layers}
            with layer_marks(subject.model, layers, profiler_mark):
                marked = make_step(subject, mode, profiler_mark, recorded=False)
                steps = _profiled(request, series, marked, gradients)
        facts = {
            "execution": "eager, functional step",
            "profiler": "torch.profiler, CPU activities",
            "convolution_gradients": f"split by the fastest of {REPEATS} runs of each gradient alone",
            "mkldnn": torch.backends.mkldnn.is_available(),
        }
        return NativeMeasurement(steps, control_us, control_us, first, facts)


def _control(request: NativeRequest, series: _Series, step: Step) -> tuple[tuple[float, ...], dict[str, Array]]:
    """Wall times of unprofiled steps, and the outputs of the first one besides new state."""
    walls: list[float] = []
    first: dict[str, Array] = {}
    state = {v.next.name for v in request.workload.carried(request.mode)}

    def once(values: _Tensors) -> _Tensors:
        started = time.perf_counter()
        outputs = step(values)
        walls.append((time.perf_counter() - started) * 1e6)
        if not first:
            first.update({name: value.detach().numpy() for name, value in outputs.items() if name not in state})
        return outputs

    series.run("control", once)
    return tuple(walls[request.warmup :]), first


def _profiled(
    request: NativeRequest, series: _Series, step: Step, gradients: ConvolutionGradients
) -> tuple[NativeStep, ...]:
    """The profiled steps, those of the warm-up left out."""
    steps: list[NativeStep] = []
    number = itertools.count()

    def once(values: _Tensors) -> _Tensors:
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            started = time.perf_counter()
            with record_function(ROOT):
                outputs = step(values)
            wall = (time.perf_counter() - started) * 1e6
        if next(number) >= request.warmup:  # reading the events takes longer than the step
            root = find_step(profiler.events() or ())
            times = operation_times(root, request.mode, gradients.input_shares)
            steps.append(NativeStep(wall, float(root.time_range.elapsed_us()), spent(times)))
        return outputs

    series.run("profile", once)
    return tuple(steps)
