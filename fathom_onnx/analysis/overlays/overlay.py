"""The times of a run by node of its graph, and the files that graph viewers need.

Each node of the original graph has the time that the run attributes to it; nodes that onnxruntime computed before the
run (folded) or removed (merged) have none. A call of a model-local function has the time of all nodes that it stands
for; a node in the function has its time in all calls together, which is a part of theirs. Charged and unattributed time
belongs to no node; :func:`coverage` reports how much that is.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import google.protobuf.message
import onnx
from onnx.external_data_helper import uses_external_data

from fathom_onnx.analysis.runs import Run
from fathom_onnx.errors import DataError, GraphError, UsageError, one_line
from fathom_onnx.graph.bodies import NumberedNode, all_nodes, numbered
from fathom_onnx.graph.files import write_aside
from fathom_onnx.graph.loading.checking import check
from fathom_onnx.graph.loading.order import put_in_order
from fathom_onnx.graph.op_types import UNLISTED, canonical_op, class_of_op

from .origins import origins

__all__ = [
    "GraphTimes",
    "NodeTime",
    "OverlayCoverage",
    "copy_timeline",
    "coverage",
    "graph_times",
    "node_times",
    "read_graph",
    "write_copy",
]

_TIMELINE = "timeline.json.gz"


@dataclass(frozen=True)
class NodeTime:
    """A node of the original graph and its time in a step.

    Attributes:
        entry: The node and its number.
        us: Microseconds attributed to it; None if it did not run.
        share: ``us`` / the run's node time, 0 to 1.
        rank: 1 for the node with the most time in its graph or function, and so on; equal times are in their order.
        state: ``ran``, ``folded``, ``merged`` or ``unknown``.
    """

    entry: NumberedNode
    us: float | None
    share: float | None
    rank: int | None
    state: str


def read_graph(path: Path, run: Run) -> onnx.ModelProto:
    """Read the graph of a run; weights in external files are not loaded.

    Raises:
        GraphError: The file does not exist or is not a graph.
        UsageError: It is not the graph of the run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise GraphError(f"cannot read '{path}' ({error.strerror})", "give the path of the run's .onnx file") from error
    expected = run.manifest.get("graph_sha256")
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        raise UsageError(
            f"'{path}' is not the graph of the run (SHA-256 {digest[:12]}, the run's {str(expected)[:12]})",
            f"give the file of '{run.manifest.get('graph')}' that was profiled, or profile this one",
        )
    try:
        return onnx.load_model_from_string(data)
    except (google.protobuf.message.DecodeError, ValueError) as error:
        raise GraphError(f"'{path}' is not an ONNX file ({one_line(error, 80)})", "export or fetch it again") from error


@dataclass(frozen=True)
class GraphTimes:
    """The times of a run on the file that was profiled.

    Attributes:
        nodes: Those of the graph's nodes, bodies of control flow included, in the order of the file.
        functions: Those of the nodes of each model-local function, in the order of the file.
    """

    nodes: tuple[NodeTime, ...]
    functions: tuple[tuple[NodeTime, ...], ...] = ()


def graph_times(run: Run, model: onnx.ModelProto) -> GraphTimes:
    """The time of each node of a run's graph and of its functions.

    Args:
        run: The run.
        model: Its graph, from :func:`read_graph`.

    Raises:
        DataError: The run's table of original nodes does not match the graph.
    """
    table = run.originals
    found = origins(model)
    if [origin.name for origin in found] != list(table["name"]):
        raise DataError("the run's original nodes are not those of its graph", "profile again")
    # the graph is the part -1
    by_part: defaultdict[int, defaultdict[int, list[_Row]]] = defaultdict(lambda: defaultdict(list))
    for origin, us, state in zip(found, table["us"], table["state"], strict=True):
        for part, node in origin.places.items():
            by_part[part][node].append((float(us), str(state)))
    return GraphTimes(
        _times(model.graph, by_part[-1], run.node_time_us),
        tuple(_times(f, by_part[position], run.node_time_us) for position, f in enumerate(model.functions)),
    )


def node_times(run: Run, model: onnx.ModelProto) -> tuple[NodeTime, ...]:
    """The nodes of :func:`graph_times`."""
    return graph_times(run, model).nodes


_Row = tuple[float, str]
"""Time and state of an original node of the run."""


def _times(
    part: onnx.GraphProto | onnx.FunctionProto, rows: Mapping[int, Sequence[_Row]], total: float
) -> tuple[NodeTime, ...]:
    """The times of the nodes of a graph or a function, from the rows of the run that belong to each."""
    entries = numbered(part)
    states = [_state(rows.get(entry.index, ())) for entry in entries]
    times = [
        sum(us for us, kind in rows[entry.index] if kind == "ran") if state == "ran" else None
        for entry, state in zip(entries, states, strict=True)
    ]
    ranked = sorted((i for i, us in enumerate(times) if us is not None), key=lambda i: -(times[i] or 0.0))
    rank = {index: position + 1 for position, index in enumerate(ranked)}
    return tuple(
        NodeTime(entry, us, us / total if us is not None and total else None, rank.get(i), state)
        for i, (entry, us, state) in enumerate(zip(entries, times, states, strict=True))
    )


def _state(rows: Sequence[_Row]) -> str:
    """What became of a node: of a call, what became of the nodes in it. One that none stands for was removed."""
    states = {state for _, state in rows}
    return next((state for state in ("ran", "unknown", "folded") if state in states), "merged")


@dataclass(frozen=True)
class OverlayCoverage:
    """The nodes and the time of a run that an overlay shows.

    Attributes:
        nodes: Number of nodes of the graph.
        ran: Nodes that ran.
        folded: Nodes that were computed before the run.
        merged: Nodes that were removed or merged with another.
        hidden: Nodes that the viewer cannot show or name.
        shown_share: Share of the run's node time on the nodes shown; None for a run without any time.
        charged_share: Share of charged movement, which is on no node.
        unattributed_share: Share of unattributed time.
        unknown: Nodes of which a trace alone does not tell whether and where they ran.
    """

    nodes: int
    ran: int
    folded: int
    merged: int
    hidden: int
    shown_share: float | None
    charged_share: float | None
    unattributed_share: float | None
    unknown: int = 0


def coverage(run: Run, times: Sequence[NodeTime], hidden: Sequence[NodeTime] = ()) -> OverlayCoverage:
    """The coverage of an overlay.

    Args:
        run: The run.
        times: The times of its nodes.
        hidden: The nodes that the viewer does not show.
    """
    states = Counter(time.state for time in times)
    total = run.node_time_us
    shown = sum(time.us or 0.0 for time in times) - sum(time.us or 0.0 for time in hidden)
    parts = (shown, run.kind_us("charged"), run.kind_us("unattributed"))
    shown_share, charged_share, unattributed_share = (us / total if total else None for us in parts)
    return OverlayCoverage(
        nodes=len(times),
        ran=states["ran"],
        folded=states["folded"],
        merged=states["merged"],
        hidden=len(hidden),
        shown_share=shown_share,
        charged_share=charged_share,
        unattributed_share=unattributed_share,
        unknown=states["unknown"],
    )


def write_copy(model: onnx.ModelProto, graph: Path, output: Path) -> None:
    """Write a modified copy of a graph; references to weights in external files are kept.

    Args:
        model: The copy.
        graph: The file of the original.
        output: The file to write.

    Raises:
        UsageError: The graph has weights in files beside it, and the copy would be in another folder.
        GraphError: The copy is not a valid graph.
        OutputError: The file cannot be written.
    """
    external = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    if external and output.resolve().parent != graph.resolve().parent:
        raise UsageError(
            f"'{graph}' keeps its weights in other files beside it, which a copy in another folder would not find",
            f"write the overlay into '{graph.parent}'",
        )
    try:
        _check(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise GraphError(f"'{graph}' is not a valid ONNX graph ({one_line(error)})", "check the file") from error
    with write_aside(output) as file:
        file.write(model.SerializeToString(deterministic=True))


def _check(model: onnx.ModelProto) -> None:
    """Check a copy; beside what a graph must be to be read, neither onnx nor onnxruntime may lack one of its operators.

    Its nodes may stand in any order, as in a graph that is read.

    Raises:
        onnx.checker.ValidationError: It is not valid.
        ValueError: It cannot be checked, or has an operator that there is not.
    """
    ordered = onnx.ModelProto()
    ordered.CopyFrom(model)
    put_in_order(ordered)
    check(ordered)
    local = {(function.domain, function.name) for function in model.functions}
    for node in all_nodes(model.graph.node):
        if node.domain or (node.domain, node.op_type) in local:
            continue
        if class_of_op(canonical_op(node.op_type)) == UNLISTED:
            raise ValueError(f"no operator '{node.op_type}'")


def copy_timeline(folder: Path, output: Path) -> None:
    """Write the timeline of a run folder to a file, compressed if the file's name ends in ``.gz``.

    Raises:
        DataError: The run folder has no timeline, or a broken one.
        OutputError: The file cannot be written.
    """
    source = folder / _TIMELINE
    if not source.is_file():
        raise DataError(f"run folder '{folder}' has no {_TIMELINE}", "profile again with -o")
    # the source is decompressed to the end in both cases, so that a broken file is not copied
    content = _chunks(source)
    with write_aside(output) as file:
        if output.suffix == ".gz":
            for _ in content:
                pass
            file.write(source.read_bytes())
        else:
            file.writelines(content)


def _chunks(path: Path, size: int = 1 << 20) -> Iterator[bytes]:
    """The decompressed content of a file, in chunks."""
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(size):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"'{path}' is broken ({one_line(error)})", "profile again with -o") from error
