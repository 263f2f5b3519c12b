"""``fathom-onnx overlay``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError

if TYPE_CHECKING:
    import onnx

    from fathom_onnx.analysis.overlays import GraphTimes, NodeTime

__all__ = ["command"]

_VIEWERS = ("netron", "model-explorer", "perfetto")
_PLACES = ("names", "metadata", "attachment")


@click.command("overlay")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("graph", type=click.Path(path_type=Path), required=False, metavar="[GRAPH.onnx]")
@click.option("--to", "viewer", type=click.Choice(_VIEWERS), required=True, help="The viewer that shows it.")
@click.option(
    "--in",
    "place",
    type=click.Choice(_PLACES),
    help="For Netron: a copy of the graph with the times in its nodes' names (the default) or metadata, or a file of"
    " times that is opened on top of the graph.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@options.json_option
def command(run: Path, graph: Path | None, viewer: str, place: str | None, output: Path, as_json: bool) -> None:
    """Put the times of RUN, a run folder that profile wrote, on the graph that it ran.

    For Netron and Model Explorer GRAPH is the file that was profiled; for Perfetto it is not needed.
    """
    from fathom_onnx.analysis.overlays import copy_timeline, coverage, graph_times, read_graph
    from fathom_onnx.analysis.runs import Run
    from fathom_onnx.cli.render import print_json

    if place is not None and viewer != "netron":
        raise UsageError(f"--in is for Netron, not for {viewer}", "leave it out")
    if viewer == "netron":
        place = place or _PLACES[0]
    if (viewer == "model-explorer" or place == "attachment") and output.suffix.lower() != ".json":
        raise UsageError(f"'{output}' is not a name that {viewer} takes for such a file", "give one that ends in .json")
    loaded = Run.load(run)
    shown: dict[str, Any] = {}
    if viewer == "perfetto":
        copy_timeline(run, output)
    elif graph is None:
        raise UsageError(f"an overlay for {viewer} needs the graph", "give the .onnx file that was profiled after RUN")
    else:
        model = read_graph(graph, loaded)
        if output.exists() and output.samefile(graph):
            raise UsageError(f"the overlay would replace the graph '{graph}'", "choose another file with -o")
        times = graph_times(loaded, model)
        hidden = _write(model, times, viewer, place, graph, output)
        shown = asdict(coverage(loaded, times.nodes, hidden))
    if as_json:
        facts = {"run": str(run), "to": viewer, "in": place, "file": str(output), "size_bytes": output.stat().st_size}
        print_json({"schema": "fathom-onnx/overlay/1", **facts, "shown": shown or None})
    else:
        tell(f"{output}  {_sentence(shown)}" if shown else f"{output}")


def _write(
    model: onnx.ModelProto, times: GraphTimes, viewer: str, place: str | None, graph: Path, output: Path
) -> Sequence[NodeTime]:
    """Write the overlay and return the nodes that it cannot show."""
    import orjson

    from fathom_onnx.analysis.overlays import attachment, describe_nodes, name_nodes, node_data, write_copy
    from fathom_onnx.graph.files import write_bytes

    in_functions = [time for part in times.functions for time in part]
    if place in ("names", "metadata"):
        (name_nodes if place == "names" else describe_nodes)(model, (*times.nodes, *in_functions))
        write_copy(model, graph, output)
        return ()
    content, hidden = (
        attachment(times.nodes, in_functions) if viewer == "netron" else node_data(model, times.nodes, times.functions)
    )
    write_bytes(output, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    return hidden


def _sentence(shown: dict[str, Any]) -> str:
    """What the overlay shows, as one line of text."""
    parts = [f"{shown['ran']} of {shown['nodes']} nodes ran"]
    parts += [f"{shown[state]} {state}" for state in ("folded", "merged", "unknown", "hidden") if shown[state]]
    if shown["shown_share"] is not None:
        parts.append(f"{shown['shown_share']:.1%} of the node time shown")
        parts += [f"{shown[f'{k}_share']:.1%} {k}" for k in ("charged", "unattributed") if shown[f"{k}_share"]]
    return ", ".join(parts)
