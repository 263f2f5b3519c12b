"""``fathom-onnx sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fathom_onnx.cli import choices, options
from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.targets import refuse_preset
from fathom_onnx.exporting import Purpose

if TYPE_CHECKING:
    from fathom_onnx.study import SweepResult

__all__ = ["command"]


@click.command("sweep")
@click.argument("targets", nargs=-1, metavar="[WORKLOAD|FILE.py:build|GRAPH.onnx]...")
@options.suite_option
@options.list_option("--framework", options.text_list, "torch", "Frameworks; usual, for torch and tensorflow; or all.")
@options.list_option("--mode", options.text_list, "training", "inference, training, or all.")
@options.list_option("--ep", options.text_list, "cpu", "Execution providers: cpu, cuda.")
@options.cuda_options
@options.list_option("--threads", options.count_list, None, "Threads inside an operator; all cores by default.")
@options.list_option("--batch", options.count_list, None, "Batch sizes; the preset's own by default.")
@options.list_option(
    "--optimization", options.text_list, "all", "Graph optimization levels: all, extended, basic, none."
)
@options.preset_option("small")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change a field, or an argument of FILE.py:build, in every cell; may repeat.",
)
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=N,...",
    help="Sizes of an open dimension of the graph files; may repeat.",
)
@options.purpose_option("onnxruntime")
@options.measuring_options
@options.inputs_option
@click.option("--retry", is_flag=True, help="Try cells again that failed before.")
@click.option("--no-wait", is_flag=True, help="Refuse, and do not wait, while another measurement runs here.")
@options.output_option("sweep", "Folder of the sweep.")
@options.json_option
def command(
    targets: tuple[str, ...],
    suite: str,
    framework: Sequence[str],
    mode: Sequence[str],
    ep: Sequence[str],
    tf32: bool,
    serialize: bool,
    threads: Sequence[int] | None,
    batch: Sequence[int] | None,
    optimization: Sequence[str],
    preset: str,
    changes: tuple[str, ...],
    dims: tuple[str, ...],
    purpose: Purpose,
    steps: int,
    warmup: int,
    seed: int,
    inputs: tuple[Path, ...],
    retry: bool,
    no_wait: bool,
    output: Path,
    as_json: bool,
) -> None:
    """Profile workloads, a suite's where nothing is named, and graph files, over every combination of the lists.

    A FILE.py:build is a model of your own, of its own framework; --set gives its function's arguments.

    Of a graph file, --batch is the size of the open dimension that comes first in its inputs, and --dim gives the
    others. Framework, mode, preset and --set are the workloads'.

    Each run is measured in a process of its own, one at a time. Work that was already done with the same inputs is not
    repeated, so an interrupted sweep resumes where it stopped. A cell that fails is recorded and the others go on; the
    exit code is then 1.
    """
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.study import Axes, run_sweep
    from fathom_onnx.workloads import names

    from .live import print_events, print_waiting

    refuse_preset(targets)
    axes = Axes(
        workloads=[name for name in targets if not _is_file(name)] if targets else names(suite),
        frameworks=choices.named_frameworks(framework),
        modes=_all(mode),
        providers=ep,
        tf32=tf32,
        serialize=serialize,
        threads=threads or (),
        batches=batch or (),
        optimizations=optimization,  # type: ignore[arg-type]  # checked when the plan is made
        preset=preset,
        changes=options.pairs(changes, "FIELD=VALUE"),
        inputs=inputs,
        graphs=[Path(name) for name in targets if _is_file(name)],
        dimensions=options.dimension_lists(dims),
    )
    with print_events() as on_event:
        result = run_sweep(
            output,
            axes,
            warmup=warmup,
            steps=steps,
            seed=seed,
            purpose=purpose,
            retry=retry,
            wait=not no_wait,
            on_event=on_event,
            on_wait=print_waiting,
        )
    if as_json:
        print_json(result.json())
    else:
        _print(result)
    if not (result.folder / "cells.parquet").is_file():
        tell("no cells.parquet: pyarrow is not installed; pip install 'fathom-onnx[parquet]'", err=True)
    if not result.ok:
        tell("failed cells are tried again with --retry", err=True)
        click.get_current_context().exit(1)


def _is_file(target: str) -> bool:
    return target.lower().endswith(".onnx")


def _all(names: Sequence[str]) -> Sequence[str] | None:
    """None, which is all, where ``all`` is among the names."""
    return None if "all" in names else names


def _print(result: SweepResult) -> None:
    from fathom_onnx.cli.render import table, time_us
    from fathom_onnx.runtime.speed.gauge import crowded

    columns = ("workload", "framework", "mode", "batch", "changes", "provider", "threads", "optimization")
    rows = [
        (
            *("" if row[name] is None else str(row[name]) for name in columns),
            time_us(row["control_us"]) if row["state"] == "done" else "failed",
            time_us(row["node_time_us"]) if row["state"] == "done" else "",
        )
        for row in result.rows
    ]
    numbers = ("batch", "threads", "step", "in nodes")
    heads = (*columns, "step", "in nodes")
    table("", heads, rows, text=[name for name in heads if name not in numbers])
    tested = [e for e in result.ledger or () if e.ours]
    if tested:
        tell("\nThe paper's claims that this sweep can test")
    for entry in tested:
        tell(str(entry))
    done = sum(row["state"] == "done" for row in result.rows)
    tell(f"\n{done} of {len(result.rows)} cells done; tables: {result.folder / 'cells.csv'}")
    if unsteady := sum(row["steady"] is False for row in result.rows):
        tell(f"the machine changed speed in {unsteady} of them, which were repeated (column gauge_spread)")
    if shared := sum(crowded(row) for row in result.rows):
        tell(f"other processes took cores from {shared} of them: their times may not be comparable (column waited)")
    for failure in result.failures:
        tell(f"failed: {failure.what} ({failure.stage}): {failure.error}")
