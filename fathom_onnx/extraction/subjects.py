"""What is to be cut out of a run: an executed node, an original node, or the original nodes of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from fathom_onnx.analysis.attribution.traced_attribution import match_model
from fathom_onnx.analysis.runs import Run
from fathom_onnx.analysis.runs.costs.executed_costs import executed_tensors
from fathom_onnx.analysis.runs.executed import display_name
from fathom_onnx.errors import GraphError, UnknownNameError, UsageError
from fathom_onnx.graph import Graph, Tensor, load
from fathom_onnx.graph.bodies import Body, NumberedNode, bodies, numbered
from fathom_onnx.graph.dimensions import open_dimensions
from fathom_onnx.graph.labels import label_nodes
from fathom_onnx.graph.loading.reading import read_model
from fathom_onnx.graph.model import load_structure
from fathom_onnx.graph.static.known import known_by_body
from fathom_onnx.graph.static.values import opset_of
from fathom_onnx.runtime.optimized import STRUCTURE, executed_name
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.traces.foreign import read_foreign
from fathom_onnx.runtime.traces.shapes import NodeShapes, read_shapes
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads.contract import Array

__all__ = ["Kind", "Subject", "find_subject"]

Kind = Literal["executed", "original", "layer"]
"""What a subject is. An executed node is run as it is; original nodes are optimized as in their run."""


@dataclass(frozen=True)
class Subject:
    """What is to be cut out, and what is known where it stands.

    Attributes:
        name: The name that was asked for.
        kind: What it is.
        model: The model that it is cut out of.
        nodes: Its nodes, in order, all in one graph or body.
        scopes: That graph or body and those around it, the innermost first.
        tensors: Shapes and types of the tensors that these see.
        values: Values of small tensors that are known before a run.
        weights: Values of initializers that the model only declares.
        folder: Where the model's files of external weights lie, or None.
        rows: Rows of the run's node table: of an executed node, and of those in its bodies.
        originals: Names of the original nodes, of the other kinds, and of those in their bodies.
    """

    name: str
    kind: Kind
    model: onnx.ModelProto
    nodes: tuple[onnx.NodeProto, ...]
    scopes: tuple[onnx.GraphProto, ...]
    tensors: Mapping[str, Tensor]
    values: Mapping[str, np.ndarray]
    weights: Mapping[str, Array]
    folder: Path | None
    rows: tuple[int, ...] = ()
    originals: tuple[str, ...] = ()


def find_subject(folder: Path, run: Run, name: str, kind: Kind | None = None, graph: Path | None = None) -> Subject:
    """Find a node or a layer in a run.

    Args:
        folder: The run folder.
        run: The run in it.
        name: The name of a node, as in ``nodes.csv`` or ``originals.csv``, or of a layer.
        kind: What it names; where not given, an executed node or, if there is none of the name, an original one.
        graph: The file of the run's graph; by default the one that was profiled, where it still is.

    Raises:
        UnknownNameError: The run has nothing of that name.
        UsageError: Several executed nodes have it, the run holds no optimized model, or the graph is not the run's.
        GraphError: A model cannot be read.
    """
    rows = np.flatnonzero(run.nodes["name"] == name)
    if kind is None:
        kind = "executed" if len(rows) else "original"
    if kind == "executed":
        if not len(rows):
            raise UnknownNameError("executed node", name, list(run.nodes["name"]))
        if len(rows) > 1:
            raise UsageError(f"{len(rows)} executed nodes are called '{name}'", "name an original node")
        return _executed(folder, run, name, int(rows[0]))
    column = "layer" if kind == "layer" else "name"
    chosen = run.originals[run.originals[column] == name]
    if not len(chosen):
        known = [*run.originals[column], *([] if kind == "layer" else run.nodes["name"])]
        raise UnknownNameError("layer" if kind == "layer" else "node", name, list(dict.fromkeys(known)))
    return _original(folder, run, name, kind, set(chosen["name"]), graph)


def _around(graph: onnx.GraphProto, entries: Sequence[NumberedNode], where: Body) -> tuple[onnx.GraphProto, ...]:
    """The graph or body at a place and those around it, the innermost first."""
    scopes = []
    while where[0] is not None:
        parent = entries[where[0]]
        scopes.append(dict(bodies(parent.node))[where[1]])
        where = parent.parent, parent.body
    return (*scopes, graph)


def _executed(folder: Path, run: Run, name: str, row: int) -> Subject:
    path = folder / STRUCTURE
    if not path.is_file():
        fix = "profile the trace again with --optimized" if run.manifest.get("source") == "trace" else "profile again"
        raise UsageError(f"run '{folder}' holds no {STRUCTURE}", fix)
    model = read_model(path, to_run=False)
    entries = numbered(model.graph)
    found = [entry for entry in entries if display_name(entry) == name]
    if len(found) != 1:
        raise UsageError(
            f"'{name}' was inserted when the session was built and is not in the optimized model", "name another node"
        )
    (entry,) = found
    where = entry.parent, entry.body
    known = executed_tensors(entries, model.graph, _recorded(folder, run, entries))
    values = known_by_body(model.graph, opset_of(model))[where].values
    return Subject(
        name,
        "executed",
        model,
        (entry.node,),
        _around(model.graph, entries, where),
        known.around[entry.index][0],
        values,
        {},
        None,
        rows=(row, *_rows_inside(run, entries, entry)),
    )


def _inside(entries: Sequence[NumberedNode], around: set[int]) -> list[NumberedNode]:
    """The nodes in the bodies of some nodes, those in bodies within included."""
    held, found = set(around), []
    for entry in entries:  # a node comes before the nodes of its bodies
        if entry.parent in held:
            held.add(entry.index)
            found.append(entry)
    return found


def _rows_inside(run: Run, entries: Sequence[NumberedNode], entry: NumberedNode) -> list[int]:
    names = {display_name(inner) for inner in _inside(entries, {entry.index})}
    return [int(row) for row in np.flatnonzero(run.nodes["name"].isin(names))]


def _recorded(folder: Path, run: Run, entries: Sequence[NumberedNode]) -> Mapping[str, NodeShapes]:
    """The shapes in the run's trace, by the names of executed nodes."""
    trace = folder / "trace.json.gz"
    if not trace.is_file():
        return {}
    if run.manifest.get("source") != "trace":
        return read_shapes([trace], [int(run.manifest["warmup"])])
    traced = read_foreign(trace).nodes
    once = np.ones((1, 1), np.int64)
    return {
        executed_name(number): NodeShapes((traced[place].form,), once)
        for place, number in match_model(entries, traced).items()
        if traced[place].form.outputs
    }


def _original(folder: Path, run: Run, name: str, kind: Kind, names: set[str], path: Path | None) -> Subject:
    graph = _graph(run, path)
    prepared = prepare(graph, variable_values(graph, int(run.manifest.get("seed") or 0)))
    entries = numbered(prepared.model.graph)
    labels = label_nodes(entries)
    states = dict(zip(run.originals["name"], run.originals["state"], strict=True))
    members = [
        entry
        for entry, label in zip(entries, labels, strict=True)
        if label.name in names and (kind == "original" or states[label.name] != "folded")
    ]
    if not members:
        raise UsageError(f"all of '{name}' was computed before the run", "name another layer")
    where = min(((e.parent, e.body) for e in members), key=lambda place: -1 if place[0] is None else place[0])
    members = [entry for entry in members if (entry.parent, entry.body) == where]
    known = known_by_body(prepared.model.graph, opset_of(prepared.model))[where]
    tensors = {**_ran(folder, run), **{n: t for n, t in known.tensors.items() if t.shape is not None}}
    chosen = {entry.index for entry in members}
    return Subject(
        name,
        kind,
        prepared.model,
        tuple(entry.node for entry in members),
        _around(prepared.model.graph, entries, where),
        tensors,
        known.values,
        prepared.values,
        prepared.folder,
        originals=tuple(labels[entry.index].name for entry in [*members, *_inside(entries, chosen)]),
    )


def _ran(folder: Path, run: Run) -> Mapping[str, Tensor]:
    """Tensors as the run showed them, for where the graph does not tell their shapes."""
    path = folder / STRUCTURE
    if not path.is_file():
        return {}
    model = read_model(path, to_run=False)
    entries = numbered(model.graph)
    return executed_tensors(entries, model.graph, _recorded(folder, run, entries)).plain


def _graph(run: Run, path: Path | None) -> Graph:
    """The graph of a run, with its open dimensions as large as they were."""
    place = path or run.manifest.get("graph_file")
    if place is None or not Path(place).is_file():
        raise GraphError(
            f"the graph '{run.manifest.get('graph')}' of the run is not where it was profiled", "give it with --graph"
        )
    structure = load_structure(place)
    if structure.sha256 != run.manifest.get("graph_sha256"):
        raise UsageError(f"'{place}' is not the graph of the run: its SHA-256 differs", "give the file with --graph")
    shapes = run.manifest.get("inputs") or {}
    sizes = {
        opening.label: int(shapes[opening.input][opening.axis])
        for opening in open_dimensions(structure.model.graph)
        if shapes.get(opening.input) is not None
    }
    return load(place, sizes)
