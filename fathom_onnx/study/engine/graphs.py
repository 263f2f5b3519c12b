"""The graphs of a study: each exported, verified against its own framework, compared with other frameworks' graphs.

The graphs that are verified take the random tensors of a step as inputs, so that two graphs can be given the same
ones. Where a step draws none, that is the file that is run; elsewhere a second file is written for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fathom_onnx.exporting import ExportRequest, export_file
from fathom_onnx.graph import Graph, load, load_structure
from fathom_onnx.study.cells.plan import Cell, Job
from fathom_onnx.study.cells.results import StageResult
from fathom_onnx.workloads.contract import NoiseSource

from .store import sha256

if TYPE_CHECKING:
    from fathom_onnx.verification import Check

__all__ = [
    "checked_graph_exists",
    "compare_graphs",
    "export_checked_graph",
    "export_graph",
    "graph_exists",
    "model_structure",
    "verify_graph",
]


def _export(job: Job, path: Path, noise: NoiseSource) -> StageResult:
    workload = job.workload
    request = ExportRequest(workload, job.cell.mode, noise, job.options.purpose)
    exported = export_file(job.cell.framework, request, path)
    return {
        "path": exported.path.relative_to(job.folder).as_posix(),
        "sha256": sha256(exported.path),
        "nodes": exported.nodes,
        "size_bytes": exported.size_bytes,
        "seconds": exported.seconds,
        "parameters": sum(p.elements for p in workload.parameters),
        "batch_size": workload.batch_size,
        "data": workload.data,
    }


def export_graph(job: Job) -> StageResult:
    """Write the graph file of a cell; one that is there already is only looked at."""
    if job.source is not None:
        return {
            "path": str(job.source),
            "sha256": sha256(job.source),
            "nodes": len(load_structure(job.source).model.graph.node),
            "size_bytes": job.source.stat().st_size,
        }
    return _export(job, job.graph(), "graph")


def graph_exists(job: Job, result: StageResult) -> bool:
    """Whether the graph file of a cell is still the one that :func:`export_graph` wrote."""
    return _is_there(job.graph(), result)


def export_checked_graph(job: Job) -> StageResult:
    """Write the graph file of a cell that takes the random tensors of its step as inputs."""
    return _export(job, job.checked_graph(), "input")


def checked_graph_exists(job: Job, result: StageResult) -> bool:
    """Whether the file of :func:`export_checked_graph` is still the one that was written."""
    return _is_there(job.checked_graph(), result)


def _is_there(path: Path, result: StageResult) -> bool:
    """Whether a graph file is the one of a result, with the values beside it that it names."""
    if sha256(path) != result.get("sha256"):
        return False
    metadata = load_structure(path).metadata
    return metadata is None or not metadata.values or (path.parent / metadata.values).is_file()


def model_structure(job: Job) -> StageResult:
    """Modelled cost of a cell's graph by op."""
    from fathom_onnx.analysis.similarity.op_mix import structure

    return structure(load(job.graph()))


def verify_graph(job: Job) -> StageResult:
    """Check a cell's graph against its own framework in float64."""
    from fathom_onnx.verification import verify

    o = job.options
    check = verify(
        job.workload,
        job.cell.framework,
        job.cell.mode,
        graph=_load_checked(job, job.cell),
        steps=o.checked_steps,
        seed=o.seed,
    )
    return {"checks": [_check_row(job, check)]}


def compare_graphs(job: Job) -> StageResult:
    """Check the graphs of every two frameworks against each other."""
    from fathom_onnx.verification import verify_pairs

    o = job.options
    cells = (job.cell, *job.others)
    checks = verify_pairs(
        job.workload,
        [cell.framework for cell in cells],
        job.cell.mode,
        graphs=[_load_checked(job, cell) for cell in cells],
        steps=o.checked_steps,
        seed=o.seed,
    )
    return {"checks": [_check_row(job, check) for check in checks]}


def _load_checked(job: Job, cell: Cell) -> Graph:
    return load(job.checked_graph(cell))


def _check_row(job: Job, check: Check) -> StageResult:
    """A check as the report shows it, and all of its numbers."""
    # graphs in a folder of their own have the same name as others
    lowered = f" (lowering {job.options.purpose})" if job.options.graphs else ""
    parts = [f"{check.steps} steps"]
    if check.mode == "training":
        parts.append(f"loss error {check.loss:.1e}")
        parts.append(f"gradient error {check.gradient.error:.1e}")
        parts.append(f"update error {check.update.error:.1e}")
    parts.append(f"{'state' if check.mode == 'training' else 'output'} error {check.state.error:.1e}")
    if check.single.name:
        parts.append(f"{check.single.error:.1f} times the framework's own error in float32")
    return {
        "name": f"{check.workload} {check.mode}: {check.left} against {check.right}{lowered}",
        "passed": check.passed,
        "detail": "; ".join(check.faults or parts),
        "numbers": check.json(),
    }
