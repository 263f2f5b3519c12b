"""Attribution of a trace that another session wrote, with the model that it ran or without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx

from fathom_onnx.errors import UsageError
from fathom_onnx.graph import Graph
from fathom_onnx.graph.bodies import NumberedNode, numbered
from fathom_onnx.runtime.traces.foreign import TracedNode

from .attribution import Attribution, Matching, NodeAttribution, attribute
from .reconstruction import reconstruct
from .traced_names import contradiction, match_by_name, own_name

__all__ = ["TracedAttribution", "attribute_trace", "attribute_trace_of", "match_model"]

_ANOTHER = "give the model whose session wrote the trace"


@dataclass(frozen=True)
class TracedAttribution:
    """The attribution of a trace's nodes.

    Attributes:
        attribution: The attribution of the executed nodes.
        numbers: Number of the executed node, by number in the trace.
        open_groups: Groups of executed nodes that only values would tell apart; they share their original nodes.
    """

    attribution: Attribution
    numbers: tuple[int, ...]
    open_groups: int


def attribute_trace(graph: Graph, traced: Sequence[TracedNode], trace: str) -> TracedAttribution:
    """Attribute the nodes of a trace by what the trace tells.

    Args:
        graph: The original graph.
        traced: The nodes of the trace.
        trace: Its name, for errors.

    Raises:
        UsageError: The trace is of another model.
    """
    top = [node for node in traced if node.parent is None]
    nodes = list(graph.model.graph.node)
    found = match_by_name(nodes, top)
    why = contradiction(nodes, top, found, graph.tensors)
    if why:
        raise UsageError(f"trace '{trace}' is of another model than '{graph.name}': {why}", _ANOTHER)
    made = reconstruct(graph, traced)
    attribution = attribute(graph, made.model)
    told = list(attribution.nodes)
    for number, reason in made.untold.items():
        if told[number].kind == "unattributed":
            told[number] = replace(told[number], reason=reason)
    if told and not any(node.kind == "attributed" for node in told):
        raise UsageError(f"no node of trace '{trace}' is told to be one of '{graph.name}'", _ANOTHER)
    whole = replace(attribution, nodes=tuple(told), doubtful=made.doubtful - attribution.present)
    return TracedAttribution(whole, made.numbers, 0)


def attribute_trace_of(
    graph: Graph, traced: Sequence[TracedNode], optimized: onnx.ModelProto, trace: str
) -> TracedAttribution:
    """Attribute the nodes of a trace of a known optimized model.

    Args:
        graph: The original graph.
        traced: The nodes of the trace.
        optimized: The model that the session saved as it was optimized, or that it loaded.
        trace: The trace's name, for errors.

    Raises:
        UsageError: The trace is not of the optimized model, or this not of the graph.
    """
    for what, of_graph, of_optimized in (
        ("inputs", {tensor.name for tensor in graph.inputs}, _fed(optimized.graph)),
        ("outputs", {tensor.name for tensor in graph.outputs}, {o.name for o in optimized.graph.output}),
    ):
        if not of_optimized <= of_graph:
            raise UsageError(
                f"the optimized model was not made of '{graph.name}': it has other {what}",
                "give the model that it was made of",
            )
    entries = numbered(optimized.graph)
    matched = match_model(entries, traced)
    if 2 * len(matched) < len(traced):
        missing = next(node for number, node in enumerate(traced) if number not in matched)
        raise UsageError(
            f"trace '{trace}' is not of the optimized model: {missing.op_type} '{missing.name}' is not in it",
            "give the model that the session of the trace saved with optimized_model_filepath",
        )
    matching = Matching(graph, optimized)
    attribution = matching.attribution()
    executed, told = list(attribution.executed), list(attribution.nodes)
    numbers = []
    for number, node in enumerate(traced):
        if number not in matched:
            index = len(executed)
            executed.append(NumberedNode(index, onnx.NodeProto(name=node.name, op_type=node.op_type), None, ""))
            told.append(NodeAttribution(index, "unattributed", (), reason="not in the optimized model"))
            matched[number] = index
        numbers.append(matched[number])
    whole = replace(attribution, executed=tuple(executed), nodes=tuple(told))
    return TracedAttribution(whole, tuple(numbers), len(matching.questions))


def _fed(graph: onnx.GraphProto) -> set[str]:
    return {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}


def match_model(entries: Sequence[NumberedNode], traced: Sequence[TracedNode]) -> dict[int, int]:
    """Match the nodes of a trace with those of the model that ran: of one name and op, within the same body, in order.

    Args:
        entries: The nodes of the model.
        traced: The nodes of the trace.

    Returns:
        Number in the trace to number in the model, for those that are in it.
    """
    matched: dict[int, int] = {}
    inside: dict[int | None, list[int]] = defaultdict(list)
    for number, node in enumerate(traced):
        inside[node.parent].append(number)
    inside_model: dict[int | None, list[NumberedNode]] = defaultdict(list)
    for entry in entries:
        inside_model[entry.parent].append(entry)

    def match(parent: int | None, model_parent: int | None) -> None:
        here, there = inside[parent], inside_model[model_parent]
        found = match_by_name([entry.node for entry in there], [traced[n] for n in here])
        for place, match_ in found.items():
            if match_.kept:
                matched[here[place]] = there[match_.original].index
        named: dict[tuple[str, str], list[int]] = defaultdict(list)
        taken = set(matched.values())
        for entry in there:
            if entry.index not in taken:
                named[entry.node.name, entry.node.op_type].append(entry.index)
        for number in here:
            node = traced[number]
            free = named[node.name, node.op_type] or named[own_name(node), node.op_type]
            if number not in matched and free:
                matched[number] = free.pop(0)
        for number in here:
            if number in matched:
                match(number, matched[number])

    match(None, None)
    return matched
