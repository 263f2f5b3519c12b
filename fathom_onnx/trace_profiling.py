"""Attribute a trace that someone already has: no session is opened, and the machine does not matter."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fathom_onnx.analysis.attribution.traced_attribution import (
    TracedAttribution,
    attribute_trace,
    attribute_trace_of,
)
from fathom_onnx.analysis.attribution.traced_names import traced_sizes
from fathom_onnx.analysis.runs.control_flow import control_facts
from fathom_onnx.analysis.runs.executed import never_ran
from fathom_onnx.analysis.runs.run import Run, build_run
from fathom_onnx.analysis.runs.steps import count_steps
from fathom_onnx.analysis.runs.timeline import write_timeline
from fathom_onnx.errors import OutputError, RunError, one_line
from fathom_onnx.graph import Graph, load_structure
from fathom_onnx.graph.functions import without_functions
from fathom_onnx.graph.loading.reading import read_model
from fathom_onnx.graph.loading.shapes import infer_shapes
from fathom_onnx.profiling import run_output
from fathom_onnx.runtime.environment import graph_facts, process_facts
from fathom_onnx.runtime.optimized import STRUCTURE, executed_name, write_structure
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.traces.foreign import ForeignTrace, read_foreign
from fathom_onnx.runtime.traces.runs import StepRun
from fathom_onnx.runtime.traces.shapes import NodeShapes
from fathom_onnx.runtime.traces.steps import StepTimes, step_times

__all__ = ["profile_from_trace"]

_ON_THE_CPU = frozenset({"CPUExecutionProvider", "DnnlExecutionProvider", "XnnpackExecutionProvider", ""})
_WARM_UP = 1
"""Runs at the start that are not counted where there are more: a session allocates and packs in its first."""

_UNKNOWN = (
    *("provider_options", "threads", "optimization", "optimization_level", "allow_fallback", "tf32", "gpu"),
    *("serialize", "seed", "onnxruntime", "onnx", "numpy", "python", "os", "cpu", "cpu_cores", "memory"),
)
"""Facts of other runs that a trace does not tell: of its session and of its machine."""


def profile_from_trace(
    model: Path,
    trace: Path,
    optimized: Path | None = None,
    *,
    dimensions: Mapping[str, int] | None = None,
    folder: Path | None = None,
) -> Run:
    """Attribute an onnxruntime trace of any provider, session and machine to the nodes of its model.

    Args:
        model: The ``.onnx`` file that the session loaded. Its weights need not be there.
        trace: The file that ``end_profiling`` named (``.json``, or compressed as ``.json.gz``).
        optimized: The model that the session saved as ``optimized_model_filepath``. Without it, nodes are told by
            their names, ops, indices, shapes and order, and what these do not tell is unattributed.
        dimensions: Values of open dimensions; those that the trace shows need none.
        folder: Run folder to write; see :func:`fathom_onnx.profiling.profile`.

    Raises:
        GraphError: A model cannot be read.
        UsageError: The trace is of another model.
        RunError: The trace is no trace, cut short, or lost events.
        OutputError: The run folder cannot be written.
    """
    found = read_foreign(trace)
    graph = _graph(model, dimensions or {}, found)
    ran = read_model(optimized, to_run=False) if optimized else None
    if ran is None:
        told = attribute_trace(graph, found.nodes, trace.name)
    else:
        told = attribute_trace_of(graph, found.nodes, ran, trace.name)
    skipped = _WARM_UP if found.runs > _WARM_UP else 0
    times = step_times(run for number, run in enumerate(_runs(found, told)) if number >= skipped)
    if not times.names:
        raise RunError(f"no node ran in the runs of trace '{trace.name}'", "record it with the profiler on throughout")
    walls = [float(us) for us in times.run_us]  # what the application waited for is not in a trace
    counted = count_steps(times, walls, [()], [len(walls)], skipped)
    manifest = {
        **graph_facts(graph),
        **dict.fromkeys(_UNKNOWN),
        **{name: process_facts()[name] for name in ("fathom_onnx", "command", "time_utc")},
        **_facts(found, told, counted.times, trace, optimized),
        "warmup": skipped,
        "steps_asked": len(walls),
        **counted.facts(),
        "nodes_never_ran": never_ran(told.attribution, counted.times),
        "control_flow": control_facts(told.attribution, counted.times),
    }
    run = build_run(
        told.attribution,
        counted.times,
        counted.step_us,
        manifest,
        graph,
        optimized=ran,
        shapes=_steady_shapes(found, told, counted.times) if ran else None,
    )
    if folder is not None:
        with run_output(folder) as place:
            run.save(place)
            if ran is not None and optimized is not None:
                write_structure(ran, optimized.parent, place / STRUCTURE)
            _keep(trace, place / "trace.json.gz")
            steps = (r for number, r in enumerate(_runs(found, told)) if number >= counted.skipped[0])
            write_timeline(place / "timeline.json.gz", steps, told.attribution)
    return run


def _graph(path: Path, dimensions: Mapping[str, int], trace: ForeignTrace) -> Graph:
    """The graph with its functions written out, and open dimensions as large as they were in the trace."""
    structure = load_structure(path, dimensions)
    sizes = traced_sizes(structure, [node for node in trace.nodes if node.parent is None])
    if sizes:
        structure = load_structure(path, {**sizes, **dimensions})
    if not structure.model.functions:
        return structure
    plain = without_functions(structure.model)
    infer_shapes(plain)
    return Graph(plain, structure.name, path)


def _runs(trace: ForeignTrace, told: TracedAttribution) -> Iterator[StepRun]:
    """The runs with nodes under the names that a run's tables know."""
    names = [executed_name(number) for number in told.numbers]
    for run in trace.read_runs():
        yield replace(run, nodes=tuple(node._replace(name=names[int(node.name)]) for node in run.nodes))


def _steady_shapes(found: ForeignTrace, told: TracedAttribution, times: StepTimes) -> dict[str, NodeShapes]:
    """Recorded shapes by name of a node in the times, for the nodes that have the same in all executions."""
    forms = {
        executed_name(number): node.form
        for node, number in zip(found.nodes, told.numbers, strict=True)
        if node.steady and node.form.outputs
    }
    return {
        name: NodeShapes((forms[name],), times.calls[:, [column]])
        for column, name in enumerate(times.names)
        if name in forms
    }


def _facts(
    found: ForeignTrace, told: TracedAttribution, times: StepTimes, trace: Path, optimized: Path | None
) -> dict[str, Any]:
    """What a manifest says of where the times are from."""
    us: dict[str, float] = defaultdict(float)
    for name, column in zip(times.providers, times.self_us.T, strict=True):
        us[name] += float(column.sum())
    total = sum(us.values())
    main = max(us, key=lambda name: us[name])
    short = next((p.name for p in PROVIDERS.values() if p.full_name == main), main or "unknown")
    return {
        "source": "trace",
        "trace": {
            "file": trace.name,
            "sha256": _sha256(trace),
            "runs": found.runs,
            "parallel": found.parallel,
            "device_events": found.device_events,
            "optimized": optimized.name if optimized else None,
            "optimized_sha256": _sha256(optimized) if optimized else None,
            "open_groups": told.open_groups,
        },
        "provider": short,
        "execution_provider": main,
        "node_times": "kernel" if main in _ON_THE_CPU else "host",
        "node_shares": {name: part / total for name, part in sorted(us.items(), key=lambda u: -u[1])} if total else {},
        "elsewhere": [],
        "device_copies": [],
        "data": {"source": "trace", "kind": "given", "description": "what the application fed"},
        "sessions": 1,
        "optimized_nodes": sum(entry.parent is None for entry in told.attribution.executed),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(trace: Path, target: Path) -> None:
    """Copy a trace into the run folder, compressed."""
    try:
        if trace.suffix == ".gz":
            shutil.copyfile(trace, target)
            return
        with trace.open("rb") as raw, gzip.open(target, "wb", compresslevel=3) as packed:
            shutil.copyfileobj(raw, packed, 1 << 20)
    except OSError as error:
        raise OutputError(f"cannot write '{target}' ({one_line(error)})", "free some space") from error
