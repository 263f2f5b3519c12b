"""``fathom-onnx roofline``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError

if TYPE_CHECKING:
    from fathom_onnx.analysis.runs import Roofline, Run
    from fathom_onnx.runtime.ceilings import Ceilings

__all__ = ["command"]


@click.command("roofline")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--by", type=click.Choice(["op", "layer", "node", "class", "phase"]), default="op", show_default=True, help="Rows."
)
@click.option("--ceilings", "path", type=click.Path(path_type=Path), help="Ceilings from 'ceilings --json'.")
@click.option("--measure", is_flag=True, help="Measure the ceilings here though the run is from another machine.")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="Rows of the table.")
@click.option("--strict", is_flag=True, help="Exit with 1 if nodes above the roof are not explained.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw it into a file.")
@options.json_option
def command(
    run: Path, by: str, path: Path | None, measure: bool, top: int, strict: bool, plot: Path | None, as_json: bool
) -> None:
    """Set a profiled run against what its machine can do: the share of the roof that each op, layer or node reaches.

    RUN is a folder that 'profile -o' wrote. Without --ceilings they are measured, with the run's provider and threads
    and, on CUDA, with TensorFloat-32 as in the run, for the number types that the run computed in.
    """
    from fathom_onnx.analysis.report.roofline_figure import roofline_svg
    from fathom_onnx.analysis.runs import Run
    from fathom_onnx.analysis.runs.roofline import roofline
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.graph.files import write_text
    from fathom_onnx.reporting import check_ceilings, check_node_times, roofline_warnings
    from fathom_onnx.runtime.ceilings import best_of, read_ceilings

    if path is not None and measure:
        raise UsageError("ceilings cannot be both read and measured", "give --ceilings or --measure")
    loaded = Run.load(run)
    times = check_node_times(loaded, str(run))
    ceilings = read_ceilings(path) if path is not None else _measured(loaded, measure)
    check_ceilings(ceilings, loaded)
    warnings = roofline_warnings(ceilings, loaded)
    for warning in warnings:
        tell(f"warning: {warning}", err=True)
    result = roofline(loaded, ceilings, by)
    if path is None and len(result.unexplained):
        # the first suspect is what was measured in a busy moment
        ceilings = best_of(ceilings, _measured(loaded, measure))
        result = roofline(loaded, ceilings, by)
    if plot is not None:
        write_text(plot, roofline_svg(result, str(loaded.manifest["graph"])))
        tell(f"drawing: {plot}", err=True)
    if as_json:
        facts = {"run": str(run), "graph": loaded.manifest["graph"], "node_times": times}
        print_json({**facts, **result.as_json(), "ceilings": ceilings.facts, "warnings": list(warnings)})
    else:
        _print(result, ceilings, loaded.manifest, times, top)
    _warn(result)
    if strict and len(result.unexplained):
        click.get_current_context().exit(1)


def _warn(result: Roofline) -> None:
    """Say on standard error what makes the roofline doubtful."""
    if not result.executed:
        tell(
            "note: the run was profiled by an older version: its costs are those of the graph as written, not of what "
            "ran; profile again",
            err=True,
        )
    for row in result.unexplained.to_dict("records"):
        tell(
            f"error: node '{row['node']}' ({row['op_type']}) is at {row['share']:.0%} of the roof, which cannot be: it "
            f"{row['why']}",
            err=True,
        )
    if len(result.unexplained):
        tell(
            f"{len(result.unexplained)} nodes above the roof are not explained: the ceilings were measured on a busy "
            "machine (measure again), or a cost is wrong (report it)",
            err=True,
        )


def _measured(run: Run, anyway: bool) -> Ceilings:
    """Measure ceilings with the settings of a run."""
    from fathom_onnx.cli.render import progress
    from fathom_onnx.reporting import ceilings_for

    with progress() as (say, _):
        say("measuring the ceilings")
        return ceilings_for(run, anyway)


def _threads(manifest: dict[str, Any]) -> str:
    """Threads of a run; a trace does not tell them."""
    return str(manifest["threads"] or "unknown")


def _print(result: Roofline, ceilings: Ceilings, manifest: dict[str, Any], times: str, top: int) -> None:
    from fathom_onnx.cli.render import table, time_us

    arithmetic = ", ".join(
        f"{gflops:.1f} GFLOP/s" + ("" if kind == "float32" else f" in {kind}")
        for kind, gflops in result.arithmetic.items()
    )
    tell(
        f"{manifest['graph']} on {manifest['provider']}, {_threads(manifest)} threads"
        f"{'' if times == 'kernel' else f', node times: {times}'}; ceilings "
        f"{arithmetic}, {ceilings.gbytes:.1f} GB/s, both bind at {ceilings.ridge:.1f} FLOPs a byte"
    )
    rows = [
        (
            row["name"],
            str(row["nodes"]),
            time_us(row["us"]),
            _cell(row["intensity"], ".2f"),
            f"{row['gflops']:.1f}",
            f"{row['gbytes']:.1f}",
            f"{row['share']:.1%}" + ("*" if row["share"] > 1 else ""),
            row["bound"],
            row["compute_type"],
        )
        for row in result.as_json()["rows"]
    ]
    columns = (result.by, "nodes", "time", "FLOPs/byte", "GFLOP/s", "GB/s", "of the roof", "bound by", "in")
    table("", columns, rows[:top], text=(result.by, "bound by", "in"))
    if len(rows) > top:
        tell(f"{len(rows) - top} more; see them with --top {len(rows)}")
    total = result.total
    if total["us"]:
        tell(
            f"\nall of it: {time_us(total['us'])}, at the roof {time_us(total['roof_us'])}, {total['share']:.1%} of "
            "the roof"
        )
    if result.by_memory_alone:
        kinds = ", ".join(f"{kind} ({time_us(us)})" for kind, us in result.by_memory_alone.items())
        tell(f"held against memory alone, for arithmetic in these number types has no ceiling: {kinds}")
    if len(result.above_roof):
        above = [
            (row["node"], row["op_type"], time_us(row["us"]), f"{row['share']:.1%}", row["explanation"], row["why"])
            for row in result.above_roof.head(top).to_dict("records")
        ]
        table(
            f"* Above the roof: {len(result.above_roof)} executed nodes, {len(result.unexplained)} unexplained",
            ("node", "kind", "time", "of the roof", "because", "measured"),
            above,
            text=("node", "kind", "because", "measured"),
        )
    if len(result.left_out):
        rest = [
            (row["name"], row["op_type"], time_us(row["us"]), row["why"])
            for row in result.left_out.head(top).to_dict("records")
        ]
        table(
            f"Left out: {len(result.left_out)} nodes of unknown cost, {time_us(total['left_out_us'])}",
            ("node", "kind", "time", "why"),
            rest,
            text=("node", "kind", "why"),
        )


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
