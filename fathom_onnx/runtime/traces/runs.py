"""The runs of a session: each with its node executions and their exclusive times.

A node of a Loop, Scan or If body lies inside its parent's time; subtracting a node's children from its own time, by a
stack per thread, counts every microsecond once.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from .events import RUN, Row, TraceEvent, read_blocks, read_event
from .node_runs import Kind, NodeRun, NodeRuns

__all__ = ["PARENTS", "KnownNodes", "StepRun", "read_runs", "read_session"]


_OUTSIDE_RUNS = frozenset({"model_loading_array", "model_loading_uri", "session_initialization"})

PARENTS = frozenset({"Loop", "Scan", "If"})
"""Op types whose nodes hold the nodes of their bodies."""

_EXECUTOR = -1
"""Stands for the kind of an event that is no node: the executor of a body."""

_THREAD_OF = itemgetter(1)
"""The thread of a row."""


@dataclass(frozen=True, slots=True)
class StepRun:
    """One call of the session: its time and the node executions in it, in the order in which they ended."""

    start_us: int
    run_us: int
    nodes: Sequence[NodeRun]

    @property
    def node_us(self) -> int:
        """Exclusive time of all nodes."""
        return sum(NodeRuns.of(self.nodes).self_us)

    @property
    def outside_us(self) -> int:
        """What the run took beyond its nodes: ``run_us - node_us``, exactly."""
        return self.run_us - self.node_us


@dataclass(slots=True)
class _Thread:
    """The events of a thread since its last run ended, as columns."""

    which: list[int] = field(default_factory=list)
    start_us: list[int] = field(default_factory=list)
    duration_us: list[int] = field(default_factory=list)


class KnownNodes:
    """The kinds of nodes that a reader met, by number; sessions of one model may share them.

    Attributes:
        kinds: The kinds.
        renamed: Their places by the names of renamed nodes, as a trace has them.
    """

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.renamed: dict[bytes, int] = {}
        self._places: dict[Kind, int] = {}

    def place(self, event: TraceEvent) -> int:
        """The place of an event's kind, which is added where it is new."""
        if not event.is_node:
            return _EXECUTOR
        kind = Kind(event.name, event.op_type, event.provider)
        place = self._places.setdefault(kind, len(self.kinds))
        if place == len(self.kinds):
            self.kinds.append(kind)
        return place


class _Session:
    """The events of a session, gathered until a run ends.

    Args:
        known: The nodes that are known, which may become more.
        workers: Threads that run nodes for the thread of a run.
    """

    def __init__(self, known: KnownNodes, workers: Collection[int] = ()) -> None:
        self._known = known
        self._workers = workers
        self._threads: dict[int, _Thread] = {}

    def add(self, event: TraceEvent) -> StepRun | None:
        """Take an event; the run that it ends, or None."""
        if not event.is_node and event.name in _OUTSIDE_RUNS:
            return None
        if event.is_node or event.name != RUN:
            thread = self._threads.setdefault(event.thread, _Thread())
            thread.which.append(self._known.place(event))
            thread.start_us.append(event.start_us)
            thread.duration_us.append(event.duration_us)
            return None
        nodes = self._taken(event.thread)
        for worker in self._workers:
            if worker in self._threads:
                nodes = nodes + self._taken(worker)
        return StepRun(event.start_us, event.duration_us, nodes)

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Take executions of renamed nodes that are known."""
        for number, several in itertools.groupby(rows, _THREAD_OF):
            _, _, durations, starts, names = zip(*several, strict=True)
            thread = self._threads.setdefault(int(number), _Thread())
            thread.which.extend(map(self._known.renamed.__getitem__, names))
            thread.start_us.extend(map(int, starts))
            thread.duration_us.extend(map(int, durations))

    def _taken(self, number: int) -> NodeRuns:
        """The executions of a thread, which are then forgotten."""
        thread = self._threads.pop(number, None) or _Thread()
        self_us = self._self_us(thread)
        columns = [thread.which, [number] * len(self_us), thread.start_us, thread.duration_us, self_us]
        if _EXECUTOR in thread.which:
            kept = [place for place, which in enumerate(thread.which) if which != _EXECUTOR]
            columns = [[column[place] for place in kept] for column in columns]
        return NodeRuns(self._known.kinds, *columns)

    def _self_us(self, thread: _Thread) -> list[int]:
        """The exclusive time of each event of a thread.

        What the executor of a body takes beyond its nodes is outside them, and not the Loop's own work.
        """
        closing = {place for place, kind in enumerate(self._known.kinds) if kind.op_type in PARENTS}
        if closing.isdisjoint(thread.which):
            return thread.duration_us
        closing.add(_EXECUTOR)
        self_us = []
        ended: list[tuple[int, int]] = []  # events that no parent took yet
        for which, start_us, duration_us in zip(thread.which, thread.start_us, thread.duration_us, strict=True):
            children = 0
            if which in closing:
                while ended and ended[-1][0] >= start_us:
                    children += ended.pop()[1]
            self_us.append(duration_us - children)
            ended.append((start_us, duration_us))
        return self_us


def read_runs(events: Iterable[TraceEvent], workers: Collection[int] = ()) -> Iterator[StepRun]:
    """Group events into runs (one ``model_run`` each) and take children off their parents' time.

    Args:
        events: Events of one trace in file order.
        workers: Threads that run nodes for the thread of a run (of onnxruntime's parallel executor).
    """
    session = _Session(KnownNodes(), workers)
    for event in events:
        run = session.add(event)
        if run is not None:
            yield run


def read_session(path: Path, known: KnownNodes) -> Iterator[StepRun]:
    """The runs of a trace whose nodes were renamed: those of :func:`read_runs`, in half the time.

    Args:
        path: The file.
        known: The nodes that other traces of the same model have shown, which may become more.

    Raises:
        RunError: The file is missing, cut short, or lost events; the message says how many.
    """
    session = _Session(known)
    count = 0
    for rows in read_blocks(path):
        begin = 0
        # one by one, as a node is known from its first event on
        for end in (place for place, row in enumerate(rows) if row[-1] not in known.renamed):
            session.add_rows(rows[begin:end])
            begin = end + 1
            text, *_, name = rows[end]
            event = read_event(text, path, count + end)
            if name:
                known.renamed[name] = known.place(event)
            run = session.add(event)
            if run is not None:
                yield run
        session.add_rows(rows[begin:])
        count += len(rows)
