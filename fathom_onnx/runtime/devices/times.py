"""Device time of executed nodes: from a trace's nodes and a recording's calls and work.

A call belongs to the innermost node that was executed on its thread when it was made; its work is found by the number
that both share, and belongs to the node and to the step of the call, however late it ran. What was launched between
runs (the copies that feed a step) is in no step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fathom_onnx.errors import RunError
from fathom_onnx.runtime.traces.runs import StepRun
from fathom_onnx.runtime.traces.steps import StepTimes, step_times

from .clocks import clock_error_ns, to_host_ns
from .node_intervals import NodeIntervals
from .records import DeviceActivity, Launch, Recording
from .step import DeviceStep, Work, device_step

__all__ = ["DeviceTimes", "KernelKey", "KernelUse", "RecordedSteps", "device_times"]

MAX_INVALID = 0.01
"""Share of records with impossible times (CUPTI writes some under load) beyond which a recording is refused."""

_US = 1000


@dataclass(frozen=True)
class KernelKey:
    """What is told apart among a step's work; ``node`` is an executed name, empty for work that no node launched."""

    node: str
    kind: str
    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    device: int
    stream: int
    registers: int | None
    shared_bytes: int | None


@dataclass(slots=True)
class KernelUse:
    """A kernel's work for a node in one step: number, nanoseconds, idle nanoseconds before it, bytes copied or set."""

    calls: int = 0
    busy_ns: int = 0
    gap_ns: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class DeviceTimes:
    """Times on the device.

    Attributes:
        times: By step and executed node, microseconds: of the work that a node launched, or of the node itself where it
            ran on the host.
        steps: The sums of each step.
        host_run_us: Whole microseconds of each run on the host, from the trace.
        uses: What ran for whom, a table a step.
        work: Each step's work, in order of time; nodes by their places among the run's executions.
        begins_ns: When each work began, on the clock of the trace.
        source: The tool that recorded.
        dropped: Records that it lost.
        invalid: Records with impossible times, which count nowhere.
        clock_error_ns: How far the clocks of host and device may be apart beyond what was corrected.
    """

    times: StepTimes
    steps: tuple[DeviceStep, ...]
    host_run_us: tuple[int, ...]
    uses: tuple[dict[KernelKey, KernelUse], ...]
    work: tuple[tuple[Work, ...], ...]
    begins_ns: tuple[npt.NDArray[np.int64], ...]
    source: str
    dropped: int
    invalid: int
    clock_error_ns: int

    def without(self, steps: Iterable[int]) -> DeviceTimes:
        """The same without some steps (their places)."""
        gone = set(steps)
        kept = [place for place in range(len(self.steps)) if place not in gone]
        return replace(
            self,
            times=self.times.without(gone),
            steps=tuple(self.steps[i] for i in kept),
            host_run_us=tuple(self.host_run_us[i] for i in kept),
            uses=tuple(self.uses[i] for i in kept),
            work=tuple(self.work[i] for i in kept),
            begins_ns=tuple(self.begins_ns[i] for i in kept),
        )


@dataclass(frozen=True)
class RecordedSteps:
    """Steps that were recorded without onnxruntime's profiler.

    Attributes:
        wall_us: Their wall times.
        device: Their work on the device, none of it in a node that is known.
    """

    wall_us: tuple[float, ...]
    device: DeviceTimes


@dataclass(slots=True)
class _RunWork:
    """What belongs to one run: calls with their times on the trace's clock, and work whose call is not known."""

    launches: list[tuple[Launch, int, int]] = field(default_factory=list)
    unlinked: list[DeviceActivity] = field(default_factory=list)


def device_times(runs: Sequence[Sequence[StepRun]], recordings: Sequence[Recording], provider: str) -> DeviceTimes:
    """Device times of all counted runs.

    Args:
        runs: The counted runs of each trace.
        recordings: What was recorded beside each.
        provider: Provider whose nodes work on the device; the others' nodes keep their host time.

    Raises:
        RunError: There is no run, records were lost, too many of them have impossible times, or no call was made by the
            thread that ran the nodes.
    """
    lost = sum(recording.dropped for recording in recordings)
    if lost:
        raise RunError(f"{lost} device records were lost, and with them an unknown time", "profile fewer steps")
    steps: list[DeviceStep] = []
    uses: list[dict[KernelKey, KernelUse]] = []
    done: list[tuple[Work, ...]] = []
    begins: list[npt.NDArray[np.int64]] = []
    invalid = 0

    def device_runs() -> Iterator[StepRun]:
        nonlocal invalid
        for counted, recording in zip(runs, recordings, strict=True):
            work, wrong = _valid_work(recording)
            invalid += wrong
            error_ns = clock_error_ns(recording.clock)
            for run, own in zip(counted, _by_run(counted, recording, work), strict=True):
                measured, step, ordered = _measured(run, own, work, error_ns, provider)
                steps.append(step)
                uses.append(_uses(run, ordered))
                done.append(ordered)
                begins.append(_on_trace(np.array([one.activity.start_ns for one in ordered], np.int64), recording))
                yield measured

    times = step_times(device_runs())
    return DeviceTimes(
        times=replace(times, self_us=times.self_us / _US, run_us=times.run_us / _US),
        steps=tuple(steps),
        host_run_us=tuple(run.run_us for counted in runs for run in counted),
        uses=tuple(uses),
        work=tuple(done),
        begins_ns=tuple(begins),
        source=recordings[0].source,
        dropped=lost,
        invalid=invalid,
        clock_error_ns=max(clock_error_ns(recording.clock) for recording in recordings),
    )


def _valid_work(recording: Recording) -> tuple[dict[int, list[DeviceActivity]], int]:
    """Work by correlation number, without records whose times cannot be, and the number of these.

    Raises:
        RunError: They are too many.
    """
    slack = clock_error_ns(recording.clock)
    launched = {launch.correlation: launch.start_ns for launch in recording.launches}
    by_correlation: dict[int, list[DeviceActivity]] = {}
    for activity in recording.activities:
        earliest = launched.get(activity.correlation, 0) - slack
        if activity.start_ns > 0 and earliest <= activity.start_ns <= activity.end_ns:
            by_correlation.setdefault(activity.correlation, []).append(activity)
    wrong = len(recording.activities) - sum(map(len, by_correlation.values()))
    if wrong > MAX_INVALID * len(recording.activities):
        raise RunError(
            f"{wrong} of {len(recording.activities)} device records have impossible times (0, or before their launch)",
            "profile again, with fewer steps",
        )
    return by_correlation, wrong


def _on_trace(device_ns: npt.NDArray[np.int64], recording: Recording) -> npt.NDArray[np.int64]:
    """Times of the recorder's clock as nanoseconds since the trace's beginning."""
    return to_host_ns(device_ns, recording.clock) - recording.trace_start_ns


def _by_run(runs: Sequence[StepRun], recording: Recording, work: dict[int, list[DeviceActivity]]) -> list[_RunWork]:
    """What belongs to each run: by the middle of a call, or by the start of work whose call is not known."""
    by_run = [_RunWork() for _ in runs]
    begins = [run.start_us * _US for run in runs]

    def place(at_ns: int) -> int | None:
        number = bisect_right(begins, at_ns) - 1
        # a run's duration is rounded down as a node's is: see node_intervals
        inside = number >= 0 and at_ns < begins[number] + (runs[number].run_us + 2) * _US
        return number if inside else None

    # CUPTI tells calls that it could not time with 0
    launches = [c for c in recording.launches if c.correlation in work and 0 < c.start_ns <= c.end_ns]
    times = np.array([(launch.start_ns, launch.end_ns) for launch in launches], np.int64).reshape(-1, 2)
    for launch, (start, end) in zip(launches, _on_trace(times, recording).tolist(), strict=True):
        number = place((start + end) // 2)
        if number is not None:
            by_run[number].launches.append((launch, start, end))
    known = {launch.correlation for launch in launches}
    alone = [activity for number, several in work.items() if number not in known for activity in several]
    starts = np.array([activity.start_ns for activity in alone], np.int64)
    for activity, start in zip(alone, _on_trace(starts, recording).tolist(), strict=True):
        number = place(start)
        if number is not None:
            by_run[number].unlinked.append(activity)
    return by_run


def _measured(
    run: StepRun, own: _RunWork, work: dict[int, list[DeviceActivity]], error_ns: int, provider: str
) -> tuple[StepRun, DeviceStep, tuple[Work, ...]]:
    """A run with the device's times in nanoseconds in place of the host's, its sums, and its work in order of time.

    Raises:
        RunError: No call was made by the thread that ran the nodes: the tools tell threads by different numbers.
    """
    nodes = tuple(run.nodes)
    intervals = NodeIntervals(nodes)
    thread = nodes[0].thread if nodes else None
    launched: list[Work] = []
    ambiguous = elsewhere = 0
    for launch, start, end in own.launches:
        node, unsure = intervals.find(start, end, error_ns) if launch.thread == thread else (None, False)
        ambiguous += unsure
        elsewhere += launch.thread != thread
        launched += [Work(activity, node) for activity in work[launch.correlation]]
    launched += [Work(activity, None, linked=False) for activity in own.unlinked]
    on_host = [node.self_us * _US if node.provider != provider else 0 for node in nodes]
    if nodes and elsewhere == len(own.launches) > 0:
        raise RunError(
            "every call that launched something was made by another thread than the one that ran the nodes",
            "give --serialize for host times under blocking launches",
        )
    step, ordered = device_step(launched, len(own.launches), ambiguous, elsewhere, sum(on_host))
    for one in ordered:
        if one.node is not None:
            on_host[one.node] += one.duration_ns
    timed = tuple(node._replace(self_us=ns) for node, ns in zip(nodes, on_host, strict=True))
    return replace(run, nodes=timed, run_us=step.span_ns + step.host_ns), step, ordered


def _uses(run: StepRun, work: Sequence[Work]) -> dict[KernelKey, KernelUse]:
    uses: dict[KernelKey, KernelUse] = {}
    for one in work:
        a = one.activity
        node = "" if one.node is None else run.nodes[one.node].name
        key = KernelKey(node, a.kind, a.name, a.grid, a.block, a.device, a.stream, a.registers, a.shared_bytes)
        use = uses.setdefault(key, KernelUse())
        use.calls += 1
        use.busy_ns += one.duration_ns
        use.gap_ns += one.gap_ns
        use.size_bytes += a.size_bytes or 0
    return uses
