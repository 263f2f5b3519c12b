"""The batches of a run and what its manifest says of them: given, from a data source, or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fathom_onnx.errors import UsageError
from fathom_onnx.graph.model import Graph
from fathom_onnx.recipes import PRESET

from .drawn.batches import drawn_inputs
from .given.fitting import GivenBatches
from .sources import SYNTHETIC
from .streams import DISTINCT_BATCHES, batches_for_graph, source_for_graph

__all__ = ["Feeds", "run_batches"]

Feeds = Mapping[str, Any] | Sequence[Mapping[str, Any]] | GivenBatches
"""A batch, or several to take in turn: input name to an array, a list of arrays for a sequence, None for an absent
optional input."""


def run_batches(
    graph: Graph, feeds: Feeds | None, seed: int, steps: int
) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
    """The batches of a run, and their description for its manifest.

    Args:
        graph: The graph.
        feeds: What the caller gives; inputs that are left out in every batch are drawn, or come from the graph's data
            source.
        seed: Seed of what is not given.
        steps: How many steps will be run.

    Raises:
        UsageError: The batches given are none, or differ in the inputs that they have.
        DataError: An input that is not given cannot be fed.
    """
    given = _given(feeds)
    if given is None:
        source = source_for_graph(graph)
        drawn = itertools.islice(batches_for_graph(graph, seed), min(DISTINCT_BATCHES, steps))
        facts = {"source": source.name, "kind": source.kind, "description": source.description}
        return list(drawn), {**facts, "inputs": _drawn(graph)}
    names = set(given.batches[0])
    missing = [tensor.name for tensor in graph.batch_inputs if tensor.name not in names]
    batches: list[Mapping[str, Any]] = list(given.batches)
    description = f"values given by {given.origin}"
    if missing:
        source = source_for_graph(graph)
        rest = itertools.islice(batches_for_graph(graph, seed, only=missing), len(batches))
        batches = [{**drawn, **batch} for drawn, batch in zip(rest, batches, strict=True)]
        description += f"; of {source.name} ({source.kind}): {', '.join(missing)}"
    inputs = {name: _said(batches[0][name], given.remarks.get(name, "")) for name in given.batches[0]}
    inputs |= _drawn(graph, missing)
    return batches, {"source": "given", "kind": "given", "description": description, "inputs": inputs}


def _drawn(graph: Graph, only: Collection[str] | None = None) -> dict[str, str]:
    """How inputs of a graph of another origin are drawn, in words; nothing of ours, whose data source says it.

    So are those of a recipe's graph that has no example batch beside it.
    """
    metadata = graph.metadata
    drawn_by_use = metadata is None or (metadata.preset == PRESET and source_for_graph(graph).name == SYNTHETIC)
    return drawn_inputs(graph, only).said() if drawn_by_use else {}


def _given(feeds: Feeds | None) -> GivenBatches | None:
    if feeds is None:
        return None
    if not isinstance(feeds, GivenBatches):
        feeds = GivenBatches((dict(feeds),) if isinstance(feeds, Mapping) else tuple(dict(batch) for batch in feeds))
    if not feeds.batches:
        raise UsageError("no batch is given", "give one, or none at all to have it drawn")
    first, *others = (set(batch) for batch in feeds.batches)
    differing = next((first ^ other for other in others if other != first), None)
    if differing:
        raise UsageError(f"only some of the batches have '{min(differing)}'", "give every batch the same inputs")
    return feeds


def _said(value: Any, remark: str) -> str:
    if value is None:
        return "absent"
    return f"given ({remark})" if remark else "given"
