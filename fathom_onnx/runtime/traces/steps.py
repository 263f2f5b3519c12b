"""Steps of a trace: the runs of a session, and each node's exclusive time in each.

A node of a Loop, Scan or If body lies inside its parent's time; subtracting a node's children from its own time, by a
stack per thread, counts every microsecond once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fathom_onnx.errors import RunError

from .events import TraceEvent

__all__ = ["PARENTS", "Microseconds", "NodeRun", "StepRun", "StepTimes", "read_runs", "step_times"]

_RUN = "model_run"


_OUTSIDE_RUNS = frozenset({"model_loading_array", "model_loading_uri", "session_initialization"})


PARENTS = frozenset({"Loop", "Scan", "If"})
"""Op types whose nodes hold the nodes of their bodies."""


Microseconds = npt.NDArray[np.int64] | npt.NDArray[np.float64]
"""Whole microseconds from onnxruntime's trace; with decimals where a device told nanoseconds."""


class NodeRun(NamedTuple):
    """One execution of a node within a run; ``self_us`` is its time without that of nodes in its bodies."""

    name: str
    op_type: str
    provider: str
    thread: int
    start_us: int
    duration_us: int
    self_us: int


@dataclass(frozen=True, slots=True)
class StepRun:
    """One call of the session: its time and the node executions in it, in the order in which they ended."""

    start_us: int
    run_us: int
    nodes: tuple[NodeRun, ...]

    @property
    def node_us(self) -> int:
        """Exclusive time of all nodes."""
        return sum(n.self_us for n in self.nodes)

    @property
    def outside_us(self) -> int:
        """What the run took beyond its nodes: ``run_us - node_us``, exactly."""
        return self.run_us - self.node_us


@dataclass(slots=True)
class _Thread:
    """What a thread has on its stack of ended events that no parent took yet, and its nodes of this run."""

    stack: list[TraceEvent] = field(default_factory=list)
    nodes: list[NodeRun] = field(default_factory=list)


def read_runs(events: Iterable[TraceEvent], workers: Collection[int] = ()) -> Iterator[StepRun]:
    """Group events into runs (one ``model_run`` each) and take children off their parents' time.

    Args:
        events: Events of one trace in file order.
        workers: Threads that run nodes for the thread of a run (of onnxruntime's parallel executor).
    """
    threads: dict[int, _Thread] = {}
    for event in events:
        name, is_node, thread_id, start_us, duration_us, op_type, provider = event
        if not is_node and name in _OUTSIDE_RUNS:
            continue
        thread = threads.get(thread_id) or threads.setdefault(thread_id, _Thread())
        children = 0
        if not is_node or op_type in PARENTS:
            while thread.stack and thread.stack[-1].start_us >= start_us:
                children += thread.stack.pop().duration_us
        if is_node:
            self_us = duration_us - children
            thread.nodes.append(NodeRun(name, op_type, provider, thread_id, start_us, duration_us, self_us))
            thread.stack.append(event)
        elif name == _RUN:
            nodes = thread.nodes
            for helper in (threads[worker] for worker in workers if worker in threads):
                nodes = nodes + helper.nodes
                helper.nodes = []
                helper.stack.clear()
            yield StepRun(start_us, duration_us, tuple(nodes))
            thread.nodes = []
            thread.stack.clear()
        else:
            # the executor of a body: what it takes beyond its nodes is outside them, and not the Loop's own work
            thread.stack.append(event)


@dataclass(frozen=True)
class StepTimes:
    """Times of the profiled steps, microseconds: whole ones, but for times on a device.

    Attributes:
        names: Executed nodes, in the order of their first execution.
        op_types: Their op types.
        providers: The providers that ran them (several are joined by a comma).
        self_us: Exclusive time, [steps, nodes]; on a device, the time of what a node launched.
        calls: Executions, [steps, nodes].
        run_us: Time of the session's run, [steps]; on a device, from the step's first work there to its last.
    """

    names: tuple[str, ...]
    op_types: tuple[str, ...]
    providers: tuple[str, ...]
    self_us: Microseconds
    calls: npt.NDArray[np.int64]
    run_us: Microseconds

    @property
    def node_us(self) -> Microseconds:
        """Exclusive time of all nodes, [steps]."""
        total: Microseconds = self.self_us.sum(axis=1)
        return total

    @property
    def outside_us(self) -> Microseconds:
        """What each run took beyond its nodes, [steps]; ``run_us = node_us + outside_us``, exactly in whole ones.

        On a device it is below 0 where several streams were at work at once.
        """
        left: Microseconds = self.run_us - self.node_us
        return left

    def without(self, steps: Iterable[int]) -> StepTimes:
        """The times without some steps (their places), and without the nodes that ran in those alone."""
        kept = np.setdiff1d(np.arange(len(self.run_us)), np.fromiter(steps, np.int64))
        ran = np.flatnonzero(self.calls[kept].any(axis=0))
        return replace(
            self,
            names=tuple(self.names[i] for i in ran),
            op_types=tuple(self.op_types[i] for i in ran),
            providers=tuple(self.providers[i] for i in ran),
            self_us=self.self_us[np.ix_(kept, ran)],
            calls=self.calls[np.ix_(kept, ran)],
            run_us=self.run_us[kept],
        )


def step_times(runs: Iterable[StepRun]) -> StepTimes:
    """Times by step and node.

    Raises:
        RunError: There is no run.
    """
    position: dict[str, int] = {}
    kinds: list[str] = []
    where: list[set[str]] = []
    rows: list[npt.NDArray[np.int64]] = []
    run_us: list[int] = []
    for run in runs:
        sums: dict[int, list[int]] = {}
        for name, op_type, provider, _, _, _, self_us in run.nodes:
            index = position.setdefault(name, len(position))
            if index == len(kinds):
                kinds.append(op_type)
                where.append(set())
            where[index].add(provider)
            if index in sums:
                sums[index][0] += self_us
                sums[index][1] += 1
            else:
                sums[index] = [self_us, 1]
        # kept as numbers, not as a dict: a long profile has a million of them
        row = np.zeros((2, len(position)), np.int64)
        if sums:
            row[:, list(sums)] = np.array(list(sums.values()), np.int64).T
        rows.append(row)
        run_us.append(run.run_us)
    if not rows:
        raise RunError("the trace holds no run", "profile at least one step")
    padded = np.zeros((len(rows), 2, len(position)), np.int64)
    for place, row in enumerate(rows):
        padded[place, :, : row.shape[1]] = row
    return StepTimes(
        names=tuple(position),
        op_types=tuple(kinds),
        providers=tuple(",".join(sorted(names)) for names in where),
        self_us=padded[:, 0],
        calls=padded[:, 1],
        run_us=np.array(run_us, np.int64),
    )
