"""``fathom-onnx train``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError
from fathom_onnx.exporting import ExportRequest, export_graph, purpose_for

__all__ = ["command"]


@click.command("train")
@click.argument("target", metavar="GRAPH.onnx|WORKLOAD|FILE.py:build")
@options.framework_option("torch")
@options.configuration_options("small")
@options.session_options
@click.option("--steps", type=click.IntRange(min=1), default=300, show_default=True, help="Training steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and batches.")
@options.json_option
def command(
    target: str,
    framework: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    ep: str,
    threads: int | None,
    optimization: str,
    steps: int,
    seed: int,
    as_json: bool,
) -> None:
    """Train a workload, a training graph, or a model of your own on its example batch, and show the loss."""
    from fathom_onnx.cli.render import print_json, progress, table
    from fathom_onnx.data import batches_for_graph, source_for_graph
    from fathom_onnx.graph import load
    from fathom_onnx.runtime.environment import cpu_cores
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.runtime.training import train

    settings = SessionSettings(ep, threads or cpu_cores(), optimization)  # type: ignore[arg-type]
    if target.endswith(".onnx"):
        graph = load(Path(target))
    else:
        chosen = options.chosen_workloads([target], preset, batch, changes)
        cells = options.chosen_cells(chosen, framework, "training")
        if len(cells) > 1:
            raise UsageError("train runs one graph", "name one framework")
        ((workload, name, _),) = cells
        graph = export_graph(name, ExportRequest(workload, "training", purpose=purpose_for(ep)))
    source = source_for_graph(graph)
    started = time.perf_counter()
    with progress(steps) as (say, advance):

        def on_step(number: int, loss: float) -> None:
            say(f"loss {loss:.4g}")
            advance()

        losses = train(graph, batches_for_graph(graph, seed), steps, settings, seed, on_step)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "schema": "fathom-onnx/train/1",
                "graph": graph.name,
                "source": {"name": source.name, "kind": source.kind, "description": source.description},
                "steps": steps,
                "seconds": seconds,
                "losses": losses,
            }
        )
        return
    marks = sorted({1, steps, *(steps * k // 10 for k in range(1, 10) if steps * k // 10)})
    rows = [(str(step), f"{losses[step - 1]:.4g}") for step in marks]
    table(f"{graph.name}: loss on {source.name} ({source.kind})", ("step", "loss"), rows, ())
    tell(f"{steps} steps in {seconds:.1f} s; loss {losses[0]:.4g} to {losses[-1]:.4g}")
