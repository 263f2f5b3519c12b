"""Memory use of a profiled run: by tensor liveness in the original and executed graph, and by the allocator's trace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.analysis.cost.liveness import Liveness, liveness, liveness_of, residents_of, sizes_by_body
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import Body, NumberedNode, outputs_of
from fathom_onnx.graph.labels import Label
from fathom_onnx.runtime.optimized import executed_name
from fathom_onnx.runtime.traces.memory import TracedMemory

from .executed import UNATTRIBUTED, display_name, main_labels

__all__ = ["TracedUse", "executed_liveness", "memory_facts", "traced_use"]


@dataclass(frozen=True)
class TracedUse:
    """Memory use reported by onnxruntime's allocator, bytes; None where the provider does not report it.

    Attributes:
        peak_bytes: Largest number of requested bytes in use at the end of any node of the first run, beyond
            ``before_bytes``: the step's own tensors, without workspace that a kernel has freed again.
        before_bytes: In use before the first node: parameters in the allocator's memory, and bound values.
        lifetime_peak_bytes: Largest number of bytes in use until the end of the second run, in whole blocks, all
            included.
        held_bytes: Bytes that the allocator had reserved from the system by then.
        by_layer: Layer to bytes of the outputs of its nodes, each node once, in the order of execution.
    """

    peak_bytes: int | None
    before_bytes: int | None
    lifetime_peak_bytes: int | None
    held_bytes: int | None
    by_layer: dict[str, int]


def _executed_labels(attribution: Attribution) -> list[Label]:
    """A label for each executed node: its own name, and the phase and layer of its largest original node."""
    main = main_labels(attribution, attribution.labels)
    return [
        replace(label or Label("", "", UNATTRIBUTED, entry.node.op_type, ""), name=display_name(entry))
        for entry, label in zip(attribution.executed, main, strict=True)
    ]


def _sizes(
    executed: onnx.ModelProto, attribution: Attribution, traced: TracedMemory
) -> dict[Body, dict[str, int | None]]:
    """Bytes of the executed tensors: by shape or, for tensors in a layout private to onnxruntime, from the trace."""
    by_body = sizes_by_body(executed.graph)
    traced_bytes = {node.name: node.output_bytes for node in traced.nodes}
    for entry in attribution.executed:
        sizes = by_body[entry.parent, entry.body]
        unknown = [name for name in outputs_of(entry.node) if sizes.get(name) is None]
        output_bytes = traced_bytes.get(executed_name(entry.index))
        if len(unknown) == 1 and output_bytes is not None:
            sizes[unknown[0]] = output_bytes - sum(sizes.get(n) or 0 for n in outputs_of(entry.node))
    return by_body


def _idle(nodes: Iterable[NumberedNode], ran: Collection[int]) -> set[Body]:
    """Bodies of which no node ran though another body of the same node did: the branches that were not taken."""
    did: dict[Body, bool] = defaultdict(bool)
    for entry in nodes:
        if entry.parent is not None:
            did[entry.parent, entry.body] |= entry.index in ran
    chosen = {parent for (parent, _), any_ran in did.items() if any_ran}
    return {(parent, body) for (parent, body), any_ran in did.items() if parent in chosen and not any_ran}


def _numbers(attribution: Attribution, ran: Sequence[str]) -> set[int]:
    """Numbers of the executed nodes with these names."""
    names = set(ran)
    return {entry.index for entry in attribution.executed if executed_name(entry.index) in names}


def _graph_liveness(graph: Graph, attribution: Attribution, ran: Sequence[str]) -> Liveness:
    """Tensor liveness in a step of the original graph, without the branches that were not taken."""
    numbers = _numbers(attribution, ran)
    shares = (n.shares for n in attribution.nodes if n.executed in numbers and n.kind == "attributed")
    idle = _idle(attribution.originals, {share.original for of in shares for share in of})
    return liveness(graph, idle, attribution.labels)


def executed_liveness(
    graph: Graph, executed: onnx.ModelProto, attribution: Attribution, ran: Sequence[str], traced: TracedMemory
) -> Liveness:
    """Tensor liveness in a step of the optimized model, with its nodes in the order of execution.

    Args:
        graph: The original graph, for its parameters and state.
        executed: The optimized model.
        attribution: The attribution of its nodes.
        ran: Names of the executed nodes in the order of execution.
        traced: Memory in the run's first trace, for sizes that the model does not have.
    """
    numbers = {executed_name(entry.index): entry.index for entry in attribution.executed if entry.parent is None}
    order = [numbers[name] for name in dict.fromkeys(ran) if name in numbers]
    labels, sizes = _executed_labels(attribution), _sizes(executed, attribution, traced)
    return liveness_of(
        executed.graph,
        sizes,
        labels,
        residents_of(graph),
        order,
        _idle(attribution.executed, _numbers(attribution, ran)),
    )


def traced_use(memory: TracedMemory, attribution: Attribution) -> TracedUse:
    """Memory use in a trace, with the layers of its nodes."""
    layers = {
        executed_name(entry.index): label.layer
        for entry, label in zip(attribution.executed, _executed_labels(attribution), strict=True)
    }
    outputs: dict[str, int] = {node.name: node.output_bytes for node in reversed(memory.nodes) if node.output_bytes}
    by_layer: dict[str, int] = defaultdict(int)
    for name in dict.fromkeys(node.name for node in memory.nodes):
        by_layer[layers.get(name, UNATTRIBUTED)] += outputs.get(name, 0)
    in_use = [node.in_use_bytes for node in memory.nodes if node.in_use_bytes is not None]
    first = memory.nodes[0] if memory.nodes else None
    before = None
    if first is not None and first.in_use_bytes is not None and first.change_bytes is not None:
        before = first.in_use_bytes - first.change_bytes
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


def _liveness_facts(needs: Liveness) -> dict[str, Any]:
    return {
        "peak_bytes": needs.peak_bytes,
        "peak_node": needs.peak_node,
        "parameters_bytes": needs.parameters_bytes,
        "state_bytes": needs.state_bytes,
        "next_state_bytes": needs.next_state_bytes,
        "kept_bytes": needs.kept_bytes,
        "unknown_tensors": len(needs.unknown),
        "largest": [{"name": t.name, "bytes": t.size_bytes, "phase": t.phase, "layer": t.layer} for t in needs.largest],
        "by_layer": _groups(needs.by_layer),
    }


def memory_facts(
    graph: Graph, executed: onnx.ModelProto, attribution: Attribution, ran: Sequence[str], traced: TracedMemory
) -> dict[str, Any]:
    """The memory of a run for its manifest; the schema is in ``docs/reference/run-schema.md``.

    Args:
        graph: The original graph.
        executed: The optimized model.
        attribution: The attribution of its nodes.
        ran: Names of the executed nodes in the order of execution.
        traced: Memory in the run's first trace.
    """
    use = traced_use(traced, attribution)
    return {
        "graph": _liveness_facts(_graph_liveness(graph, attribution, ran)),
        "executed": _liveness_facts(executed_liveness(graph, executed, attribution, ran, traced)),
        "traced": {
            "peak_bytes": use.peak_bytes,
            "before_bytes": use.before_bytes,
            "lifetime_peak_bytes": use.lifetime_peak_bytes,
            "held_bytes": use.held_bytes,
            "by_layer": _groups(use.by_layer),
        },
    }
