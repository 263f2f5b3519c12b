"""A citation graph like Cora's, grown: papers of planted fields that cite papers, and the words that occur in them.

Papers come one after the other. A new paper cites earlier ones, mostly of its own field, and the more often a paper is
cited the likelier it is (Barabasi and Albert 1999), so that few have very many neighbours. Of a paper's words some are
of its field and the others of any. Its features are a bag of words, each of the paper's words with the same share, as
Velickovic et al. (2018) normalise Cora's.

The whole graph is one list of edges, both directions of each citation and every paper to itself; twenty papers of each
field have a label, as in Cora's usual split. Or neighbours are sampled around a batch of seeds, hop by hop: a paper's
neighbours are in random order, and a sample is a run of them from a random place on, so that none comes twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, check_inputs, endless_shuffle, generator
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

__all__ = ["LABELLED", "Citations", "grow", "open_citations", "sample"]

LABELLED = 20
"""Papers of each field that have a label where the whole graph is one batch."""

_HOMOPHILY = 0.8
_PREFERENTIAL = 0.8
_OWN_WORDS = 0.5
_FIELDS = 7
"""Fields where no labels are asked for."""
_TRIES = 50


@dataclass(frozen=True)
class Citations:
    """A citation graph.

    Attributes:
        fields: The field of each paper [papers].
        words: Features [papers, words]; each row sums to 1.
        links: The citing and the cited paper of each citation, [2, citations].
    """

    fields: Array
    words: Array
    links: Array

    def neighbours(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """The neighbours of all papers one after the other, each paper's in random order, and where each begins."""
        ends = np.concatenate([self.links, self.links[::-1]], 1)
        ends = ends[:, rng.permutation(ends.shape[1])]
        order = np.argsort(ends[0], kind="stable")
        starts = np.searchsorted(ends[0][order], np.arange(len(self.fields) + 1))
        return ends[1][order], starts


def grow(papers: int, citations: int, fields: int, words: int, rng: np.random.Generator) -> Citations:
    """A graph of some papers and, if so many different ones are found, some citations."""
    # Python's generator: single draws of numpy's cost ten times as much
    draw = random.Random(int(rng.integers(2**63)))
    field_of = rng.permutation(np.arange(papers) % fields)
    everyone: list[int] = [0]
    within: list[list[int]] = [[] for _ in range(fields)]
    within[field_of[0]].append(0)
    made: set[tuple[int, int]] = set()
    for paper in range(1, papers):
        own = within[field_of[paper]]
        wanted = round(citations * paper / max(papers - 1, 1))
        for _ in range(_TRIES * (wanted - len(made))):
            if len(made) >= wanted:
                break
            among = own if own and draw.random() < _HOMOPHILY else everyone
            # a paper is in these lists once for itself and once for each of its citations
            other = among[int(draw.random() * len(among))] if draw.random() < _PREFERENTIAL else draw.randrange(paper)
            if (paper, other) not in made:
                made.add((paper, other))
                everyone.append(other)
                within[field_of[other]].append(other)
        everyone.append(paper)
        own.append(paper)
    links = np.array(sorted(made), np.int64).reshape(-1, 2).T
    count = max(3, words // 80)
    own_words = rng.random((papers, count)) < _OWN_WORDS
    any_word = rng.integers(0, words, (papers, count))
    # the words of a field are those whose number leaves the field's as remainder
    of_field = np.minimum(any_word // fields * fields + field_of[:, np.newaxis], words - 1)
    present = np.zeros((papers, words))
    np.put_along_axis(present, np.where(own_words, of_field, any_word), 1.0, 1)
    return Citations(field_of, present / present.sum(1, keepdims=True), links)


def sample(
    nodes: Array, fanout: int, neighbours: tuple[Array, Array], rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Neighbours of nodes.

    Args:
        nodes: Papers [n]; -1 for none.
        fanout: Most neighbours of each.
        neighbours: As :meth:`Citations.neighbours` gives them.
        rng: Draws the samples.

    Returns:
        The nodes and then their samples, paper by paper, [n * (fanout + 1)]; and the source and the target of each
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
    taken = np.where(present, others[np.where(present, place, 0)], -1)
    targets = np.where(present, np.arange(count)[:, np.newaxis], count)
    return (
        np.concatenate([nodes, taken.ravel()]),
        np.arange(count * (fanout + 1)),
        np.concatenate([np.arange(count), targets.ravel()]),
    )


def _refuse(name: str, shape: tuple[int, ...], advice: str) -> DataError:
    return DataError(f"data source 'citations' cannot fill '{name}' of shape {list(shape)}", advice)


def _fields(request: BatchRequest) -> int:
    labels = request.spec("labels")
    return _FIELDS if labels is None else labels.shape[1]


def _whole(request: BatchRequest, papers: int, words: int) -> Iterator[Batch]:
    """The whole graph, the same in every batch."""
    lists = [request.spec(name) for name in ("sources", "targets")]
    sizes = {spec.shape for spec in lists if spec is not None}
    if len(sizes) != 1 or len(next(iter(sizes))) != 1 or next(iter(sizes))[0] < papers:
        raise _refuse("sources", next(iter(sizes), ()), f"ask for 'sources' and 'targets' of one size above {papers}")
    ((edges,),) = sizes
    rng = generator(request.seed, "citations")
    graph = grow(papers, (edges - papers) // 2, _fields(request), words, rng)
    both = np.concatenate([graph.links, graph.links[::-1]], 1)
    missing = edges - papers - both.shape[1]
    each = np.arange(papers)
    sources = np.concatenate([both[0], each, np.zeros(missing, np.int64)])
    targets = np.concatenate([both[1], each, np.full(missing, papers)])
    labels = np.eye(_fields(request))[graph.fields]
    rank = (labels.cumsum(0) * labels).sum(1)  # how many papers of its field there are up to this one
    labels *= (rank <= LABELLED)[:, np.newaxis]
    made = {"features": graph.words, "sources": sources, "targets": targets, "labels": labels}
    batch = {spec.name: made[spec.name].astype(spec.dtype) for spec in request.specs}
    while True:
        yield dict(batch)


def _hops(request: BatchRequest, rows: int) -> list[tuple[int, int]]:
    """Nodes and fan-out of each hop, from the seeds on.

    Raises:
        DataError: The edge lists are not those of neighbour sampling.
    """
    found = []
    number = 0
    while (spec := request.spec(f"targets.{number}")) is not None:
        draw = request.draws.get(spec.name)
        nodes = int(draw.high) if draw is not None else 0
        if spec.shape != (rows,) or not nodes or rows % nodes:
            raise _refuse(spec.name, spec.shape, f"ask for {[rows]}, one edge a source, with the number of targets")
        found.append((nodes, rows // nodes - 1))
        rows = nodes
        number += 1
    return found[::-1]


def _sampled(request: BatchRequest, rows: int, words: int) -> Iterator[Batch]:
    """Samples around seeds; every paper is a seed once, in a random order, before any is one again."""
    hops = _hops(request, rows)
    if not hops:
        raise DataError("data source 'citations' was not asked for edges", "ask for 'targets', or 'targets.0' and on")
    seeds = hops[0][0]
    papers = max(8 * seeds, 256)
    rng = generator(request.seed, "citations")
    # on average a paper has as many neighbours as the largest sample, so that many have fewer
    graph = grow(papers, papers * max(fanout for _, fanout in hops) // 2, _fields(request), words, rng)
    neighbours = graph.neighbours(rng)
    padded = np.concatenate([graph.words, np.zeros((1, words))])
    order = endless_shuffle(papers, rng)
    while True:
        nodes = np.array([next(order) for _ in range(seeds)])
        made: Batch = {"labels": np.eye(_fields(request))[graph.fields[nodes]]}
        for hop, (_, fanout) in enumerate(hops):
            layer = len(hops) - 1 - hop
            nodes, made[f"sources.{layer}"], made[f"targets.{layer}"] = sample(nodes, fanout, neighbours, rng)
        made["features"] = padded[nodes]
        yield {spec.name: made[spec.name].astype(spec.dtype) for spec in request.specs}


def open_citations(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches of ``features`` [nodes, words], edge lists, and one-hot ``labels`` [seeds, fields].

    ``sources`` and ``targets`` [edges] ask for the whole graph; ``sources.N`` and ``targets.N`` for the edges of layer
    N around sampled seeds, layer 0 having the most.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    names = [spec.name for spec in request.specs]
    lists = [n for n in names if n.partition(".")[0] in ("sources", "targets") and n.partition(".")[2].isdigit()]
    check_inputs(request, "citations", ("features", "sources", "targets", *lists, "labels"))
    features = request.spec("features")
    if features is None or len(features.shape) != 2:
        raise DataError("data source 'citations' was not asked for features", "ask for 'features' [nodes, words]")
    rows, words = features.shape
    if request.spec("targets") is not None:
        return _whole(request, rows, words)
    return _sampled(request, rows, words)
