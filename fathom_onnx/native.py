"""The interface of native profilers: a workload's step run and timed by a framework itself, without a graph of ours.

A profiler belongs to a framework and is found by the entry-point group ``fathom_onnx.natives``, as an exporter is by
its own, so that this package never imports a framework. All times are microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from fathom_onnx.workloads.contract import Array, Mode, NoiseSource, Workload

from .plugins import framework_part, part_names

__all__ = [
    "ENTRY_POINT_GROUP",
    "UNKNOWN",
    "CompiledKernel",
    "CompiledMeasurement",
    "KernelKind",
    "NativeMeasurement",
    "NativeOp",
    "NativeProfiler",
    "NativeRequest",
    "NativeStep",
    "Progress",
    "Spent",
    "find_native",
    "native_frameworks",
    "spent",
]

ENTRY_POINT_GROUP = "fathom_onnx.natives"
"""Entry points by which native profilers are registered."""

UNKNOWN = "unknown"
"""The phase or layer of an operation whose phase or layer the framework's profiler does not reveal."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class NativeRequest:
    """A workload's step to run natively, with its batches and settings.

    Attributes:
        workload: The workload.
        mode: Inference, or a whole training step.
        batches: Batch inputs by name, taken in turn; with ``noise="input"`` the random tensors are among them.
        noise: Where random tensors come from: drawn by the framework in the step, or given with the batch.
        threads: Threads inside one operator; operators run one after the other.
        warmup: Steps to run and not to count, before each series; before one that goes on where another has run, one at
            most.
        steps: Steps to count.
        seed: Seed of the starting values; it does not control what the framework draws itself.
        kept: A folder of this very step, where a framework may keep what it makes of the model before the first step is
            run, for other processes; whoever gives it names it by all that the step depends on. It is never used where
            compiling is what is timed.
    """

    workload: Workload
    mode: Mode
    batches: Sequence[Mapping[str, Array]]
    noise: NoiseSource = "graph"
    threads: int = 1
    warmup: int = 3
    steps: int = 10
    seed: int = 0
    kept: Path | None = None

    @property
    def further_warmup(self) -> int:
        """Steps to run and not to count before a series of a step that has run before in this process."""
        return min(1, self.warmup)


class NativeOp(NamedTuple):
    """The operation that a time belongs to.

    ``op`` is a canonical op, or the framework's own name where the table has none; ``framework_op`` is what the
    framework ran; ``split`` marks a part of an operation that is several canonical ops.
    """

    op: str
    framework_op: str
    phase: str
    layer: str
    split: bool = False


class Spent(NamedTuple):
    """The time of an operation in one step, over all its calls."""

    us: float
    calls: int


@dataclass(frozen=True)
class NativeStep:
    """One profiled step.

    Attributes:
        wall_us: What the caller waited; a framework that hands the trace over with the result takes longer.
        run_us: From the beginning to the end of the step inside the trace.
        ops: Exclusive time by operation; its sum is at most ``run_us``.
    """

    wall_us: float
    run_us: float
    ops: Mapping[NativeOp, Spent]


@dataclass(frozen=True)
class NativeMeasurement:
    """The result of a native profiler.

    Attributes:
        steps: The profiled steps.
        control_us: Wall time of steps without a profiler, run as the framework runs them by default.
        comparable_us: Likewise, with the settings of the profiled steps; the same numbers where they do not differ.
        first: Outputs of the first step besides new state: the loss or, in inference, the outputs.
        facts: Further facts for the manifest: settings and versions.
        profiled_as: How the profiled steps are run, in a few words, where the framework runs a step in another way by
            default: their times are then those of no step that a user waits for.
    """

    steps: tuple[NativeStep, ...]
    control_us: tuple[float, ...]
    comparable_us: tuple[float, ...]
    first: Mapping[str, Array]
    facts: Mapping[str, Any] = field(default_factory=dict)
    profiled_as: str = ""


KernelKind = Literal["generated", "library", "eager"]
"""Where a kernel of a compiled step comes from: the compiler wrote it, the compiled code calls a library for it, or it
runs outside the compiled code."""


class CompiledKernel(NamedTuple):
    """A kernel of a compiled step, over all its calls in one step.

    ``op`` is its canonical op; empty for a generated one, which computes several operations whose shares are unknown.
    """

    name: str
    kind: KernelKind
    op: str
    us: float
    calls: int


@dataclass(frozen=True)
class CompiledMeasurement:
    """A step compiled by the framework's own compiler.

    Attributes:
        compiler: Its name and what it compiles of the step.
        first_us: Wall time of the first step, which compiles.
        step_us: Wall time of each counted step.
        kernels: The kernels of the median step of those under a profiler; None where the compiler shows none.
        unknown: What cannot be known of the step.
        first: Outputs of the first step besides new state.
    """

    compiler: str
    first_us: float
    step_us: tuple[float, ...]
    kernels: tuple[CompiledKernel, ...] | None
    unknown: str
    first: Mapping[str, Array]


class NativeProfiler(Protocol):
    """A framework's own profiler on a workload's step."""

    framework: str

    def version(self) -> str:
        """The framework's version."""

    def workloads(self) -> tuple[str, ...]:
        """The workloads it has a model for."""

    def measure(self, request: NativeRequest, progress: Progress) -> NativeMeasurement:
        """Run the steps without the profiler and with it, each series from the same starting values.

        Raises:
            UsageError: The number of threads cannot be had in this process.
            ExportError: The model and the workload do not agree.
            RunError: The trace cannot be trusted.
        """

    def prepare(self, request: NativeRequest) -> None:
        """Make what the request's folder keeps, where that takes longer than to measure: no step is run.

        A profiler can do without this method: the first process that measures then makes it.

        Raises:
            UsageError: The number of threads cannot be had in this process.
            ExportError: The model and the workload do not agree.
            OutputError: The folder cannot be written.
        """

    def compiled(self, request: NativeRequest, progress: Progress) -> CompiledMeasurement:
        """Run the steps compiled by the framework's own compiler.

        A profiler of another package can do without this method.

        Raises:
            UsageError: The number of threads cannot be had in this process.
            ExportError: The model and the workload do not agree.
            RunError: The framework could not compile the step.
        """


def spent(times: Iterable[tuple[NativeOp, float]]) -> dict[NativeOp, Spent]:
    """Sum and number of the times of each operation, in order of first appearance."""
    total: dict[NativeOp, Spent] = {}
    for op, us in times:
        before = total.get(op, Spent(0.0, 0))
        total[op] = Spent(before.us + us, before.calls + 1)
    return total


def native_frameworks() -> tuple[str, ...]:
    """Frameworks with a native profiler."""
    return tuple(part_names(ENTRY_POINT_GROUP))


def find_native(framework: str) -> NativeProfiler:
    """The native profiler of a framework.

    Raises:
        UnknownNameError: No profiler of this name.
        MissingDependencyError: The framework is not installed.
    """
    profiler: NativeProfiler = framework_part(ENTRY_POINT_GROUP, framework, "native profiler")
    return profiler
