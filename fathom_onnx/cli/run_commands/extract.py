"""``fathom-onnx extract``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell
from fathom_onnx.errors import UsageError

__all__ = ["command"]


@click.command("extract")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("node")
@click.option("--layer", is_flag=True, help="NODE is a layer: cut out all of its nodes.")
@click.option("--original", is_flag=True, help="NODE is a node of the graph, though an executed one has its name too.")
@click.option("--graph", type=click.Path(path_type=Path), help="The run's graph, if it was moved.")
@click.option("--no-run", is_flag=True, help="Write the graph and do not time it.")
@options.custom_ops_option
@options.measuring_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@options.json_option
def command(
    run: Path,
    node: str,
    layer: bool,
    original: bool,
    graph: Path | None,
    no_run: bool,
    custom_ops: tuple[Path, ...],
    warmup: int,
    steps: int,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Write a node of RUN as a graph of its own, with its recorded shapes, and set its time alone beside that in RUN.

    NODE is an executed or an original node, as nodes.csv and originals.csv of the run folder name them, or a layer.
    """
    from fathom_onnx.analysis.runs import Run
    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.extraction import cut, find_subject, time_alone, time_in_run
    from fathom_onnx.extraction.alone import settings_of
    from fathom_onnx.graph.files import write_bytes

    if layer and original:
        raise UsageError("a name cannot be that of a layer and of a node", "give --layer or --original")
    loaded = Run.load(run)
    subject = find_subject(run, loaded, node, "layer" if layer else "original" if original else None, graph)
    if graph is not None and output.exists() and output.samefile(graph):
        raise UsageError(f"the node would replace the graph '{graph}'", "choose another file with -o")
    settings = None if no_run else settings_of(loaded, subject, custom_ops)
    part = cut(subject, seed)
    write_bytes(output, part.model.SerializeToString())
    facts: dict[str, Any] = {
        "schema": "fathom-onnx/extract/1",
        "run": str(run),
        "node": node,
        "kind": subject.kind,
        "file": str(output),
        "op_types": [n.op_type for n in subject.nodes],
        "inputs": {name: list(shape) for name, shape in part.inputs.items()},
        "constants": {name: list(shape) for name, shape in part.constants.items()},
        "drawn": list(part.drawn),
        "in_run": asdict(time_in_run(loaded, subject)),
        "alone": None,
        "alone_nodes": [],
    }
    if settings is not None:
        with progress() as (say, _):
            timing, alone = time_alone(
                output,
                settings,
                warmup=warmup,
                steps=steps,
                seed=seed,
                progress=lambda text, done, total: say(f"{text} {done} of {total}"),
            )
        facts |= {"alone": asdict(timing), "alone_nodes": list(alone.nodes["op_type"])}
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    from fathom_onnx.cli.render import table, time_us

    ops = ", ".join(dict.fromkeys(facts["op_types"]))
    what = {"executed": "executed node", "original": "node of the graph", "layer": "layer"}[facts["kind"]]
    tell(f"{facts['file']}: {what} '{facts['node']}' ({ops})")
    for title, shapes in (("input", facts["inputs"]), ("constant", facts["constants"])):
        for name, shape in shapes.items():
            drawn = ", values drawn" if name in facts["drawn"] else ""
            tell(f"  {title} {name} {shape}{drawn}")
    rows = [
        (title, time_us(t["us"]), f"{time_us(t['q1_us'])} to {time_us(t['q3_us'])}", str(t["steps"]), f"{t['calls']:g}")
        for title, t in (("in the run", facts["in_run"]), ("alone", facts["alone"]))
        if t is not None
    ]
    columns = ("", "median", "middle half", "steps", "calls in a step")
    table("Time of one execution", columns, rows, text=("",))
    if facts["alone"] and facts["in_run"]["us"]:
        tell(f"\nalone it takes {facts['alone']['us'] / facts['in_run']['us']:.2f} times its time in the run")
    if facts["alone"] and len(facts["alone_nodes"]) != len(facts["op_types"]):
        tell(f"alone it ran as {', '.join(facts['alone_nodes'])}")
