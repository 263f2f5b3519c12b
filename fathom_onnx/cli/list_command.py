"""``fathom-onnx list``."""

from __future__ import annotations

import click

from .options import chosen_workloads, configuration_options, json_option

__all__ = ["command"]


@click.command("list")
@configuration_options("paper")
@json_option
def command(preset: str, batch: int | None, changes: tuple[str, ...], as_json: bool) -> None:
    """Show the workloads there are, with their size at a preset."""
    from ..workloads import definition
    from .render import print_json, table

    workloads = chosen_workloads((), preset, batch, changes)
    rows = [
        {
            "name": w.name,
            "summary": definition(w.name).summary,
            "layers": len(w.layers),
            "parameters": sum(p.elements for p in w.parameters),
            "batch": w.config.batch,
            "data": w.data,
        }
        for w in workloads
    ]
    if as_json:
        print_json({"schema": "fathom-onnx/list/1", "preset": preset, "workloads": rows})
        return
    columns = ("workload", "model", "data", "layers", "parameters", "batch")
    cells = [
        [str(r["name"]), str(r["summary"]), str(r["data"]), str(r["layers"]), f"{r['parameters']:,}", str(r["batch"])]
        for r in rows
    ]
    table(f"Workloads, preset {preset}", columns, cells, text=("workload", "model", "data"))
