"""What ``profile`` prints of a run: its time, how far to trust it, where it went."""

from __future__ import annotations

from typing import Any

from fathom_onnx.cli.lines import tell

__all__ = ["print_run"]


def print_run(summary: dict[str, Any], top: int) -> None:
    """Print a run's summary.

    Args:
        summary: The run, as :meth:`fathom_onnx.analysis.runs.Run.summary` gives it.
        top: Rows of the longer tables.
    """
    from fathom_onnx.cli.render import table, time_us
    from fathom_onnx.vocabulary import OpClass

    from .device_report import NODE_TIMES, print_device, print_kernels

    s = summary
    told = [str(s[key]) for key in ("graph", "mode", "framework", "preset") if s[key]]
    if s["trace"]:
        tell(f"{' '.join(told)} on {s['provider']}, from trace {s['trace']['file']}; nothing was run")
        _print_trace(s)
    else:
        tell(f"{' '.join(told)} on {s['provider']}, {s['threads']} threads, optimization {s['optimization']}")
    data = s["data"]
    fed = data["description"] if data["kind"] == "given" else f"{data['source']} ({data['kind']})"
    tell(f"data: {fed}; {s['steps']} steps after {s['warmup']} of warm-up")
    for line in _input_lines(data.get("inputs") or {}):
        tell(line)
    if s["dynamic"]:
        tell(_dynamic_line(s["dynamic"]))
    if s["node_times"] in NODE_TIMES:
        tell(f"times of nodes: {NODE_TIMES[s['node_times']]}")
    total, serialized = s["run_time_us"], ", serialized" if s["node_times"] == "serialized" else ""
    on_device = s["device_time"] is not None
    walls = [
        (f"step, unprofiled{serialized}", s["control_us"], ""),
        (f"step, profiled{serialized}", s["step_us"], f"profiling adds {time_us(s['profiling_overhead_us'] or 0.0)}"),
    ]
    rows = [
        *(() if s["trace"] else walls),
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


def _print_trace(summary: dict[str, Any]) -> None:
    """What a trace leaves unknown, and what would tell it."""
    trace, states = summary["trace"], summary["original_nodes"]
    unknown = states.get("unknown", 0)
    if trace["optimized"] is None:
        tell(
            "nodes are told by names, ops, indices, shapes and order"
            + (f"; of {unknown} nodes of the graph it is not known what they are in" if unknown else "")
            + ". --optimized tells them all: let the same session save its model with "
            "SessionOptions.optimized_model_filepath"
        )
    elif trace["open_groups"]:
        tell(
            f"{trace['open_groups']} groups of executed nodes could be told apart by running the model alone; each "
            "shares its nodes of the graph"
        )
    if trace["parallel"]:
        tell("nodes ran on several threads at once: their times add up to more than the run's")
    if trace["device_events"]:
        tell(f"{trace['device_events']} events of kernels on a device are not used")
    tell("not in a trace: the unprofiled step and the profiler's cost, threads, optimization level, machine")


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
    from fathom_onnx.runtime.speed.gauge import gauge_line

    found = summary["statistics"]
    tell("")
    for line in summary.get("contradictions", ()):
        tell(f"error: {line}")
    if line := gauge_line(summary):
        tell(line)
    dropped = [(found["dropped_steps"], "profiled"), (found["dropped_control_steps"], "unprofiled")]
    told = " and ".join(f"{count} {kind}" for count, kind in dropped if count)
    if told:
        tell(f"warm-up: {told} steps more than asked for were not steady yet and are not counted")
    if not found["settled"]:
        tell(f"warm-up: not certain to be over: {found['settled_reason'] or 'it was not looked for'}")
    if found["step_drift"] is None:
        tell("trend: unknown, the steps are too few")
    else:
        moved = found["step_drift"]
        step = f"the step changed by {moved:+.1%} over the run" if moved else "none in the step"
        share = found["stationary_share"]
        nodes = "" if share is None else f"; {share:.1%} of the node time in nodes without one"
        tell(f"trend: {step}{nodes}")
    floor = found["floor"]
    if floor:
        span = "" if floor["low_us"] is None else f" ({floor['low_us']:.1f} to {floor['high_us']:.1f})"
        below = found["below_floor_share"]
        part = "" if below is None else f", {below:.1%} of the node time,"
        tell(
            f"floor: profiling costs {time_us(floor['us'])}{span} a node; {found['below_floor_nodes']} nodes{part} "
            "are below it"
        )


def _print_placement(summary: dict[str, Any], top: int) -> None:
    """Where the node time went, where that is not one provider, and the copies between devices."""
    from fathom_onnx.cli.render import table, time_us

    shares = summary["node_shares"] or {}
    if summary["tf32"] is not None:
        tell(f"TensorFloat-32: {'allowed' if summary['tf32'] else 'off'}")
    if len(shares) > 1 or summary["provider"] != "cpu":
        told = ", ".join(f"{share:.1%} on {name}" for name, share in shares.items())
        tell(f"node time: {told or 'none'}")
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
