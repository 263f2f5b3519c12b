"""``fathom-onnx list``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import FathomError
from fathom_onnx.exporting import DEFAULT_FRAMEWORK, graph_path
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["command"]


def _measured(folder: Path | None, workload: Workload, mode: Mode) -> dict[str, int] | None:
    """Nodes and MACs of a workload's graph file, if the folder has it."""
    from fathom_onnx.analysis.cost.node_costs import graph_costs
    from fathom_onnx.graph import load

    path = graph_path(folder, workload.name, DEFAULT_FRAMEWORK, mode) if folder else None
    if path is None or not path.is_file():
        return None
    graph = load(path)
    return {"nodes": len(graph.model.graph.node), "macs": sum(cost.macs or 0 for cost in graph_costs(graph))}


@click.command("list")
@options.suite_option
@options.configuration_options("paper")
@click.option(
    "--graphs",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Count its graphs too.",
)
@options.json_option
def command(
    suite: str, preset: str, batch: int | None, changes: tuple[str, ...], graphs: Path | None, as_json: bool
) -> None:
    """Show the workloads there are: the paper's Table II, with our numbers at a preset.

    A workload of another package that does not have the preset, or cannot be loaded, is left out with the reason.
    With --graphs, nodes and multiply-accumulates a step are those of the graph files in a folder.
    """
    from fathom_onnx.cli.render import print_json, table
    from fathom_onnx.workloads import BUILT_IN, definition, names, suite_of
    from fathom_onnx.workloads.catalogue import CATALOGUE

    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    for name in names(suite):
        try:
            (w,) = choices.chosen_workloads([name], preset, batch, changes)
        except FathomError as error:
            if name in BUILT_IN:
                raise
            left_out[name] = str(error)
            continue
        row = CATALOGUE.get(name)
        rows.append(
            {
                "name": name,
                "suite": suite_of(name),
                "summary": definition(name).summary,
                "year": row.year if row else None,
                "style": row.style if row else None,
                "paper_layers": row.layers if row else None,
                "task": row.task if row else None,
                "paper_dataset": row.dataset if row else None,
                "data": w.data,
                "layers": len(w.layers),
                "parameters": sum(p.elements for p in w.parameters),
                "batch": w.batch_size,
                "inference": _measured(graphs, w, "inference"),
                "training": _measured(graphs, w, "training"),
            }
        )
    if as_json:
        print_json({"schema": "fathom-onnx/list/1", "preset": preset, "workloads": rows, "left_out": left_out})
        return
    columns = ["workload", "suite", "year", "style", "layers (paper)", "task", "data", "parameters", "batch"]
    text = ("workload", "suite", "style", "task", "data")
    if graphs:
        columns += ["nodes", "MACs", "nodes (training)", "MACs (training)"]
    table(f"Workloads, preset {preset}", columns, [_cells(row, bool(graphs)) for row in rows], text)
    for name, reason in left_out.items():
        tell(f"workload '{name}' is left out: {reason}", err=True)


def _cells(row: dict[str, Any], counted: bool) -> list[str]:
    layers = f"{row['layers']} ({row['paper_layers'] or '-'})"
    about = [row["name"], row["suite"] or "", str(row["year"] or ""), row["style"] or row["summary"]]
    about += [layers, row["task"] or ""]
    cells = [*about, row["data"], f"{row['parameters']:,}", str(row["batch"] or "")]
    for mode in ("inference", "training") if counted else ():
        found = row[mode]
        cells += [f"{found['nodes']:,}", f"{found['macs']:.3g}"] if found else ["", ""]
    return cells
