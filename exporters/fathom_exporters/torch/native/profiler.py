"""Native profiles in PyTorch: the eager step with and without ``torch.profiler``."""

from __future__ import annotations

import itertools
import os
import time

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.torch.models import TORCH
from fathom_exporters.torch.stepping import layer_marks
from fathom_onnx.native import CompiledMeasurement, NativeMeasurement, NativeRequest, NativeStep, Progress, spent
from fathom_onnx.workloads.contract import Array

from .compiled import measure_compiled
from .event_tree import ROOT, event_tree, find_step
from .events import operation_times, profiler_mark
from .series import Series, Tensors, with_threads
from .split import REPEATS, ConvolutionGradients
from .users import UserStep

__all__ = ["TorchNative"]

# Read when the profiler first starts: without it, it announces every start and stop on standard error.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


class TorchNative(FrameworkPart):
    """Profiles workloads in PyTorch; an implementation of :class:`fathom_onnx.native.NativeProfiler`."""

    def __init__(self) -> None:
        super().__init__(TORCH)

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the step eagerly, without and with the profiler; see :class:`fathom_onnx.native.NativeProfiler`."""
        workload, mode = request.workload, request.mode
        series = Series(request, progress)
        with with_threads(request.threads):
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

    def compiled(self, request: NativeRequest, progress: Progress) -> CompiledMeasurement:
        """Run the step by ``torch.compile``; see :class:`fathom_onnx.native.NativeProfiler`."""
        return measure_compiled(request, progress)


def _control(request: NativeRequest, series: Series, step: UserStep) -> tuple[tuple[float, ...], dict[str, Array]]:
    """Wall times of unprofiled steps, and the outputs of the first one."""
    walls: list[float] = []
    first: dict[str, Array] = {}

    def once(batch: Tensors) -> None:
        started = time.perf_counter()
        outputs = step.run(batch)
        walls.append((time.perf_counter() - started) * 1e6)
        if not first:
            first.update({name: value.numpy() for name, value in outputs.items()})

    series.run("control", step, once)
    return tuple(walls[request.warmup :]), first


def _profiled(
    request: NativeRequest, series: Series, step: UserStep, gradients: ConvolutionGradients
) -> tuple[NativeStep, ...]:
    """The profiled steps, those of the warm-up left out."""
    steps: list[NativeStep] = []
    number = itertools.count()

    def once(batch: Tensors) -> None:
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            started = time.perf_counter()
            with record_function(ROOT):
                step.run(batch)
            wall = (time.perf_counter() - started) * 1e6
        if next(number) >= request.further_warmup:  # reading the events takes longer than the step
            root = find_step(event_tree(profiler))
            times = operation_times(root, request.mode, gradients.input_shares, step.trained())
            steps.append(NativeStep(wall, root.us, spent(times)))

    series.run("profile", step, once, request.further_warmup)
    return tuple(steps)
