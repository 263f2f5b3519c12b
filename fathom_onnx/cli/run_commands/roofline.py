"""``fathom-onnx roofline``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import options
from fathom_onnx.errors import UsageError

if TYPE_CHECKING:
    from fathom_onnx.analysis.runs import Roofline
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
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.svg", help="Draw it into a file.")
@options.json_option
def command(run: Path, by: str, path: Path | None, measure: bool, top: int, plot: Path | None, as_json: bool) -> None:
    """Set a profiled run against what its machine can do: the share of the roof that each op, layer or node reaches.

    RUN is a folder that 'profile -o' wrote. Without --ceilings they are measured, with the run's provider and threads
    and, on CUDA, with TensorFloat-32 as in the run.
    """
    from fathom_onnx.analysis.paper.provider_comparison import OF_THE_WORK, node_times
    from fathom_onnx.analysis.report.roofline_figure import roofline_svg
    from fathom_onnx.analysis.runs import Run
    from fathom_onnx.analysis.runs.roofline import roofline
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.graph.files import write_text
    from fathom_onnx.runtime.ceilings import read_ceilings

    if path is not None and measure:
        raise UsageError("ceilings cannot be both read and measured", "give --ceilings or --measure")
    loaded = Run.load(run)
    times = node_times(loaded.manifest, loaded.manifest["provider"])
    if times not in OF_THE_WORK:
        raise UsageError(
            f"the node times of run '{run}' are "
            + ("not told" if times == "unknown" else "those of launching kernels, not of running them"),
            "profile with a provider whose kernels are timed",
        )
    ceilings = read_ceilings(path) if path is not None else _measured(loaded.manifest, measure)
    _check_same(ceilings, loaded.manifest)
    if ceilings.facts["threads"] != loaded.manifest["threads"]:
        click.echo(
            f"note: the run has threads {loaded.manifest['threads']}, the ceilings {ceilings.facts['threads']}",
            err=True,
        )
    result = roofline(loaded.originals, loaded.attribution, ceilings.gflops, ceilings.gbytes, by)
    if plot is not None:
        write_text(plot, roofline_svg(result, str(loaded.manifest["graph"])))
        click.echo(f"drawing: {plot}", err=True)
    if as_json:
        facts = {"run": str(run), "graph": loaded.manifest["graph"], "node_times": times}
        print_json({**facts, **result.as_json(), "ceilings": ceilings.facts})
    else:
        _print(result, ceilings, loaded.manifest, times, top)


def _check_same(ceilings: Ceilings, manifest: dict[str, Any]) -> None:
    """Refuse ceilings that were not measured with the provider and precision of the run.

    Raises:
        UsageError: The provider or the use of TensorFloat-32 differs.
    """
    tf32 = manifest.get("tf32")
    for fact, of_ceilings, of_run in (
        ("provider", ceilings.facts["provider"], manifest["provider"]),
        ("TensorFloat-32", _on_off(ceilings.facts["tf32"]), _on_off(tf32)),
    ):
        if of_ceilings != of_run:
            fix = "measure with 'ceilings --ep " + str(manifest["provider"]) + (" --tf32'" if tf32 else "'")
            raise UsageError(f"the ceilings are of {fact} {of_ceilings}, the run of {of_run}", fix)


def _on_off(tf32: bool | None) -> str:
    return "unknown" if tf32 is None else "on" if tf32 else "off"


def _measured(manifest: dict[str, Any], anyway: bool) -> Ceilings:
    """Measure ceilings with the settings of a run.

    Raises:
        UsageError: The run is from another machine, and ``anyway`` is not set.
    """
    from fathom_onnx.cli.render import progress
    from fathom_onnx.runtime.ceilings import measure_ceilings
    from fathom_onnx.runtime.environment import cpu_model
    from fathom_onnx.runtime.providers.gpu import gpu_facts
    from fathom_onnx.runtime.settings import SessionSettings

    if manifest["provider"] == "cpu":
        run_device, this_device = manifest["cpu"], cpu_model()
    else:
        run_device, this_device = (str((facts or {}).get("name") or "") for facts in (manifest.get("gpu"), gpu_facts()))
    if (run_device != this_device or not run_device) and not anyway:
        raise UsageError(
            f"the run is from another machine ({run_device or 'unknown'}, this is {this_device or 'unknown'})",
            "give that machine's --ceilings FILE, or --measure to measure here anyway",
        )
    with progress() as (say, _):
        say("measuring the ceilings")
        settings = SessionSettings(manifest["provider"], manifest["threads"], tf32=bool(manifest.get("tf32")))
        return measure_ceilings(settings)


def _print(result: Roofline, ceilings: Ceilings, manifest: dict[str, Any], times: str, top: int) -> None:
    from fathom_onnx.cli.render import table, time_us

    click.echo(
        f"{manifest['graph']} on {manifest['provider']}, {manifest['threads']} threads"
        f"{'' if times == 'kernel' else f', node times: {times}'}; ceilings "
        f"{ceilings.gflops:.1f} GFLOP/s, {ceilings.gbytes:.1f} GB/s, both bind at {ceilings.ridge:.1f} FLOPs a byte"
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
        )
        for row in result.as_json()["rows"]
    ]
    columns = (result.by, "nodes", "time", "FLOPs/byte", "GFLOP/s", "GB/s", "of the roof", "bound by")
    table("", columns, rows[:top], text=(result.by, "bound by"))
    if len(rows) > top:
        click.echo(f"{len(rows) - top} more; see them with --top {len(rows)}")
    total = result.total
    if total["us"]:
        click.echo(
            f"\nall of it: {time_us(total['us'])}, at the roof {time_us(total['roof_us'])}, {total['share']:.1%} of "
            "the roof"
        )
    if any(row["share"] > 1 for row in result.as_json()["rows"]):
        click.echo("* above 1: less moved than was counted: tensors stayed in a cache or inside a fused node")
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
