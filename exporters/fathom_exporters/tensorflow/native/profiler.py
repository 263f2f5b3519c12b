"""Native profiles in TensorFlow: the step as a graph in a session, with and without step statistics."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from fathom_exporters.framework import FrameworkPart
from fathom_exporters.tensorflow.capture import capture
from fathom_exporters.tensorflow.models import TENSORFLOW
from fathom_onnx.errors import RunError, UsageError, one_line
from fathom_onnx.native import CompiledMeasurement, NativeMeasurement, NativeRequest, Progress
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.workloads.contract import Array

from .functions import FunctionStep
from .graph import NativeGraph, native_graph
from .kept import kept_graph
from .session import NativeSession, open_session
from .stats import native_step

__all__ = ["TensorFlowNative", "set_threads"]


def set_threads(count: int) -> None:
    """Set the number of threads inside an operation, for the whole process from its first tensor on.

    Raises:
        UsageError: TensorFlow already runs with another number.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
    except RuntimeError as error:
        current = tf.config.threading.get_intra_op_parallelism_threads() or cpu_cores()
        if current != count:
            raise UsageError(
                f"TensorFlow runs with {current} threads in this process and cannot be given {count}",
                f"profile in a process of its own, or with --threads {current}",
            ) from error
    # the first tensor starts the threads: otherwise the first session would, with its own number
    tf.constant(0)


class TensorFlowNative(FrameworkPart):
    """Profiles workloads in TensorFlow; an implementation of :class:`fathom_onnx.native.NativeProfiler`."""

    def __init__(self) -> None:
        super().__init__(TENSORFLOW)

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the step in a session, without and with a trace; see :class:`fathom_onnx.native.NativeProfiler`."""
        set_threads(request.threads)
        workload, mode = request.workload, request.mode

        def make() -> NativeGraph:
            model = TENSORFLOW.model(workload.name)
            captured = capture(workload, model, mode, request.noise, data_format="NHWC", update=False)
            return native_graph(captured, mode, request.noise)

        graph = kept_graph(request.kept, make)
        start = workload.initial_values(mode, request.seed)
        batches = [graph.laid_out(batch) for batch in request.batches]
        first: dict[str, Array] = {}

        def plain(session: NativeSession, batch: Mapping[str, Array]) -> float:
            started = time.perf_counter()
            results = session.step(batch)
            wall = (time.perf_counter() - started) * 1e6
            if not first:
                first.update(results)
            return wall

        def traced(session: NativeSession, batch: Mapping[str, Array]) -> Any:
            started = time.perf_counter()
            stats = session.traced_step(batch)
            return native_step(stats, graph.tags, (time.perf_counter() - started) * 1e6)

        def series(
            what: str, session: NativeSession, once: Callable[..., Any], warmup: int = request.warmup
        ) -> tuple[Any, ...]:
            session.load(start)
            count = warmup + request.steps
            results = []
            for number, batch in enumerate(itertools.islice(itertools.cycle(batches), count), 1):
                results.append(once(session, batch))
                progress(what, number, count)
            return tuple(results[warmup:])

        with open_session(graph, request.threads, optimized=True) as session:
            control_us = series("control", session, plain)
        with open_session(graph, request.threads, optimized=False) as session:
            comparable_us = series("control without rewriting", session, plain)
            steps = series("profile", session, traced, request.further_warmup)
        facts = {
            "execution": "graph in a session, one operation after the other, state in variables",
            "profiler": "step statistics, graph rewriting (Grappler) off; the control has it on",
            "layout": "images NHWC, filters HWIO",
            "permuted_variables": len(graph.permuted),
            "graph_operations": len(graph.graph.get_operations()),
        }
        return NativeMeasurement(steps, control_us, comparable_us, first, facts)

    def compiled(self, request: NativeRequest, progress: Progress) -> CompiledMeasurement:
        """Run the step compiled by XLA; see :class:`fathom_onnx.native.NativeProfiler`."""
        set_threads(request.threads)
        workload, mode = request.workload, request.mode
        step = FunctionStep(workload, TENSORFLOW.model(workload.name), mode, xla=True)
        start = workload.initial_values(mode, request.seed)
        step.load(start)
        batches = [{n: tf.convert_to_tensor(v) for n, v in batch.items()} for batch in request.batches]
        started = time.perf_counter()
        try:
            first = step.run(batches[0])
        except tf.errors.OpError as error:
            raise RunError(
                f"XLA cannot compile {workload.name}: {one_line(error.message)}", "leave --compiled out"
            ) from error
        first_us = (time.perf_counter() - started) * 1e6
        step.load(start)
        walls: list[float] = []
        count = request.warmup + request.steps
        for number, batch in enumerate(itertools.islice(itertools.cycle(batches), count), 1):
            started = time.perf_counter()
            step.run(batch)
            walls.append((time.perf_counter() - started) * 1e6)
            progress("compiled", number, count)
        return CompiledMeasurement(
            compiler="XLA: the whole step, the update included" if mode == "training" else "XLA: the forward pass",
            first_us=first_us,
            step_us=tuple(walls[request.warmup :]),
            kernels=None,
            unknown="everything inside the step: XLA's program is one operation to TensorFlow's profiler",
            first=first,
        )
