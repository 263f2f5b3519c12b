"""Traces that another session wrote: of any provider, version of onnxruntime and settings, names as they were.

Names may be empty or shared. A node is therefore told apart by its name, its op type, its index in the graph of its
session, and the control-flow node in whose body it ran. What old versions write around nodes (fences) and what devices
add (kernels) is left out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from fathom_onnx.errors import RunError

from .events import FULL, NODE_SUFFIX, RUN, TraceEvent, open_trace, read_lines
from .node_runs import NodeRun
from .runs import PARENTS, StepRun, read_runs
from .shapes import Form, listed_tensors

__all__ = ["ForeignTrace", "TracedNode", "read_foreign"]

_AS_WRITTEN = "give the file that end_profiling() named, whole and as it was written"
_SEPARATOR = "\x1f"
_INDICES = ("node_index", "graph_index")
"""Arguments that hold a node's index; older versions of onnxruntime wrote the second."""

NOTHING = Form((), ())
Shapes = tuple[tuple[int, ...], ...]
_Identity = tuple[Any, ...]


@dataclass(frozen=True)
class TracedNode:
    """A node as a trace shows it.

    Attributes:
        name: Its name; may be empty, or that of other nodes too.
        op_type: Its op type.
        node_index: Its index in the graph or body that it is in, or None where the trace does not say. A node that the
            session's optimizer left alone has the index that it has in the model's file, Constant nodes not counted.
        parent: Number of the control-flow node around it, or None at the top.
        form: What it took and gave in its first execution.
        steady: Whether it took and gave the same in all of them.
    """

    name: str
    op_type: str
    node_index: int | None
    parent: int | None = None
    form: Form = NOTHING
    steady: bool = True

    @property
    def input_shapes(self) -> Shapes:
        """Shapes of its inputs in its first execution; weights that were packed before the run are missing."""
        return tuple(tensor.shape for tensor in self.form.inputs)

    @property
    def output_shapes(self) -> Shapes:
        """Shapes of its outputs in its first execution."""
        return tuple(tensor.shape for tensor in self.form.outputs)

    @property
    def output_types(self) -> tuple[str, ...]:
        """Element types of its outputs, NumPy's names."""
        return tuple(tensor.dtype for tensor in self.form.outputs)


@dataclass(frozen=True)
class ForeignTrace:
    """A trace and its nodes.

    Attributes:
        path: The trace file.
        nodes: The nodes in the order of execution, each before the nodes of its bodies; positions are their numbers.
        runs: Number of runs of the session.
        parallel: Whether nodes of one run were executed on several threads at once.
        device_events: Events of kernels on a device, which are not used.
    """

    path: Path
    nodes: tuple[TracedNode, ...]
    runs: int
    parallel: bool
    device_events: int
    _workers: frozenset[int]
    _numbers: Mapping[_Identity, int]

    def read_runs(self) -> Iterator[StepRun]:
        """The runs of the trace, with nodes named by their numbers."""
        for run, identities in _identified(self.path, self._workers):
            nodes = [n._replace(name=str(self._numbers[i])) for n, i in zip(run.nodes, identities, strict=True)]
            yield replace(run, nodes=tuple(nodes))


@dataclass
class _Survey:
    """What a first look at a trace tells."""

    run_threads: set[int]
    node_threads: set[int]
    spans: list[tuple[int, int]]
    forms: dict[tuple[str, str], dict[Form, None]]
    device_events: int


def _one_a_line(path: Path) -> bool:
    """Whether a trace has the lines that onnxruntime writes; a tool may have joined or cut them."""
    try:
        with open_trace(path) as file:
            lines = [line.strip() for line in itertools.islice(file, 2)]
    except (OSError, EOFError):
        return True  # reading it tells what is wrong
    return lines[:1] in ([], [b"["]) and not (lines[1:] and lines[1].rstrip(b",") in (b"{", b"[", b""))


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a trace as they stand in the file, whether one stands on each line or not."""
    if not _one_a_line(path):
        try:
            with open_trace(path) as file:
                whole = orjson.loads(file.read())
        except orjson.JSONDecodeError as error:
            raise RunError(f"'{path.name}' is no trace of onnxruntime, or is cut short", _AS_WRITTEN) from error
        events = whole.get("traceEvents", ()) if isinstance(whole, dict) else whole
        if not isinstance(events, list | tuple):
            raise RunError(f"'{path.name}' is no trace of onnxruntime: it has no list of events", _AS_WRITTEN)
        yield from events
        return
    for count, line in enumerate(read_lines(path)):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunError(
                f"trace '{path.name}' is cut short or broken after {count} events: the rest, an unknown number, is "
                "lost",
                _AS_WRITTEN,
            ) from error


def _raw_events(path: Path) -> Iterator[dict[str, Any]]:
    """Events of runs and nodes.

    Raises:
        RunError: The file is missing, cut short, no trace, or lost events.
    """
    for count, event in enumerate(_parsed(path)):
        if not isinstance(event, dict) or not {"cat", "name"} <= event.keys():
            raise RunError(f"'{path.name}' is no trace of onnxruntime", _AS_WRITTEN)
        if event["name"] == FULL:
            told = event.get("args")
            lost = (told if isinstance(told, dict) else {}).get("dropped_event_count", "an unknown number of")
            raise RunError(
                f"onnxruntime's profiler was full: {lost} events were lost (trace '{path.name}' holds {count})",
                "record fewer runs",
            )
        if {"tid", "ts", "dur"} <= event.keys():
            numbers = all(isinstance(event[name], int | float) for name in ("tid", "ts", "dur"))
            if not numbers or not isinstance(event.get("args", {}), dict):
                raise RunError(f"trace '{path.name}' is broken: event {count} has no times", _AS_WRITTEN)
            yield event


def _is_node(event: Mapping[str, Any]) -> bool:
    return event["cat"] == "Node" and str(event["name"]).endswith(NODE_SUFFIX)


def _index(arguments: Mapping[str, Any]) -> str:
    return next((str(arguments[name]) for name in _INDICES if str(arguments.get(name, "")).isdecimal()), "")


def _events(path: Path) -> Iterator[TraceEvent]:
    """Events of runs and nodes, a node's index after its name."""
    for event in _raw_events(path):
        name, times = str(event["name"]), (event["tid"], event["ts"], event["dur"])
        if _is_node(event):
            told = event.get("args", {})
            key = f"{name[: -len(NODE_SUFFIX)]}{_SEPARATOR}{_index(told)}"
            yield TraceEvent(key, True, *times, str(told.get("op_name", "")), str(told.get("provider", "")))
        elif event["cat"] == "Session":
            yield TraceEvent(name, False, *times)


def _form(told: Mapping[str, Any]) -> Form:
    """The tensors that an event lists; none where it lists what cannot be read."""
    try:
        taken, given = (listed_tensors(told.get(f"{side}_type_shape") or ()) for side in ("input", "output"))
    except (AttributeError, TypeError, ValueError):
        return NOTHING
    return Form(taken, given)


def _survey(path: Path) -> _Survey:
    found = _Survey(set(), set(), [], {}, 0)
    for event in _raw_events(path):
        name = str(event["name"])
        if _is_node(event):
            found.node_threads.add(event["tid"])
            told = event.get("args", {})
            key = f"{name[: -len(NODE_SUFFIX)]}{_SEPARATOR}{_index(told)}", str(told.get("op_name", ""))
            found.forms.setdefault(key, {})[_form(told)] = None
        elif event["cat"] == "Session" and name == RUN:
            found.run_threads.add(event["tid"])
            found.spans.append((event["ts"], event["ts"] + event["dur"]))
        elif event["cat"] not in ("Session", "Node"):
            found.device_events += 1
    return found


def _parents(nodes: tuple[NodeRun, ...]) -> list[int | None]:
    """For each execution, in the order in which they ended, the place of the control-flow node around it."""
    around: list[int | None] = [None] * len(nodes)
    if not any(node.op_type in PARENTS for node in nodes):
        return around
    open_places: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        stack = open_places.setdefault(node.thread, [])
        if node.op_type in PARENTS:
            while stack and nodes[stack[-1]].start_us >= node.start_us:
                around[stack.pop()] = place
        stack.append(place)
    return around


def _identified(path: Path, workers: frozenset[int]) -> Iterator[tuple[StepRun, list[_Identity]]]:
    """Each run with the identities of its executions.

    Where a trace has no indices, nodes of one name at the top are told apart by the order in which they run.
    """
    for run in read_runs(_events(path), workers):
        nodes = tuple(run.nodes)
        around = _parents(nodes)
        identities: list[_Identity] = [()] * len(nodes)
        seen: Counter[tuple[str, str]] = Counter()
        for place in range(len(nodes) - 1, -1, -1):  # parents end after, and so come before, their children
            node, parent = nodes[place], around[place]
            identities[place] = (None if parent is None else identities[parent], node.name, node.op_type)
        for place, node in enumerate(nodes):
            if around[place] is None and node.name.endswith(_SEPARATOR) and node.op_type not in PARENTS:
                seen[node.name, node.op_type] += 1
                identities[place] = (*identities[place], seen[node.name, node.op_type])
        yield run, identities


def read_foreign(path: Path) -> ForeignTrace:
    """Read the nodes of a trace that another session wrote (``.json`` or ``.json.gz``).

    Raises:
        RunError: The file is missing, no trace, cut short or lost events, holds no run, or runs that overlap and share
            threads.
    """
    found = _survey(path)
    workers = frozenset(found.node_threads - found.run_threads)
    spans = sorted(found.spans)
    if not spans:
        raise RunError(f"trace '{path.name}' holds no run", "record it around at least one call of the session's run")
    if workers and any(end > start for (_, end), (start, _) in itertools.pairwise(spans)):
        raise RunError(
            f"trace '{path.name}' has runs that overlap, with nodes on threads of their own: which run a node belongs "
            "to cannot be told",
            "record one run at a time",
        )
    first: dict[_Identity, tuple[int, int, int]] = {}
    runs = 0
    for run, identities in _identified(path, workers):
        for order, (node, identity) in enumerate(zip(run.nodes, identities, strict=True)):
            at = (runs, node.start_us, order)
            first[identity] = min(first.get(identity, at), at)
        runs += 1
    numbers: dict[_Identity, int] = {}
    nodes: list[TracedNode] = []
    inside: dict[_Identity | None, list[_Identity]] = {}
    for identity in sorted(first, key=lambda i: first[i]):
        inside.setdefault(identity[0], []).append(identity)

    def number(parent: _Identity | None) -> None:
        for identity in inside.get(parent, ()):
            numbers[identity] = len(nodes)
            name, _, index = identity[1].rpartition(_SEPARATOR)
            forms = list(found.forms[identity[1], identity[2]])
            around = None if parent is None else numbers[parent]
            told = int(index) if index else None
            nodes.append(TracedNode(name, identity[2], told, around, forms[0], len(forms) == 1))
            number(identity)

    number(None)
    return ForeignTrace(path, tuple(nodes), runs, bool(workers), found.device_events, workers, numbers)
