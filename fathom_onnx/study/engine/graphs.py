"""The graphs of a study: each exported, verified against its own framework, and compared with other frameworks' graphs.

What is judged takes its random tensors as inputs, so that two graphs can be given the same ones. Where a step draws
nothing, that is the very file that is run; elsewhere a second one is made beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fathom_onnx.exporting import ExportRequest, export_file
from fathom_onnx.graph import Graph, load
from fathom_onnx.study.cells.plan import Cell, Job
from fathom_onnx.workloads.contract import NoiseSource

from .store import sha256

if TYPE_CHECKING:
    from fathom_onnx.verification import Check

__all__ = [
    "checked_graph_is_there",
    "compare_cells",
    "export_cell",
    "export_checked",
    "graph_is_there",
    "verify_cell",
]

Result = dict[str, Any]


def _export(job: Job, path: Path, noise: NoiseSource) -> Result:
    request = ExportRequest(job.workload, job.cell.mode, noise, job.options.purpose)
    made = export_file(job.cell.framework, request, path)
    return {
        "path": made.path.relative_to(job.folder).as_posix(),
        "sha256": sha256(made.path),
        "nodes": made.nodes,
        "size_bytes": made.size_bytes,
        "seconds": made.seconds,
    }


def export_cell(job: Job) -> Result:
    """Write the graph file of a cell."""
    return _export(job, job.graph(), "graph")


def graph_is_there(job: Job, result: Result) -> bool:
    """Whether the graph file of a cell is still the one that was written."""
    return bool(sha256(job.graph()) == result.get("sha256"))


def export_checked(job: Job) -> Result:
    """Write the graph file of a cell that takes as inputs what its step draws."""
    return _export(job, job.checked_graph(), "input")


def checked_graph_is_there(job: Job, result: Result) -> bool:
    """Whether the file of :func:`export_checked` is still the one that was written."""
    return bool(sha256(job.checked_graph()) == result.get("sha256"))


def _row(job: Job, check: Check) -> Result:
    """A check as the report shows it, with all of its numbers beside it."""
    # of graphs in a folder of their own there are others of the same name
    lowered = f" (lowering {job.options.purpose})" if job.options.graphs else ""
    parts = [f"{check.steps} steps"]
    if check.mode == "training":
        parts.append(f"loss error {check.loss_error:.1e}")
        parts.append(f"parameter error {check.parameter.error:.1e}")
    parts.append(f"{'state' if check.mode == 'training' else 'output'} error {check.state.error:.1e}")
    if check.flips.count:
        parts.append(f"{check.flips.count} branches flipped by rounding (at most {check.flips.margin:.1e} from them)")
    return {
        "name": f"{check.workload} {check.mode}: {check.left} against {check.right}{lowered}",
        "passed": check.passed,
        "detail": "; ".join(check.faults or parts),
        "numbers": check.json(),
    }


def _checked(job: Job, cell: Cell) -> Graph:
    return load(job.checked_graph(cell))


def verify_cell(job: Job) -> Result:
    """Judge a cell's graph against its own framework in float64."""
    from fathom_onnx.verification import verify

    o = job.options
    asked: dict[str, Any] = {"steps": o.checked_steps, "seed": o.seed, "threads": o.threads}
    check = verify(job.workload, job.cell.framework, job.cell.mode, graph=_checked(job, job.cell), **asked)
    return {"checks": [_row(job, check)]}


def compare_cells(job: Job) -> Result:
    """Judge the graphs of further frameworks against the first one's."""
    from fathom_onnx.verification import verify_pair

    o = job.options
    asked: dict[str, Any] = {"steps": o.checked_steps, "seed": o.seed, "threads": o.threads}
    first = _checked(job, job.cell)
    checks = []
    for other in job.others:
        pair = (job.cell.framework, other.framework)
        graphs = (first, _checked(job, other))
        checks.append(verify_pair(job.workload, pair, job.cell.mode, graphs=graphs, **asked))
    return {"checks": [_row(job, check) for check in checks]}
