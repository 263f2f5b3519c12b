"""A citation graph like Cora's, grown: papers of planted fields that cite papers, and the words that occur in them.

Papers come one after the other. A new paper cites earlier ones, mostly of its own field, and the more often a paper is
cited the likelier it is (Barabasi and Albert 1999), so that few have very many neighbours. Of a paper's words some are
of its field and the others of any. Its features are a bag of words, each of the paper's words with the same share, as
Velickovic et al. (2018) normalise Cora's.

The batches are those of :mod:`~fathom_onnx.data.records.neighbours`; of the whole graph twenty papers of each field
have a label, as in Cora's usual split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, endless_shuffle, generator
from fathom_onnx.workloads.contract import Array

from .neighbours import GraphRequest, LabelledGraph, graph_request

__all__ = ["LABELLED", "grow", "open_citations"]

LABELLED = 20
"""Papers of each field that have a label where the whole graph is one batch."""

_HOMOPHILY = 0.8
_PREFERENTIAL = 0.8
_OWN_WORDS = 0.5
_FIELDS = 7
"""Fields where no labels are asked for."""
_TRIES = 50


def grow(papers: int, citations: int, fields: int, words: int, rng: np.random.Generator) -> LabelledGraph:
    """A graph of some papers (features are words, classes fields) and, if so many different are found, citations."""
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
    return LabelledGraph(present / present.sum(1, keepdims=True), field_of, links)


def _labelled(fields: Array) -> Array:
    """Whether each paper is among the first of its field."""
    of_field = np.eye(int(fields.max(initial=0)) + 1)[fields]
    rank = (of_field.cumsum(0) * of_field).sum(1)  # how many papers of its field there are up to this one
    return np.asarray(rank <= LABELLED)


def _whole(asked: GraphRequest) -> Iterator[Batch]:
    """The whole graph, the same in every batch."""
    citations = (asked.edges - asked.rows) // 2
    graph = grow(asked.rows, citations, asked.classes or _FIELDS, asked.width, _generator(asked))
    return asked.whole(graph, _labelled(graph.classes))


def _sampled(asked: GraphRequest) -> Iterator[Batch]:
    """Samples around seeds; every paper is a seed once, in a random order, before any is one again."""
    papers = max(8 * asked.hops[0][0], 256)
    rng = _generator(asked)
    # on average a paper has as many neighbours as the largest sample, so that many have fewer
    citations = papers * max(fanout for _, fanout in asked.hops) // 2
    graph = grow(papers, citations, asked.classes or _FIELDS, asked.width, rng)
    return asked.sampled(graph, graph.neighbours(rng), endless_shuffle(papers, rng), rng)


def _generator(asked: GraphRequest) -> np.random.Generator:
    return generator(asked.request.seed, "citations")


def open_citations(request: BatchRequest) -> Iterator[Batch]:
    """Endless batches, as :func:`~fathom_onnx.data.records.neighbours.graph_request` says.

    Raises:
        DataError: Another input is requested, or a shape that cannot be filled.
    """
    asked = graph_request(request, "citations")
    return _whole(asked) if asked.edges else _sampled(asked)
