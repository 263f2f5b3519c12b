"""The memory of a profiled run: what its tensors need in either form of the graph, and what the trace shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.analysis.cost.liveness import Liveness, liveness, liveness_of, residents_of
from fathom_onnx.graph import Graph
from fathom_onnx.graph.dataflow import outputs_of, tensors_of
from fathom_onnx.graph.labels import Label, label_nodes
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.memory import TracedMemory

__all__ = ["TracedUse", "executed_liveness", "memory_facts", "traced_use"]

_NOWHERE = "unattributed"


@dataclass(frozen=True)
class TracedUse:
    """Memory by onnxruntime's allocator, bytes; None where the provider does not say.

    Attributes:
        peak_bytes: Most that was asked for and in use as a node of the first run ended, beyond what was in use before
            the first one: the step's own tensors. Workspace that a kernel frees again is not in it.
        before_bytes: In use before the first node: parameters that the allocator holds, and what is bound.
        lifetime_peak_bytes: Most that was ever handed out by the end of the second run, in whole blocks, all included.
        held_bytes: What the allocator had taken from the system by then.
        by_layer: Layer to bytes of the outputs of its nodes, each node once, in the order of execution.
    """

    peak_bytes: int | None
    before_bytes: int | None
    lifetime_peak_bytes: int | None
    held_bytes: int | None
    by_layer: dict[str, int]


def _executed_labels(attribution: Attribution) -> list[Label | None]:
    """A label for each executed node: its own name, and the phase and layer of its largest original."""
    originals = label_nodes(attribution.originals)
    found: list[Label | None] = []
    for entry, node in zip(attribution.executed, attribution.nodes, strict=True):
        main = max(node.shares, key=lambda share: share.weight, default=None)
        of = originals[main.original] if main else Label("", "", _NOWHERE, entry.node.op_type, "")
        name = entry.node.name or f"{entry.node.op_type}#{entry.index}"
        found.append(Label(name, of.phase, of.layer, of.op, of.op_class))
    return found


def _sizes(executed: onnx.ModelProto, attribution: Attribution, traced: TracedMemory) -> dict[str, int | None]:
    """Bytes of the executed tensors: by their shapes or, in a layout of onnxruntime's own, by what the trace says."""
    sizes = {name: tensor.size_bytes for name, tensor in tensors_of(executed.graph).items()}
    written = {node.name: node.output_bytes for node in traced.nodes}
    for entry in attribution.executed:
        unknown = [name for name in outputs_of(entry.node) if sizes.get(name) is None]
        whole = written.get(executed_name(entry.index))
        if len(unknown) == 1 and whole is not None:
            sizes[unknown[0]] = whole - sum(sizes.get(n) or 0 for n in outputs_of(entry.node))
    return sizes


def executed_liveness(
    graph: Graph, executed: onnx.ModelProto, attribution: Attribution, ran: Sequence[str], traced: TracedMemory
) -> Liveness:
    """The memory of a step of the optimized model, its nodes in the order in which they ran.

    Args:
        graph: The original graph, for its parameters and state.
        executed: The optimized model.
        attribution: What its nodes stand for.
        ran: Executed names in the order of execution.
        traced: Memory in the run's first trace, for sizes that the model does not tell.
    """
    top = {executed_name(entry.index): entry.index for entry in attribution.executed if entry.parent is None}
    order = [top[name] for name in dict.fromkeys(ran) if name in top]
    labels, sizes = _executed_labels(attribution), _sizes(executed, attribution, traced)
    return liveness_of(executed.graph, sizes, labels, residents_of(graph), order)


def traced_use(memory: TracedMemory, attribution: Attribution) -> TracedUse:
    """What a trace says, with the layers of its nodes."""
    layers = {
        executed_name(entry.index): label.layer if label else _NOWHERE
        for entry, label in zip(attribution.executed, _executed_labels(attribution), strict=True)
    }
    outputs: dict[str, int] = {node.name: node.output_bytes for node in reversed(memory.nodes) if node.output_bytes}
    by_layer: dict[str, int] = defaultdict(int)
    for name in dict.fromkeys(node.name for node in memory.nodes):
        by_layer[layers.get(name, _NOWHERE)] += outputs.get(name, 0)
    in_use = [node.in_use_bytes for node in memory.nodes if node.in_use_bytes is not None]
    first = memory.nodes[0] if memory.nodes else None
    known = first is not None and first.in_use_bytes is not None and first.change_bytes is not None
    before = first.in_use_bytes - first.change_bytes if known else None  # type: ignore[union-attr, operator]
    return TracedUse(
        peak_bytes=max(in_use) - before if before is not None else None,
        before_bytes=before,
        lifetime_peak_bytes=memory.peak_bytes,
        held_bytes=memory.held_bytes,
        by_layer=dict(by_layer) if outputs else {},
    )


def _groups(by_layer: dict[str, int]) -> list[dict[str, Any]]:
    """Layers with their bytes, largest first."""
    return [{"name": n, "bytes": b} for n, b in sorted(by_layer.items(), key=lambda row: (-row[1], row[0]))]


def _liveness_facts(found: Liveness) -> dict[str, Any]:
    return {
        "peak_bytes": found.peak_bytes,
        "peak_node": found.peak_node,
        "parameters_bytes": found.parameters_bytes,
        "state_bytes": found.state_bytes,
        "next_state_bytes": found.next_state_bytes,
        "kept_bytes": found.kept_bytes,
        "unknown_tensors": len(found.unknown),
        "largest": [{"name": t.name, "bytes": t.size_bytes, "phase": t.phase, "layer": t.layer} for t in found.largest],
        "by_layer": _groups(found.by_layer),
    }


def memory_facts(
    graph: Graph, executed: onnx.ModelProto, attribution: Attribution, ran: Sequence[str], traced: TracedMemory
) -> dict[str, Any]:
    """The memory of a run for its manifest; the schema is in ``docs/reference/run-schema.md``.

    Args:
        graph: The original graph.
        executed: The optimized model.
        attribution: What its nodes stand for.
        ran: Executed names in the order of execution.
        traced: Memory in the run's first trace.
    """
    use = traced_use(traced, attribution)
    return {
        "graph": _liveness_facts(liveness(graph)),
        "executed": _liveness_facts(executed_liveness(graph, executed, attribution, ran, traced)),
        "traced": {
            "peak_bytes": use.peak_bytes,
            "before_bytes": use.before_bytes,
            "lifetime_peak_bytes": use.lifetime_peak_bytes,
            "held_bytes": use.held_bytes,
            "by_layer": _groups(use.by_layer),
        },
    }
