"""``fathom-onnx inspect``."""

from __future__ import annotations

from typing import Any

import click

from fathom_onnx.cli import options
from fathom_onnx.cli.lines import tell

__all__ = ["command"]

_GROUPS = ("phase", "class", "op", "layer", "node")


@click.command("inspect")
@click.argument("target", metavar="GRAPH.onnx")
@click.option("--by", type=click.Choice(_GROUPS), help="One table of costs, in full, instead of the overview.")
@options.dimension_option("dims")
@click.option("--top", type=click.IntRange(min=1), default=12, show_default=True, help="Rows of the longer tables.")
@options.json_option
def command(target: str, by: str | None, dims: tuple[str, ...], top: int, as_json: bool) -> None:
    """Show what a graph is and what it costs, without running it.

    Inputs and outputs, multiply-accumulates, FLOPs, bytes and parameters by phase, class, op and layer, the memory of a
    step, control flow and functions, and what is not understood. Weights are not read: files of external data need not
    be there.
    """
    from fathom_onnx.analysis.cost.inspection import inspect
    from fathom_onnx.cli.render import print_json
    from fathom_onnx.graph import load_structure

    found = inspect(load_structure(target, options.dimension_sizes(dims)))
    summary = found.summary()
    if as_json:
        kept = {"by_" + group for group in _GROUPS} - {f"by_{by}"} if by else {"by_node"}
        print_json({key: value for key, value in summary.items() if key not in kept})
    elif by:
        _costs(summary, by, None)
    else:
        _overview(summary, top)


def _overview(s: dict[str, Any], top: int) -> None:
    from fathom_onnx.cli.render import size, table

    told = [str(s[key]) for key in ("graph", "mode", "framework", "preset") if s[key]]
    opsets = ", ".join(f"{domain} {version}" for domain, version in s["opset"].items())
    tell(f"{' '.join(told)}; opset {opsets}; IR {s['ir_version']}; {s['producer'] or 'producer not named'}")
    for what in ("inputs", "outputs"):
        rows = [(v["name"], v["dtype"], _shape(v["shape"])) for v in s[what]]
        if len(rows) > top:
            rows = [*rows[:top], (f"{len(rows) - top} more", "", "")]
        table(what.capitalize(), ("name", "type", "shape"), rows, text=("name", "type", "shape"))
    whole = s["totals"]
    tell(
        f"\n{whole['nodes']} nodes, {s['initializers']} initializers, {whole['parameters']:,} parameters; "
        f"{_told(whole, 'macs', 'MACs')}{_definition(whole)}, {_told(whole, 'flops', 'FLOPs')}, "
        f"{_told(whole, 'bytes', 'bytes')} a step"
    )
    for group in ("phase", "class", "op", "layer"):
        _costs(s, group, None if group in ("phase", "class") else top)
    memory = s["memory"]
    least = "" if memory["complete"] else "at least "
    rows = [
        ("tensors alive at once, at most", least + size(memory["peak_bytes"]), memory["peak_node"]),
        ("parameters and constants", size(memory["parameters_bytes"]), ""),
        ("state", size(memory["state_bytes"]), ""),
        ("new values of parameters and state", size(memory["next_state_bytes"]), ""),
        ("kept from forward for backward", size(memory["kept_bytes"]), ""),
    ]
    table("Memory", ("", "size", "at node"), rows, text=("", "at node"))
    _bodies(s)
    _not_understood(s["not_understood"], top)


def _shape(shape: list[Any] | None) -> str:
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"


def _number(value: float) -> str:
    """A count for people."""
    for unit, name in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.2f}{name}"
    return str(int(value))


def _amount(group: dict[str, Any], amount: str) -> str:
    """A sum for people: what is known of it as a lower bound where a node lacks it, never 0 for what is unknown."""
    if group[amount] is not None:
        return _number(group[amount])
    known = group[f"known_{amount}"]
    return f">= {_number(known)}" if known else "unknown"


def _told(whole: dict[str, Any], amount: str, unit: str) -> str:
    """A sum in a sentence, with the number of nodes that it lacks."""
    if whole[amount] is not None:
        return f"{_number(whole[amount])} {unit}"
    lacking = whole[f"unknown_{amount}"]
    nodes = f"{lacking} node{'s' if lacking > 1 else ''} unknown"
    known = whole[f"known_{amount}"]
    return f">= {_number(known)} {unit} ({nodes})" if known else f"unknown {unit} ({nodes})"


def _differs(group: dict[str, Any]) -> bool:
    """Whether the definition has other multiply-accumulates than the nodes as they are written."""
    return group["macs"] is not None and group["macs_by_definition"] != group["macs"]


def _definition(whole: dict[str, Any]) -> str:
    """What of the multiply-accumulates is not padding."""
    return f" ({_number(whole['macs_by_definition'])} by definition)" if _differs(whole) else ""


def _costs(s: dict[str, Any], group: str, top: int | None) -> None:
    from fathom_onnx.cli.render import table
    from fathom_onnx.vocabulary import OpClass

    groups = s[f"by_{group}"]
    titles = {c.value: f"{c.value} {c.label}" for c in OpClass} if group == "class" else {}
    weight = (lambda g: -g["known_flops"]) if group not in ("phase", "node") else (lambda g: 0)
    ordered = sorted(groups, key=weight)
    differs = any(_differs(g) for g in groups)
    rows = [
        (
            titles.get(g["name"], g["name"]),
            str(g["nodes"]),
            _amount(g, "macs"),
            *((_number(g["macs_by_definition"]) if _differs(g) else "",) if differs else ()),
            _amount(g, "flops"),
            _amount(g, "bytes"),
            f"{g['parameters']:,}",
            "?" if g["intensity"] is None else f"{g['intensity']:.2f}",
            str(g["unknown"] or ""),
        )
        for g in (ordered[:top] if top else ordered)
    ]
    definition = ("by definition",) if differs else ()
    columns = (group, "nodes", "MACs", *definition, "FLOPs", "bytes", "parameters", "FLOPs/byte", "unknown")
    table(f"By {group}", columns, rows, text=(group,))
    if len(rows) < len(ordered):
        tell(f"{len(ordered) - len(rows)} more; see all with --by {group}")


def _bodies(s: dict[str, Any]) -> None:
    from fathom_onnx.cli.render import table

    if s["control_flow"]:
        rows = [
            (b["node"], b["body"], str(b["nodes"]), "?" if b["executions"] is None else str(b["executions"]), b["why"])
            for b in s["control_flow"]
        ]
        columns = ("node", "body", "nodes", "runs a step", "why not known")
        table("Control flow", columns, rows, text=("node", "body", "why not known"))
    if s["functions"]:
        called = [(f["name"], str(f["nodes"]), str(f["calls"])) for f in s["functions"]]
        table("Functions", ("function", "nodes", "calls"), called, text=("function",))


def _not_understood(s: dict[str, Any], top: int) -> None:
    from fathom_onnx.cli.render import table
    from fathom_onnx.graph.dimensions import asked_names, command_line

    rows = [("op in no table", op, str(nodes), "") for op, nodes in s["unlisted_ops"].items()]
    rows += [("cost unknown", u["reason"], str(u["nodes"]), u["first"]) for u in s["unknown_costs"][:top]]
    left = len(s["unknown_costs"]) - top
    rows += [("cost unknown", f"{left} more reasons", "", "")] if left > 0 else []
    shapes = s["unknown_shapes"]
    if shapes["tensors"]:
        rows.append(("size unknown", "tensors", str(shapes["tensors"]), shapes["first"][0]))
    rows += [
        (
            "dynamic dimension",
            f"give it with {command_line(asked_names([d['dim']]))}",
            "",
            f"{d['input']}, axis {d['axis']}",
        )
        for d in s["dynamic_dimensions"]
    ]
    if rows:
        columns = ("what", "which", "number", "first")
        table("Not understood", columns, rows, text=("what", "which", "first"))
    else:
        tell("\nEvery operator, shape and cost is understood.")
