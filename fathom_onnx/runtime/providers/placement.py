"""Placement: on which provider nodes run, and which may stay on the CPU when a device was requested.

onnxruntime puts on the CPU what the device has no kernel for, and on purpose also the arithmetic of shapes, whose
results the host needs. So a node elsewhere is *shape arithmetic*, which is listed, where no number of the model's data
goes through it: all that it gives are integers, booleans or text, and so is all that it takes, or it only asks for a
shape (``Shape``, ``Size``). Any other node is *compute*, which is refused unless it is allowed; so is a node of which
the types are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import orjson

from fathom_onnx.errors import RunError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.events import read_lines
from fathom_onnx.runtime.traces.steps import StepTimes

from .names import PROVIDERS

__all__ = [
    "MEMCPY",
    "Copy",
    "Elsewhere",
    "NodeFacts",
    "Placement",
    "assigned_elsewhere",
    "is_shape_arithmetic",
    "node_facts",
    "placement",
    "refuse_compute",
]

MEMCPY: dict[str, str] = {"MemcpyToHost": "to the host", "MemcpyFromHost": "to the device"}
"""Copies that onnxruntime puts between nodes on different devices, and where they go."""

_FLOATING = re.compile(r"^(tensor\()?(float|double|bfloat|complex)")
_ASK_FOR_SHAPES = frozenset({"Shape", "Size"})
_SUFFIX = "_kernel_time"
_SHOWN = 3


@dataclass(frozen=True)
class Elsewhere:
    """A node that runs on another provider than the one asked for.

    Attributes:
        node: Its name, or its op type where it has none.
        op_type: Its op type.
        provider: onnxruntime's name of where it runs.
        compute: Whether it is more than shape arithmetic; also where that is not known.
        us: Its time in a step, or None where it was not measured.
    """

    node: str
    op_type: str
    provider: str
    compute: bool
    us: float | None = None


@dataclass(frozen=True)
class Copy:
    """A copy between the devices.

    Attributes:
        node: Its name.
        direction: Where to.
        size_bytes: Bytes that it copies each time, or None where the trace does not say.
        calls: Times a step.
        us: Its time in a step.
    """

    node: str
    direction: str
    size_bytes: int | None
    calls: float
    us: float


@dataclass(frozen=True)
class Placement:
    """Where the node time of a run went.

    Attributes:
        shares: Provider, by onnxruntime's name, to its share of the node time; empty where there is no time.
        elsewhere: Nodes that did not run where they were asked to, the longest first.
        copies: Copies between the devices, the longest first.
    """

    shares: Mapping[str, float]
    elsewhere: tuple[Elsewhere, ...]
    copies: tuple[Copy, ...]

    def facts(self) -> dict[str, Any]:
        """What a run's manifest says of it."""
        return {
            "node_shares": dict(self.shares),
            "elsewhere": [asdict(node) for node in self.elsewhere],
            "device_copies": [asdict(copy) for copy in self.copies],
        }


@dataclass(frozen=True)
class NodeFacts:
    """What a trace says of a node: element types in and out, bytes out."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_bytes: int | None


def is_shape_arithmetic(op_type: str, inputs: Iterable[str], outputs: Sequence[str]) -> bool:
    """Whether a node with these element types only works on shapes.

    Args:
        op_type: Its op type.
        inputs: Element types of what it takes, as onnx or numpy call them; an empty one is unknown.
        outputs: The same of what it gives.
    """
    if not outputs or any(not kind or _FLOATING.match(kind) for kind in outputs):
        return False
    return op_type in _ASK_FOR_SHAPES or all(kind and not _FLOATING.match(kind) for kind in inputs)


def assigned_elsewhere(session: Any, model: onnx.ModelProto, ep: str) -> list[Elsewhere]:
    """The nodes that a session put elsewhere, by its own report of the assignment.

    Args:
        session: A session with ``session.record_ep_graph_assignment_info``.
        model: The model it was built from, which knows the types.
        ep: The provider asked for.
    """
    wanted = PROVIDERS[ep].full_name
    graph = Graph(model, "")
    nodes = {entry.node.name: entry.node for entry in numbered(model.graph)}

    def kinds(names: Iterable[str]) -> list[str]:
        tensors = (graph.tensors.get(name) for name in names if name)
        return [tensor.dtype if tensor else "" for tensor in tensors]

    away = []
    for part in session.get_provider_graph_assignment_info():
        if part.ep_name == wanted:
            continue
        for entry in part.get_nodes():
            node = nodes.get(entry.name) if entry.name else None
            shape = (
                node is not None
                and node.op_type == entry.op_type
                and is_shape_arithmetic(entry.op_type, kinds(node.input), kinds(node.output))
            )
            away.append(Elsewhere(entry.name or entry.op_type, entry.op_type, part.ep_name, not shape))
    return away


def refuse_compute(elsewhere: Sequence[Elsewhere], ep: str) -> None:
    """Refuse what is more than shape arithmetic and does not run where it was asked to.

    Raises:
        RunError: There is such a node; the message names the first ones.
    """
    away = [node for node in elsewhere if node.compute]
    if not away:
        return
    shown = ", ".join(f"'{node.node}' ({node.op_type}) on {node.provider}" for node in away[:_SHOWN])
    more = f" and {len(away) - _SHOWN} more" if len(away) > _SHOWN else ""
    count = f"{len(away)} node{'s' if len(away) > 1 else ''} would not run on '{ep}'"
    raise RunError(f"{count}: {shown}{more}", "allow it with --allow-fallback")


def node_facts(trace: Path, names: Iterable[str]) -> dict[str, NodeFacts]:
    """What a trace says of some nodes, from the first execution of each.

    Args:
        trace: The trace.
        names: Names of the nodes in it.

    Raises:
        RunError: The trace is missing or cut short.
    """
    pending = {f'"{name}{_SUFFIX}"'.encode(): name for name in names}
    facts: dict[str, NodeFacts] = {}
    if not pending:
        return facts
    for line in read_lines(trace):
        key = next((key for key in pending if key in line), None)
        if key is None:
            continue
        arguments = orjson.loads(line).get("args", {})
        size = str(arguments.get("output_size", ""))
        facts[pending.pop(key)] = NodeFacts(
            _kinds(arguments.get("input_type_shape")),
            _kinds(arguments.get("output_type_shape")),
            int(size) if size.isdecimal() else None,
        )
        if not pending:
            break
    return facts


def _kinds(entries: Any) -> tuple[str, ...]:
    """Element types of ``[{"float": [2, 3]}, ...]``."""
    return tuple(kind for entry in entries or () for kind in entry)


def placement(times: StepTimes, optimized: onnx.ModelProto, ep: str, trace: Path) -> Placement:
    """Where the node time of a profile went.

    A node whose name is not ours, such as a copy that onnxruntime put in when it loaded the model, goes by its own.

    Args:
        times: Times of the steps.
        optimized: The model as it was run, nodes under their names before renaming.
        ep: The provider asked for.
        trace: The trace of the first session.

    Raises:
        RunError: The trace is missing or cut short.
    """
    wanted = PROVIDERS[ep].full_name
    steps, total = len(times.run_us), float(times.self_us.sum())
    own = {executed_name(e.index): e.node.name or e.node.op_type for e in numbered(optimized.graph)}
    sums: dict[str, float] = {}
    for column, provider in enumerate(times.providers):
        sums[provider] = sums.get(provider, 0.0) + float(times.self_us[:, column].sum())
    away = [i for i, provider in enumerate(times.providers) if provider != wanted]
    copied = [i for i, kind in enumerate(times.op_types) if kind in MEMCPY]
    facts = node_facts(trace, [times.names[i] for i in {*away, *copied}])
    elsewhere = []
    for i in away:
        name, kind = times.names[i], times.op_types[i]
        known = facts.get(name)
        shape = known is not None and is_shape_arithmetic(kind, known.inputs, known.outputs)
        us = float(times.self_us[:, i].sum()) / steps
        elsewhere.append(Elsewhere(own.get(name, name), kind, times.providers[i], not shape, us))
    copies = []
    for i in copied:
        name, kind = times.names[i], times.op_types[i]
        size = facts[name].output_bytes if name in facts else None
        calls, us = (float(table[:, i].sum()) / steps for table in (times.calls, times.self_us))
        copies.append(Copy(own.get(name, name), MEMCPY[kind], size, calls, us))
    return Placement(
        {provider: us / total for provider, us in sorted(sums.items(), key=lambda item: -item[1])} if total else {},
        tuple(sorted(elsewhere, key=lambda node: -(node.us or 0.0))),
        tuple(sorted(copies, key=lambda copy: -copy.us)),
    )
