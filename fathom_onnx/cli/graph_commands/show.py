"""``fathom-onnx show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import ExportError, MissingDependencyError
from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.recipes import RecipeWorkload
from fathom_onnx.workloads.contract import Workload

if TYPE_CHECKING:
    from fathom_onnx.analysis.cost.layers import LayerCost

__all__ = ["command"]


@click.command("show")
@click.argument("workload", metavar="WORKLOAD|FILE.py:build")
@options.framework_option("torch")
@options.mode_option("training")
@options.configuration_options("paper")
@options.json_option
def command(
    workload: str, framework: str, mode: str, preset: str, batch: int | None, changes: tuple[str, ...], as_json: bool
) -> None:
    """Show one workload, or a model of your own: its configuration with sources, inputs, layers and variables.

    Shapes and multiply-accumulates of the layers are those of the inference graph, which is exported for that.
    """
    from fathom_onnx.cli.render import print_json, table
    from fathom_onnx.workloads import definition
    from fathom_onnx.workloads.config import settings

    (found,) = choices.chosen_workloads([workload], preset, batch, changes)
    papers: tuple[str, ...] = ()
    fidelity = ""
    if isinstance(found, RecipeWorkload):
        summary, framework = f"a model of class {type(found.recipe.model).__name__}", found.framework
    else:
        about = definition(workload)
        summary, papers, fidelity = about.summary, about.papers, about.fidelity
    configuration = [{"field": f, "value": v, "source": s} for f, v, s in settings(found.config)]
    inputs = {
        m: [{"name": t.name, "shape": list(t.shape), "dtype": t.dtype, "meaning": t.meaning} for t in specs]
        for m in choices.chosen_modes(mode)
        for specs in [found.batch_inputs(m)]
    }
    variables = [
        {"name": v.name, "shape": list(v.shape), "initialiser": v.initialiser.label, "value": v.initialiser.value}
        for v in found.parameters + found.buffers
    ]
    frozen = [{"name": v.name, "shape": list(v.shape), "starts_as": v.starts_as} for v in found.frozen]
    costs = _costs(found, framework)
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(costs[layer.name].shape) if layer.name in costs else None,
            "macs": costs[layer.name].macs if layer.name in costs else None,
        }
        for layer in found.layers
    ]
    if as_json:
        print_json(
            {
                "schema": "fathom-onnx/show/1",
                "name": workload,
                "summary": summary,
                "preset": preset,
                "papers": list(papers),
                "fidelity": fidelity,
                "configuration": configuration,
                "inputs": inputs,
                "layers": layers,
                "variables": variables,
                "frozen": frozen,
            }
        )
        return
    tell(f"{workload}: {summary}")
    for paper in papers:
        tell(f"  {paper}")
    if fidelity:
        tell(f"Fidelity: {fidelity}")
    table(
        "Configuration",
        ("field", "value", "source"),
        [[str(v) for v in row.values()] for row in configuration],
        ("field", "source"),
    )
    for m, specs in inputs.items():
        names = ("name", "shape", "type", "meaning")
        table(f"Inputs of {m}", names, [[str(v) for v in r.values()] for r in specs], names)
    cells = [
        (str(r["name"]), str(r["kind"]), str(r["shape"] or ""), "" if r["macs"] is None else f"{r['macs']:,}")
        for r in layers
    ]
    table("Layers", ("layer", "kind", "shape", "MACs"), cells, ("layer", "kind", "shape"))
    columns = ("variable", "shape", "initialiser", "value")
    rows = [[str(v["name"]), str(v["shape"]), str(v["initialiser"]), f"{v['value']:.4g}"] for v in variables]
    table("Parameters and running statistics", columns, rows, columns[:3])
    if frozen:
        header = ("variable", "shape", "starts as")
        table("Frozen in training", header, [[str(v) for v in row.values()] for row in frozen], header)


def _costs(workload: Workload, framework: str) -> dict[str, LayerCost]:
    """What the layers cost in inference; nothing, and a word on stderr, where the framework cannot make its graph."""
    from fathom_onnx.analysis.cost.layers import layer_costs

    try:
        graph = export_graph(framework, ExportRequest(workload, "inference"))
    except (MissingDependencyError, ExportError) as error:
        tell(f"shapes and MACs are left out: {error}", err=True)
        return {}
    return layer_costs(graph)
