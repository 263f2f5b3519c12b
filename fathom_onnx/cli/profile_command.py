"""``fathom-onnx profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..graph import Graph
from .options import (
    chosen_frameworks,
    chosen_modes,
    chosen_workloads,
    configuration_options,
    framework_option,
    json_option,
    mode_option,
    output_option,
    pairs,
    session_options,
)

__all__ = ["command"]


@click.command("profile")
@click.argument("target", metavar="GRAPH.onnx|WORKLOAD")
@framework_option("torch")
@mode_option("training")
@configuration_options("paper")
@session_options
@click.option("--warmup", type=click.IntRange(min=0), default=3, show_default=True, help="Steps to run and not count.")
@click.option("--steps", type=click.IntRange(min=1), default=10, show_default=True, help="Steps to count.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights and batches.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=N", help="Value of a dynamic dimension; may repeat.")
@click.option("--allow-fallback", is_flag=True, help="Let nodes run on the CPU that the provider cannot take.")
@click.option("--top", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of the longer tables.")
@output_option(None, "Run folder to write: tables, manifest, raw trace, timeline.")
@json_option
def command(
    target: str,
    framework: str,
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
    allow_fallback: bool,
    top: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run a graph in onnxruntime and show where its time goes, by phase, class, op and layer.

    TARGET is an .onnx file, of ours or any other, or a workload, which is exported first. The step is timed without the
    profiler as well; each executed node is mapped back to the nodes of the graph through onnxruntime's fusions.
    """
    from ..profiling import profile
    from .render import print_json, progress

    if target.endswith(".onnx") or Path(target).exists():
        graph = _loaded(target, dims)
    else:
        graph = _exported(target, framework, mode, preset, batch, changes)
    with progress() as (say, _):
        run = profile(
            graph,
            ep=ep,
            threads=threads,
            warmup=warmup,
            steps=steps,
            optimization=optimization,  # type: ignore[arg-type]
            seed=seed,
            allow_fallback=allow_fallback,
            folder=output,
            progress=lambda text, done, total: say(f"{text} {done} of {total}"),
        )
    summary = run.summary()
    if as_json:
        print_json(summary)
    else:
        _print(summary, top)
    click.echo(f"run folder: {output}" if output else "nothing kept; give -o FOLDER to keep the run", err=True)


def _loaded(path: str, dims: tuple[str, ...]) -> Graph:
    from ..graph import load

    values = {}
    for name, text in pairs(dims, "NAME=N").items():
        if not text.isdigit() or int(text) < 1:
            raise UsageError(f"dimension '{name}' cannot be '{text}'", "give a whole number above zero")
        values[name] = int(text)
    return load(path, values)


def _exported(name: str, framework: str, mode: str, preset: str, batch: int | None, changes: tuple[str, ...]) -> Graph:
    from ..exporting import PURPOSES, ExportRequest, find_exporter
    from ..graph import from_model

    (workload,) = chosen_workloads([name], preset, batch, changes)
    frameworks, modes = chosen_frameworks(framework), chosen_modes(mode)
    if len(frameworks) > 1 or len(modes) > 1:
        raise UsageError("profile runs one graph", "name one framework and one mode; 'study' runs them all")
    request = ExportRequest(workload, modes[0], lowering=PURPOSES["onnxruntime"])
    return from_model(find_exporter(frameworks[0]).export(request), workload.name)


def _print(summary: dict[str, Any], top: int) -> None:
    from ..vocabulary import OpClass
    from .render import table, time_us

    s = summary
    told = [str(s[key]) for key in ("graph", "mode", "framework", "preset") if s[key]]
    click.echo(f"{' '.join(told)} on {s['provider']}, {s['threads']} threads, optimization {s['optimization']}")
    click.echo(f"data: {s['data']['source']} ({s['data']['kind']}); {s['steps']} steps after {s['warmup']} of warm-up")
    total = s["run_time_us"]
    rows = [
        ("step, unprofiled", s["control_us"], ""),
        ("step, profiled", s["step_us"], f"profiling adds {time_us(s['profiling_overhead_us'])}"),
        ("run inside onnxruntime", total, ""),
        ("  in nodes", s["node_time_us"], f"{s['executed_nodes']} nodes executed"),
        (
            "    attributed",
            s["attributed_us"],
            f"of it {time_us(s['split_us'])} in fused nodes, split by modelled cost",
        ),
        ("    charged", s["charged_us"], "movement that onnxruntime inserted, charged to a neighbour"),
        ("    unattributed", s["unattributed_us"], ""),
        ("  outside nodes", s["outside_us"], ""),
    ]
    share = [f"{us / total:.1%}" if total and name.startswith(" ") else "" for name, us, _ in rows]
    cells = [(name, time_us(us), part, note) for (name, us, note), part in zip(rows, share, strict=True)]
    table("Time", ("", "median", "share", "note"), cells, text=("", "note"))
    titles = {c.value: f"{c.value} {c.label}" for c in OpClass}
    for key, title in (("by_phase", "phase"), ("by_class", "class"), ("by_op", "op"), ("by_layer", "layer")):
        groups = s[key]
        shown = groups if key in ("by_phase", "by_class") else groups[:top]
        body = [
            (titles.get(g["name"], g["name"]), time_us(g["us"]), f"{g['share']:.1%}", str(g["nodes"])) for g in shown
        ]
        if len(shown) < len(groups):
            rest = groups[len(shown) :]
            us = sum(g["us"] for g in rest)
            body.append((f"{len(rest)} more", time_us(us), f"{sum(g['share'] for g in rest):.1%}", ""))
        table(f"By {title}", (title, "median", "share", "nodes"), body, text=(title,))
    if s["unattributed"]:
        body = [(g["node"], g["op_type"], g["reason"], time_us(g["us"])) for g in s["unattributed"][:top]]
        table("Unattributed", ("node", "kind", "reason", "median"), body, text=("node", "kind", "reason"))
