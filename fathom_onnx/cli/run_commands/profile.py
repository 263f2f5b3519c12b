"""``fathom-onnx profile``."""

from __future__ import annotations

from pathlib import Path

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.recipes.target import is_target

from .native_profile import ONNXRUNTIME, profile_by_framework, runtime_option
from .report import say_what_is_kept
from .run_report import print_run
from .trace_profile import profile_trace, trace_options

__all__ = ["command"]


@click.command("profile")
@click.argument("target", metavar="GRAPH.onnx|WORKLOAD|FILE.py:build")
@options.framework_option("torch")
@runtime_option
@options.mode_option("training")
@options.configuration_options("paper")
@options.session_options
@options.measuring_options
@options.dimension_option("dims")
@options.inputs_option
@click.option("--keep-dynamic", is_flag=True, help="Time the graph with its open dimensions open, --dim only feeds it.")
@click.option(
    "--longest-step",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="End a step of a graph with loops that takes longer.",
)
@options.custom_ops_option
@click.option(
    "--values",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Values of parameters and state: a checkpoint of train, or an .npz of arrays by name.",
)
@click.option("--allow-fallback", is_flag=True, help="Let nodes run on the CPU that the provider cannot take.")
@options.tf32_option
@options.serialize_option
@trace_options
@click.option("--top", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of the longer tables.")
@options.output_option(None, "Run folder to write: tables, manifest, raw trace, timeline.")
@click.option("--html", is_flag=True, help="Write report.html into the run folder; see 'fathom-onnx report'.")
@options.json_option
def command(
    target: str,
    framework: str,
    runtime: str,
    compiled: bool,
    mode: str,
    preset: str,
    batch: int | None,
    changes: tuple[str, ...],
    ep: str,
    threads: int | None,
    optimization: str,
    warmup: int,
    steps: int,
    seed: int,
    dims: tuple[str, ...],
    inputs: tuple[Path, ...],
    keep_dynamic: bool,
    longest_step: float,
    custom_ops: tuple[Path, ...],
    values: Path | None,
    allow_fallback: bool,
    tf32: bool,
    serialize: bool,
    trace: Path | None,
    optimized: Path | None,
    top: int,
    output: Path | None,
    html: bool,
    as_json: bool,
) -> None:
    """Run a graph in onnxruntime and show where its time goes, by phase, class, op and layer.

    TARGET is an .onnx file, of ours or any other, or a workload, or a function that builds a model of your own, whose
    graph is exported first. The step is timed without the
    profiler as well; each executed node is mapped back to the nodes of the graph through onnxruntime's fusions. With
    --runtime a workload's step runs in its framework instead, and its operations are shown in the same terms.
    On CUDA the times of nodes are the device's, recorded by CUPTI. With --trace nothing runs: a profile that
    onnxruntime wrote for someone else is attributed, best with the --optimized model of its session.
    """
    if html and output is None:
        raise UsageError("the report is written into the run folder, and none is kept", "give -o FOLDER")
    if trace is not None or optimized is not None:
        profile_trace(click.get_current_context())
        return
    if runtime != ONNXRUNTIME:
        profile_by_framework(click.get_current_context())
        return
    if compiled:
        raise UsageError("onnxruntime has no compiler", "name a framework with --runtime, or leave --compiled out")
    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.data import load_with_inputs, read_inputs
    from fathom_onnx.profiling import profile_graph
    from fathom_onnx.runtime.environment import cpu_cores
    from fathom_onnx.runtime.settings import SessionSettings

    if target.endswith(".onnx") or (Path(target).exists() and not is_target(target)):
        graph, feeds = load_with_inputs(target, options.dimension_sizes(dims), inputs)
    else:
        graph = _exported(target, framework, mode, preset, batch, changes, ep)
        feeds = read_inputs(graph, inputs) if inputs else None
    settings = SessionSettings(
        ep,
        threads or cpu_cores(),
        optimization,  # type: ignore[arg-type]  # checked by the settings
        allow_fallback,
        tf32,
        serialize,
        custom_ops,
        longest_step,
    )
    with progress() as (say, _):
        run = profile_graph(
            graph,
            settings,
            warmup=warmup,
            steps=steps,
            seed=seed,
            feeds=feeds,
            keep_dynamic=keep_dynamic,
            folder=output,
            values=values,
            progress=lambda text, done, total: say(f"{text} {done} of {total}"),
        )
    summary = run.summary()
    if as_json:
        print_json(summary)
    else:
        print_run(summary, top)
    say_what_is_kept(output, html)


def _exported(
    name: str, framework: str, mode: str, preset: str, batch: int | None, changes: tuple[str, ...], ep: str
) -> Graph:
    from fathom_onnx.exporting import ExportRequest, export_graph, purpose_for

    cells = choices.chosen_cells(choices.chosen_workloads([name], preset, batch, changes), framework, mode)
    if len(cells) > 1:
        raise UsageError("profile runs one graph", "name one framework and one mode; 'study' runs them all")
    ((workload, chosen, one_mode),) = cells
    return export_graph(chosen, ExportRequest(workload, one_mode, purpose=purpose_for(ep)))
