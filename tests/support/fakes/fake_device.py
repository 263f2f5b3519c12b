"""A device that is not there: a recorder that makes up the work of one for every node of a real trace.

Each execution of a node launches one kernel. Launch times lie within the node as onnxruntime timed it; the kernels run
one after the other on one stream, late, so that those of a run's last nodes end after it. Their durations are known.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fathom_onnx.runtime.devices.clocks import ClockPair, read_clocks
from fathom_onnx.runtime.devices.records import DeviceActivity, Launch, Recording
from fathom_onnx.runtime.traces.events import read_events
from fathom_onnx.runtime.traces.node_runs import NodeRun
from fathom_onnx.runtime.traces.runs import PARENTS, read_runs

AHEAD_NS = 7_000_000_000_123
"""What the made-up device's clock is ahead of the host's."""

LATE_NS = 40_000
"""A kernel runs no sooner than this after its launch."""

BEFORE_END_NS = 500_000
"""Without a trace, a step's only kernel is launched this long before its end."""

UNPROFILED_NS = 9_000
"""How long that kernel runs."""


def kernel_ns(node: str) -> int:
    """How long a kernel of an executed node (``k<number>``) runs."""
    return 1_500 + 137 * int(node[1:])


def launching(node: NodeRun) -> bool:
    """Whether the node launches a kernel: a Loop or an If launches none of its own."""
    return node.op_type not in PARENTS


def calls_and_kernels(trace: Path, start_ns: int) -> Iterator[tuple[Launch, DeviceActivity]]:
    """A call and its kernel for every node of every run of a trace that begins at a time of the host's clock."""
    number, free_ns = 0, 0
    for run in read_runs(read_events(trace)):
        for node in sorted(run.nodes, key=lambda n: n.start_us):
            if not launching(node):
                continue
            number += 1
            # the middle of what onnxruntime's rounding leaves open
            middle = start_ns + AHEAD_NS + node.start_us * 1000 + 250 + (node.duration_us * 1000 + 1000) // 2
            begin = max(free_ns, middle + LATE_NS)
            free_ns = begin + kernel_ns(node.name)
            yield (
                Launch(number, node.thread, middle - 100, middle + 100, "cudaLaunchKernel_v7000"),
                DeviceActivity(
                    "kernel",
                    f"made_up_{node.op_type}",
                    number,
                    begin,
                    free_ns,
                    0,
                    7,
                    (8, 1, 1),
                    (128, 1, 1),
                    32,
                    0,
                ),
            )


class _Pending(Recording):
    """A recording whose work is made up when it is told what trace it was beside."""

    folder: Path

    def beside(self, trace_start_ns: int) -> Recording:
        """One kernel for each node of the trace that is there now; without one, one for each reading of the clock."""
        traces = list(self.folder.glob("**/model/trace-*.json"))
        made = list(calls_and_kernels(traces[0], trace_start_ns) if traces else self._unprofiled())
        launches, activities = zip(*made, strict=True)
        return Recording(self.source, launches, activities, self.clock, self.dropped, trace_start_ns)

    def _unprofiled(self) -> Iterator[tuple[Launch, DeviceActivity]]:
        for number, pair in enumerate(self.clock):
            at = pair.device_ns - BEFORE_END_NS
            yield (
                Launch(number, 1, at, at + 1_000),
                DeviceActivity("kernel", "unprofiled", number, at + 500, at + 500 + UNPROFILED_NS),
            )


class MadeUpDevice:
    """A recorder for traces that are written somewhere below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.did: Counter[str] = Counter()
        self._clock: list[ClockPair] = []

    def _read(self) -> None:
        self._clock.append(read_clocks(lambda: time.time_ns() + AHEAD_NS))

    def start(self) -> None:
        self.did["start"] += 1
        self._clock = []
        self._read()

    def step_done(self) -> None:
        self.did["step"] += 1
        self._read()

    def stop(self) -> Recording:
        self.did["stop"] += 1
        self._read()
        made = _Pending("made up", (), (), tuple(self._clock), 0)
        object.__setattr__(made, "folder", self.folder)
        return made
