"""``fathom-onnx profile``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fathom_onnx.cli import options
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph

from .native_profile import ONNXRUNTIME, profile_by_framework, runtime_option

__all__ = ["command"]


@click.command("profile")
@click.argument("target", metavar="GRAPH.onnx|WORKLOAD")
@options.framework_option("torch")
@runtime_option
@options.mode_option("training")
@options.configuration_options("paper")
@options.session_options
@options.measuring_options
@options.dimension_option("dims")
@options.inputs_option
@click.option("--keep-dynamic", is_flag=True, help="Time the graph with its open dimensions open, --dim only feeds it.")
@options.custom_ops_option
@click.option("--allow-fallback", is_flag=True, help="Let nodes run on the CPU that the provider cannot take.")
@options.tf32_option
@options.serialize_option
@click.option("--top", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of the longer tables.")
@options.output_option(None, "Run folder to write: tables, manifest, raw trace, timeline.")
@options.json_option
def command(
    target: str,
    framework: str,
    runtime: str,
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
    custom_ops: tuple[Path, ...],
    allow_fallback: bool,
    tf32: bool,
    serialize: bool,
    top: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run a graph in onnxruntime and show where its time goes, by phase, class, op and layer.

    TARGET is an .onnx file, of ours or any other, or a workload, which is exported first. The step is timed without the
    profiler as well; each executed node is mapped back to the nodes of the graph through onnxruntime's fusions. With
    --runtime a workload's step runs in its framework instead, and its operations are shown in the same terms.
    On CUDA the times of nodes are the device's, recorded by CUPTI.
    """
    if runtime != ONNXRUNTIME:
        profile_by_framework(click.get_current_context())
        return
    from fathom_onnx.cli.render import print_json, progress
    from fathom_onnx.data import load_with_inputs, read_inputs
    from fathom_onnx.profiling import profile_graph
    from fathom_onnx.runtime.environment import cpu_cores
    from fathom_onnx.runtime.settings import SessionSettings

    if target.endswith(".onnx") or Path(target).exists():
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
            progress=lambda text, done, total: say(f"{text} {done} of {total}"),
        )
    summary = run.summary()
    if as_json:
        print_json(summary)
    else:
        _print(summary, top)
    click.echo(f"run folder: {output}" if output else "nothing kept; give -o FOLDER to keep the run", err=True)


def _exported(
    name: str, framework: str, mode: str, preset: str, batch: int | None, changes: tuple[str, ...], ep: str
) -> Graph:
    from fathom_onnx.exporting import ExportRequest, find_exporter, purpose_for
    from fathom_onnx.graph import from_model

    (workload,) = options.chosen_workloads([name], preset, batch, changes)
    frameworks, modes = options.chosen_frameworks(framework), options.chosen_modes(mode)
    if len(frameworks) > 1 or len(modes) > 1:
        raise UsageError("profile runs one graph", "name one framework and one mode; 'study' runs them all")
    request = ExportRequest(workload, modes[0], purpose=purpose_for(ep))
    return from_model(find_exporter(frameworks[0]).export(request), workload.name)


def _input_lines(inputs: dict[str, str]) -> list[str]:
    """Where the values of the inputs are from; those of which the same is said stand together."""
    together: dict[str, list[str]] = {}
    for name, said in inputs.items():
        together.setdefault(said, []).append(name)
    lines = []
    for said, names in together.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lines.append(f"  {shown}: {said}")
    return ["inputs:", *lines] if lines else []


def _dynamic_line(dynamic: dict[str, Any]) -> str:
    """What sizes the open dimensions had, and what that changed."""
    sizes = ", ".join(f"{label} = {size}" for label, size in dynamic["sizes"].items())
    if dynamic["kept_open"]:
        return f"dimensions: {sizes}, fed to the graph with these open"
    left_out = dynamic["only_when_open"]
    if left_out is None:
        return f"dimensions: {sizes}, fixed; not compared with the open graph, whose weights are large"
    if not left_out:
        return f"dimensions: {sizes}, fixed; onnxruntime would run the same nodes with these open"
    nodes = ", ".join(f"{count} {op}" for op, count in left_out.items())
    return f"dimensions: {sizes}, fixed; with these open onnxruntime would also run {nodes} (--keep-dynamic times that)"


def _print(summary: dict[str, Any], top: int) -> None:
    from fathom_onnx.cli.render import table, time_us
    from fathom_onnx.vocabulary import OpClass

    from .device_report import NODE_TIMES, print_device, print_kernels

    s = summary
    told = [str(s[key]) for key in ("graph", "mode", "framework", "preset") if s[key]]
    click.echo(f"{' '.join(told)} on {s['provider']}, {s['threads']} threads, optimization {s['optimization']}")
    data = s["data"]
    fed = data["description"] if data["kind"] == "given" else f"{data['source']} ({data['kind']})"
    click.echo(f"data: {fed}; {s['steps']} steps after {s['warmup']} of warm-up")
    for line in _input_lines(data.get("inputs") or {}):
        click.echo(line)
    if s["dynamic"]:
        click.echo(_dynamic_line(s["dynamic"]))
    if s["node_times"] in NODE_TIMES:
        click.echo(f"times of nodes: {NODE_TIMES[s['node_times']]}")
    total, serialized = s["run_time_us"], ", serialized" if s["node_times"] == "serialized" else ""
    on_device = s["device_time"] is not None
    rows = [
        (f"step, unprofiled{serialized}", s["control_us"], ""),
        (f"step, profiled{serialized}", s["step_us"], f"profiling adds {time_us(s['profiling_overhead_us'])}"),
        ("run on the device" if on_device else "run inside onnxruntime", total, ""),
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
    if on_device:
        print_device(s["device_time"])
    _print_trust(s)
    _print_placement(s, top)
    if s["memory"]:
        _print_memory(s["memory"])
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
    if s["by_kernel"]:
        print_kernels(s["by_kernel"][:top])
    if s["control_flow"]:
        _print_control(s["control_flow"][:top])
    if s["unattributed"]:
        body = [(g["node"], g["op_type"], g["reason"], time_us(g["us"])) for g in s["unattributed"][:top]]
        table("Unattributed", ("node", "kind", "reason", "median"), body, text=("node", "kind", "reason"))


def _print_control(rows: list[dict[str, Any]]) -> None:
    """Control flow: time with and without the bodies, and how often these ran."""
    from fathom_onnx.cli.render import table, time_us

    body = [
        (
            "  " * row["depth"] + row["node"],
            time_us(row["inclusive_us"]),
            time_us(row["exclusive_us"]),
            f"{row['calls']:g}",
            ", ".join(f"{name} {count:g}" for name, count in row["iterations"].items()),
        )
        for row in rows
    ]
    columns = ("control flow", "with its bodies", "alone", "calls", "iterations in a step")
    table("Control flow (time with bodies counts inner nodes again)", columns, body, text=(columns[0], columns[-1]))


def _print_trust(summary: dict[str, Any]) -> None:
    """What the times can bear: dropped steps, trends, the profiler's own cost."""
    from fathom_onnx.cli.render import time_us

    found = summary["statistics"]
    click.echo("")
    dropped = [(found["dropped_steps"], "profiled"), (found["dropped_control_steps"], "unprofiled")]
    told = " and ".join(f"{count} {kind}" for count, kind in dropped if count)
    if told:
        click.echo(f"warm-up: {told} steps more than asked for were not steady yet and are not counted")
    if not found["settled"]:
        click.echo(f"warm-up: not certain to be over: {found['settled_reason'] or 'it was not looked for'}")
    if found["step_drift"] is None:
        click.echo("trend: unknown, the steps are too few")
    else:
        moved = found["step_drift"]
        step = f"the step changed by {moved:+.1%} over the run" if moved else "none in the step"
        share = found["stationary_share"]
        nodes = "" if share is None else f"; {share:.1%} of the node time in nodes without one"
        click.echo(f"trend: {step}{nodes}")
    floor = found["floor"]
    if floor:
        span = "" if floor["low_us"] is None else f" ({floor['low_us']:.1f} to {floor['high_us']:.1f})"
        below = found["below_floor_share"]
        part = "" if below is None else f", {below:.1%} of the node time,"
        click.echo(
            f"floor: profiling costs {time_us(floor['us'])}{span} a node; {found['below_floor_nodes']} nodes{part} "
            "are below it"
        )


def _print_placement(summary: dict[str, Any], top: int) -> None:
    """Where the node time went, where that is not one provider, and the copies between devices."""
    from fathom_onnx.cli.render import table, time_us

    shares = summary["node_shares"] or {}
    if summary["tf32"] is not None:
        click.echo(f"TensorFloat-32: {'allowed' if summary['tf32'] else 'off'}")
    if len(shares) > 1 or summary["provider"] != "cpu":
        told = ", ".join(f"{share:.1%} on {name}" for name, share in shares.items())
        click.echo(f"node time: {told or 'none'}")
    if summary["elsewhere"]:
        kinds = {True: "compute", False: "shapes"}
        rows = [
            (n["node"], n["op_type"], n["provider"], kinds[n["compute"]], time_us(n["us"]))
            for n in summary["elsewhere"][:top]
        ]
        left = len(summary["elsewhere"]) - len(rows)
        title = "Nodes elsewhere" + (f" ({left} more)" if left else "")
        columns = ("node", "op", "provider", "what", "mean")
        table(title, columns, rows, text=columns[:4])
    if summary["device_copies"]:
        rows = [
            (
                c["node"],
                c["direction"],
                "unknown" if c["size_bytes"] is None else f"{c['size_bytes']:,} B",
                f"{c['calls']:g}",
                time_us(c["us"]),
            )
            for c in summary["device_copies"][:top]
        ]
        left = len(summary["device_copies"]) - len(rows)
        title = "Copies between devices" + (f" ({left} more)" if left else "")
        table(title, ("copy", "to", "bytes", "calls", "mean"), rows, text=("copy", "to"))


def _print_memory(memory: dict[str, Any]) -> None:
    """Peaks in the graph, in the optimized model and by onnxruntime's allocator."""
    from fathom_onnx.cli.render import size, table

    rows = []
    for key, title in (("graph", "tensors, graph"), ("executed", "tensors, as executed")):
        found = memory[key]
        unknown = f"; {found['unknown_tensors']} tensors of unknown size" if found["unknown_tensors"] else ""
        rows.append((f"{title}, peak", size(found["peak_bytes"]), f"at {found['peak_node']}{unknown}"))
    measured = memory["traced"]["peak_bytes"]
    rows.append(("measured, peak", "unknown" if measured is None else size(measured), "by onnxruntime's allocator"))
    graph = memory["graph"]
    rows.append(("parameters", size(graph["parameters_bytes"]), ""))
    if graph["state_bytes"] or graph["next_state_bytes"]:
        rows.append(("state", size(graph["state_bytes"]), f"new values {size(graph['next_state_bytes'])}"))
        rows.append(("kept for the backward phase", size(graph["kept_bytes"]), "made in the forward phase"))
    table("Memory", ("", "bytes", "note"), rows, text=("", "note"))
