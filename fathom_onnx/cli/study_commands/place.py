"""``fathom-onnx place``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError

if TYPE_CHECKING:
    from fathom_onnx.analysis.runs.run import Run
    from fathom_onnx.analysis.similarity.nearest import NearestWorkloads
    from fathom_onnx.study.suite import Suite

__all__ = ["command"]

_CONDITIONS = {
    "provider": "provider",
    "threads": "threads",
    "optimization": "optimization",
    "onnxruntime": "onnxruntime",
    "cpu": "processor",
}
"""Fact of a manifest, in which run and suite should be alike, to its title."""


@click.command("place")
@click.argument("target", metavar="GRAPH.onnx|RUN", type=click.Path(path_type=Path))
@click.option(
    "--study",
    "study_folder",
    type=click.Path(path_type=Path),
    default="study",
    show_default=True,
    help="A finished study's folder, whose runs are the suite.",
)
@click.option("--framework", default="torch", show_default=True, help="Framework of the suite's graphs.")
@click.option(
    "--mode",
    type=click.Choice(["inference", "training"]),
    help="Mode of the suite's runs; as the graph's, and inference for one that is not ours.",
)
@click.option("--by", "level", type=click.Choice(["op", "class"]), default="op", show_default=True, help="Compared by.")
@options.measuring_options
@options.dimension_option("dims")
@options.inputs_option
@options.output_option(None, "SVG file for the tree.")
@options.json_option
def command(
    target: Path,
    study_folder: Path,
    framework: str,
    mode: str | None,
    level: str,
    warmup: int,
    steps: int,
    seed: int,
    dims: tuple[str, ...],
    inputs: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Show where a graph of your own stands among the workloads: nearest ones, differences, place in the tree.

    TARGET is an .onnx file, which is profiled as the study's runs were (same provider and threads), or the folder of a
    run that 'profile' wrote.
    """
    from fathom_onnx.analysis.similarity.nearest import nearest_workloads
    from fathom_onnx.analysis.similarity.op_mix import run_op_mix
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.study.suite import read_suite

    if output is not None and output.suffix != ".svg":
        raise UsageError(f"'{output}' is not an .svg file", "give one that ends in .svg")
    if target.is_dir():
        from fathom_onnx.analysis.runs.run import Run

        if inputs:
            raise UsageError(f"'{target}' is a run, which is not fed again", "give --inputs with an .onnx file")
        run = Run.load(target)
        suite = read_suite(study_folder, mode or _mode(run), framework)
    else:
        run, suite = _profiled(target, study_folder, mode, framework, warmup, steps, seed, dims, inputs)
    placed = nearest_workloads(run_op_mix(run), suite.op_mixes, level)  # type: ignore[arg-type]
    remarks = _remarks(run, suite)
    if as_json:
        print_json({"schema": "fathom-onnx/place/1", **placed.json(), "remarks": remarks})
    else:
        _print(placed, suite, remarks)
    if output is not None:
        _draw(placed, output)


def _mode(run: Run) -> str:
    return str(run.manifest.get("mode") or "inference")


def _profiled(
    target: Path,
    folder: Path,
    mode: str | None,
    framework: str,
    warmup: int,
    steps: int,
    seed: int,
    dims: Sequence[str],
    inputs: Sequence[Path],
) -> tuple[Run, Suite]:
    """Profile a graph as the suite was run."""
    from fathom_onnx.cli.render import progress
    from fathom_onnx.data import load_with_inputs
    from fathom_onnx.profiling import profile
    from fathom_onnx.study.suite import read_suite

    graph, feeds = load_with_inputs(target, options.dimension_sizes(dims), inputs)
    suite = read_suite(folder, mode or (graph.metadata.mode if graph.metadata else "inference"), framework)
    with progress() as (say, _):
        run = profile(
            graph,
            ep=suite.provider,
            threads=suite.threads,
            warmup=warmup,
            steps=steps,
            seed=seed,
            feeds=feeds,
            progress=lambda text, done, total: say(f"{text} {done} of {total}"),
        )
    return run, suite


def _remarks(run: Run, suite: Suite) -> list[str]:
    """Differences between the run and the suite beyond the graph, and runs on a busy machine."""
    from fathom_onnx.analysis.paper.provider_comparison import node_times
    from fathom_onnx.runtime.speed.gauge import doubt

    times = node_times(run.manifest, str(run.manifest.get("provider")))
    facts = [(title, run.manifest.get(f), [m.get(f) for m in suite.manifests]) for f, title in _CONDITIONS.items()]
    if run.manifest.get("preset") is not None:  # which only graphs of ours have
        facts.append(("preset", run.manifest["preset"], [suite.preset]))
    facts.append(("kind of node times", times, [suite.node_times]))
    remarks = [
        f"the run's {what} is {_told(of_run)}, the suite's {' and '.join(dict.fromkeys(map(_told, of_suite)))}"
        for what, of_run, of_suite in facts
        if any(value != of_run for value in of_suite)
    ]
    remarks += [f"in the run {line}" for line in doubt(run.manifest.get("gauge"))]
    doubtful = sum(bool(doubt(manifest.get("gauge"))) for manifest in suite.manifests)
    if doubtful:
        remarks.append(f"{doubtful} of the suite's {len(suite.manifests)} runs were measured on a busy machine")
    rest = run.kind_us("unattributed")
    if rest > 0:
        remarks.append(f"{rest / run.node_time_us:.1%} of the graph's time belongs to no op and is left out")
    return remarks


def _told(value: object) -> str:
    return "unknown" if value is None else str(value)


def _print(placed: NearestWorkloads, suite: Suite, remarks: list[str]) -> None:
    from fathom_onnx.cli.render import table

    by = "op classes" if placed.grouping == "class" else "ops"
    tell(f"{placed.name} among the {placed.mode} runs ({placed.framework}, preset {suite.preset}), by {by}")
    rows = [
        [
            neighbour.workload,
            f"{neighbour.distance:.3f}",
            "; ".join(f"{gap.name} {gap.share_a:.0%} here, {gap.share_b:.0%} there" for gap in neighbour.gaps),
        ]
        for neighbour in placed.neighbours
    ]
    table("", ("workload", "distance", "differs most in"), rows, text=("workload", "differs most in"))
    joined = ", ".join(placed.companions)
    tell(f"\nin the tree it joins {joined} at distance {placed.joins.distance:.3f}")
    for remark in remarks:
        tell(f"note: {remark}")


def _draw(placed: NearestWorkloads, path: Path) -> None:
    from fathom_onnx.analysis.report.paper_figures import dendrogram
    from fathom_onnx.analysis.similarity.clusters import linkage_matrix
    from fathom_onnx.graph.files import write_text

    drawn = dendrogram(
        linkage_matrix(placed.leaves, placed.merges), placed.leaves, f"{placed.mode}, {placed.framework}"
    )
    # a file of its own has no page to inherit its colours from
    write_text(path, drawn.replace("<svg ", '<svg color="#1a1e24" style="background:#ffffff" ', 1))
    tell(f"tree: {path}", err=True)
