"""Batches of a labelled graph: the whole of it, or the neighbours that are sampled around some of its nodes.

The whole graph is one list of edges, both directions of each link and every node to itself. Or neighbours are sampled
around a batch of seeds, hop by hop: a node's neighbours are in random order, and a sample is a run of them from a
random place on, so that none comes twice (Hamilton et al. 2017, arXiv:1706.02216). An edge that is missing has a target
past the last one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["Adjacency", "GraphRequest", "LabelledGraph", "graph_request", "sample"]

Adjacency = tuple[Array, Array]
"""The neighbours of all nodes one after the other, each node's in random order, and where each node's begin."""


@dataclass(frozen=True)
class LabelledGraph:
    """A graph whose nodes have features and classes.

    Attributes:
        features: Of each node [nodes, width].
        classes: The class of each node [nodes], from 0.
        links: The two nodes of each link [2, links]; no pair comes twice, in either order, and none is of one node.
    """

    features: Array
    classes: Array
    links: Array

    def both_ways(self) -> Array:
        """Each link in both directions [2, 2 * links]."""
        return np.concatenate([self.links, self.links[::-1]], 1)

    def neighbours(self, rng: np.random.Generator) -> Adjacency:
        """The neighbours of every node."""
        ends = self.both_ways()
        ends = ends[:, rng.permutation(ends.shape[1])]
        order = np.argsort(ends[0], kind="stable")
        starts = np.searchsorted(ends[0][order], np.arange(len(self.classes) + 1))
        return ends[1][order], starts


def sample(nodes: Array, fanout: int, neighbours: Adjacency, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Neighbours of nodes.

    Args:
        nodes: Nodes [n]; -1 for none.
        fanout: Most neighbours of each.
        neighbours: As :meth:`LabelledGraph.neighbours` gives them.
        rng: Draws the samples.

    Returns:
        The nodes and then their samples, node by node, [n * (fanout + 1)]; and the source and the target of each
        edge, by place among these nodes, [n * (fanout + 1)]. The target of an edge that is missing is n.
    """
    others, starts = neighbours
    count = len(nodes)
    known = nodes >= 0
    first = np.where(known, starts[nodes], 0)
    degree = np.where(known, starts[nodes + 1] - starts[nodes], 0)
    turn = (rng.random(count) * degree).astype(np.int64)
    slots = np.arange(fanout)
    present = slots < degree[:, np.newaxis]
    place = first[:, np.newaxis] + (turn[:, np.newaxis] + slots) % np.maximum(degree, 1)[:, np.newaxis]
    taken = np.full(present.shape, -1)
    taken[present] = others[place[present]]
    targets = np.where(present, np.arange(count)[:, np.newaxis], count)
    return (
        np.concatenate([nodes, taken.ravel()]),
        np.arange(count * (fanout + 1)),
        np.concatenate([np.arange(count), targets.ravel()]),
    )


@dataclass(frozen=True)
class GraphRequest:
    """What a request for batches of a labelled graph asks for.

    Attributes:
        request: The request.
        source: Name of the source, for errors.
        rows: Nodes whose features are asked for.
        width: Features of a node.
        classes: Number of classes, or None where no labels are asked for.
        edges: Edges of the whole graph, or 0 where neighbours are to be sampled.
        hops: Nodes and fan-out of each hop, from the seeds on; none for the whole graph.
    """

    request: BatchRequest
    source: str
    rows: int
    width: int
    classes: int | None
    edges: int
    hops: tuple[tuple[int, int], ...]

    def _filled(self, made: Batch) -> Batch:
        return {spec.name: made[spec.name].astype(spec.dtype) for spec in self.request.specs}

    def _one_hot(self, classes: Array) -> Array:
        return np.eye(self.classes or int(classes.max(initial=0)) + 1)[classes]

    def whole(self, graph: LabelledGraph, labelled: Array) -> Iterator[Batch]:
        """The whole graph in every batch, with nodes that have no features and no links for rows beyond its own.

        Args:
            graph: The graph; nodes and edges must not be more than are asked for.
            labelled: Whether each node has a label [nodes].
        """
        both, each = graph.both_ways(), np.arange(self.rows)
        more = self.rows - len(graph.classes)
        missing = self.edges - self.rows - both.shape[1]
        labels = self._one_hot(graph.classes) * labelled[:, np.newaxis]
        batch = self._filled(
            {
                "features": np.pad(graph.features, ((0, more), (0, 0))),
                "sources": np.concatenate([both[0], each, np.zeros(missing, np.int64)]),
                "targets": np.concatenate([both[1], each, np.full(missing, self.rows)]),
                "labels": np.pad(labels, ((0, more), (0, 0))),
            }
        )
        while True:
            yield dict(batch)

    def sampled(
        self, graph: LabelledGraph, neighbours: Adjacency, seeds: Iterator[int], rng: np.random.Generator
    ) -> Iterator[Batch]:
        """Samples around seeds.

        Args:
            graph: The graph.
            neighbours: Its nodes' neighbours.
            seeds: Nodes, without end.
            rng: Draws the samples.
        """
        while True:
            nodes = np.array(list(itertools.islice(seeds, self.hops[0][0])))
            made: Batch = {"labels": self._one_hot(graph.classes[nodes])}
            for hop, (_, fanout) in enumerate(self.hops):
                layer = len(self.hops) - 1 - hop
                nodes, made[f"sources.{layer}"], made[f"targets.{layer}"] = sample(nodes, fanout, neighbours, rng)
            made["features"] = graph.features[nodes] * (nodes >= 0)[:, np.newaxis]
            yield self._filled(made)


def _refuse(source: str, name: str, shape: tuple[int, ...], advice: str) -> DataError:
    return DataError(f"data source '{source}' cannot fill '{name}' of shape {list(shape)}", advice)


def _edges(request: BatchRequest, source: str, rows: int) -> int:
    """Edges of the whole graph; 0 where the request is for samples.

    Raises:
        DataError: The two lists of edges are not of one size, or have no room for every node's edge to itself.
    """
    if request.spec("targets") is None:
        return 0
    shapes = {spec.shape for name in ("sources", "targets") if (spec := request.spec(name)) is not None}
    shape = shapes.pop()
    if shapes or len(shape) != 1 or shape[0] < rows:
        raise _refuse(source, "sources", shape, f"ask for 'sources' and 'targets' of one size above {rows}")
    return shape[0]


def _hops(request: BatchRequest, source: str, rows: int) -> tuple[tuple[int, int], ...]:
    """Nodes and fan-out of each hop, from the seeds on.

    Raises:
        DataError: The edge lists are not those of neighbour sampling.
    """
    found: list[tuple[int, int]] = []
    while (spec := request.spec(f"targets.{len(found)}")) is not None:
        draw = request.draws.get(spec.name)
        nodes = int(draw.high) if draw is not None else 0
        if spec.shape != (rows,) or not nodes or rows % nodes:
            advice = f"ask for {[rows]}, one edge a source, with the number of targets"
            raise _refuse(source, spec.name, spec.shape, advice)
        found.append((nodes, rows // nodes - 1))
        rows = nodes
    return tuple(found[::-1])


def graph_request(request: BatchRequest, source: str) -> GraphRequest:
    """What a request asks for: ``features`` [nodes, width], edge lists, and one-hot ``labels`` [seeds, classes].

    ``sources`` and ``targets`` [edges] ask for the whole graph; ``sources.N`` and ``targets.N`` for the edges of layer
    N around sampled seeds, layer 0 having the most.

    Raises:
        DataError: Another input is requested, or shapes that do not fit together.
    """
    names = [spec.name for spec in request.specs]
    lists = [n for n in names if n.partition(".")[0] in ("sources", "targets") and n.partition(".")[2].isdigit()]
    check_inputs(request, source, ("features", "sources", "targets", *lists, "labels"))
    features, labels = request.spec("features"), request.spec("labels")
    if features is None or len(features.shape) != 2:
        raise DataError(f"data source '{source}' was not asked for features", "ask for 'features' [nodes, width]")
    rows, width = features.shape
    edges = _edges(request, source, rows)
    hops = () if edges else _hops(request, source, rows)
    if not edges and not hops:
        raise DataError(f"data source '{source}' was not asked for edges", "ask for 'targets', or 'targets.0' and on")
    seeds = hops[0][0] if hops else rows
    if labels is not None and (len(labels.shape) != 2 or labels.shape[0] != seeds):
        raise _refuse(source, "labels", labels.shape, f"ask for [{seeds}, classes]")
    return GraphRequest(request, source, rows, width, labels.shape[1] if labels is not None else None, edges, hops)
