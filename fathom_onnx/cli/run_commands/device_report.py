"""What ``profile`` prints of a device: its time, what ran longest on it, and what the times of nodes are."""

from __future__ import annotations

from typing import Any

from fathom_onnx.cli.lines import tell
from fathom_onnx.cli.render import table, time_us

__all__ = ["NODE_TIMES", "print_device", "print_kernels"]

NODE_TIMES = {
    "device": "of the kernels, copies and sets that a node launched, on the device",
    "serialized": "of the host while each launch waits for its kernel (serialized): launching is in them",
    "host": "of the host: of a provider that works on a device of its own, they are those of launching",
}
"""What is said of times that are not those of a node's own work on the CPU."""


def print_device(found: dict[str, Any]) -> None:
    """What the device did in a step, and how it was matched with the nodes."""
    rows = [
        ("span", "span_us", "from the first work to the end of the last"),
        ("  busy", "busy_us", ""),
        ("  idle", "idle_us", ""),
        ("kernels", "kernel_us", f"{found['kernels']:g} kernels by {found['launches']:g} launching calls"),
        ("copies", "copy_us", f"{found['copies']:g} copies"),
        ("sets", "set_us", f"{found['sets']:g} sets"),
        ("at once on several streams", "overlap_us", ""),
        ("launched by nodes", "attributed_us", f"{found['ambiguous_launches']:g} calls at a border between nodes"),
        ("launched outside nodes", "outside_nodes_us", f"{time_us(found['unlinked_us'])} by no recorded call"),
        ("run on the host", "host_run_us", "by onnxruntime's trace"),
    ]
    alone = found["unprofiled"]
    body = [(title, time_us(found[key]), note) for title, key, note in rows]
    table(f"Device ({found['source']})", ("", "median", "note"), body, text=("", "note"))
    tell(
        f"without onnxruntime's profiler: span {time_us(alone['span_us'])}, busy {time_us(alone['busy_us'])}, idle "
        f"{time_us(alone['idle_us'])}; recording adds {time_us(alone['recording_overhead_us'])} to a step"
    )
    tell(
        f"clocks of host and device agree within {found['clock_error_us']:.3g} us; "
        f"{found['invalid_records']} records without possible times were left out"
    )


def print_kernels(rows: list[dict[str, Any]]) -> None:
    """What ran longest on the device, for whatever nodes."""
    body = [(g["name"], time_us(g["us"]), f"{g['share']:.1%}", f"{g['calls']:g}", str(g["nodes"])) for g in rows]
    table("By kernel", ("kernel", "median", "share", "calls", "nodes"), body, text=("kernel",))
