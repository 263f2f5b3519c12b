"""Graphs with classes of nodes in the raw layout of the Open Graph Benchmark (Hu et al. 2020, arXiv:2005.00687).

A folder such as ``ogbn_products`` or ``ogbn_arxiv`` has files of numbers with commas between, packed by gzip or not:

    raw/num-node-list.csv.gz      the number of nodes
    raw/num-edge-list.csv.gz      the number of edges
    raw/edge.csv.gz               the two nodes of each edge, from 0
    raw/node-feat.csv.gz          the features of each node
    raw/node-label.csv.gz         the class of each node, from 0
    split/*/train.csv.gz, valid.csv.gz, test.csv.gz      nodes of each part

Edges go in both directions, whether the benchmark adds the other one (ogbn-products) or gives citations one way
(ogbn-arxiv); those of a node to itself are left out, since the network has one of every node.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fathom_onnx.data.contract import Batch, BatchRequest, endless_shuffle, generator
from fathom_onnx.data.records.neighbours import GraphRequest, LabelledGraph, graph_request
from fathom_onnx.errors import DataError
from fathom_onnx.workloads.contract import Array

from .files import folder_entries, require_folder, what_is
from .lines import lines_of

__all__ = ["OgbFolder", "numbers_of", "open_ogb"]

_LAYOUT = "a folder of the Open Graph Benchmark, with raw/edge.csv.gz and split/*/train.csv.gz"
_PARTS = {"training": ("train",), "held-out": ("valid",)}
_ALL_PARTS = ("train", "valid", "test")
_LINES = 1 << 16


def _is_number(text: str) -> bool:
    """Whether the reader of numbers takes a text, which is not all that Python takes, and whether it is finite."""
    try:
        return bool(text.strip()) and bool(np.isfinite(np.loadtxt([text], comments=None, delimiter=",")))
    except ValueError:
        return False


def _first_fault(lines: list[tuple[int, str]], columns: int, path: Path, what: str) -> DataError:
    """What is wrong with some lines, of which at least one is."""
    for number, text in lines:
        values = text.split(",") if text.strip() else []
        if len(values) != columns:
            return DataError(f"'{path}', line {number} has {len(values)} numbers", f"expected {columns}: {what}")
        wrong = next((value for value in values if not _is_number(value)), None)
        if wrong is not None:
            return DataError(f"'{path}', line {number} has '{wrong[:20]}'", f"expected numbers: {what}")
    raise AssertionError(f"no line of '{path}' is wrong")


def numbers_of(path: Path, columns: int | None, what: str, dtype: str) -> Array:
    """The numbers of a file, [lines, columns].

    Args:
        path: The file, plain or gzip.
        columns: Numbers in a line; None for as many as the first one has.
        what: What they are, for errors.
        dtype: Element type; of an integer one they must be whole and not below 0.

    Raises:
        DataError: It cannot be read, or has something else in a line, which is named.
    """
    lines = lines_of(path, what)
    found: list[Array] = []
    while block := list(itertools.islice(lines, _LINES)):
        columns = columns or block[0][1].count(",") + 1
        if not all(text.strip() for _, text in block):
            raise _first_fault(block, columns, path, what)
        try:
            values = np.loadtxt([text for _, text in block], delimiter=",", ndmin=2, comments=None)
        except ValueError as error:
            raise _first_fault(block, columns, path, what) from error
        if values.shape != (len(block), columns) or not np.isfinite(values).all():
            raise _first_fault(block, columns, path, what)
        if np.issubdtype(np.dtype(dtype), np.integer):
            wrong = np.argwhere((values < 0) | (values != np.floor(values)) | (values > np.iinfo(np.int32).max))
            if len(wrong):
                row, column = wrong[0]
                told = f"'{path}', line {block[row][0]} has {values[row, column]:g}"
                raise DataError(told, f"expected a whole number from 0: {what}")
        found.append(values.astype(dtype))
    if not found:
        raise DataError(f"'{path}' is empty", f"expected {what}")
    return np.concatenate(found)


def _file(folder: Path, name: str) -> Path:
    """A file of a folder, packed or not.

    Raises:
        DataError: There is none.
    """
    found = next((p for p in (folder / f"{name}.csv.gz", folder / f"{name}.csv") if what_is(p) == "file"), None)
    if found is None:
        raise DataError(f"folder '{folder}' has no file '{name}.csv.gz'", f"expected {_LAYOUT}")
    return found


def _check_below(values: Array, limit: int, path: Path, what: str, of: str) -> None:
    """Check that numbers are below a limit.

    Raises:
        DataError: One is not; its line is named.
    """
    wrong = np.argwhere(values >= limit)
    if len(wrong):
        row = int(wrong[0][0])
        raise DataError(f"'{path}', line {row + 1} has {what} {values[tuple(wrong[0])]}", f"expected one below {of}")


@dataclass(frozen=True)
class OgbFolder:
    """A folder of the Open Graph Benchmark.

    Attributes:
        path: The folder.
    """

    path: Path

    def _read(self, name: str, columns: int | None, what: str, dtype: str = "int64") -> tuple[Array, Path]:
        path = _file(require_folder(self.path / "raw", _LAYOUT), name)
        return numbers_of(path, columns, what, dtype), path

    def _count(self, name: str, what: str) -> int:
        values, path = self._read(name, 1, f"the number of {what}")
        if len(values) != 1:
            raise DataError(f"'{path}' has {len(values)} lines, one a graph", "expected one graph")
        return int(values[0, 0])

    def _rows(self, name: str, columns: int | None, what: str, count: int, dtype: str = "int64") -> tuple[Array, Path]:
        """The rows of a file, as many as there should be."""
        values, path = self._read(name, columns, what, dtype)
        if len(values) != count:
            raise DataError(f"'{path}' has {len(values)} lines", f"expected {count}, as the file of their number says")
        return values, path

    def _links(self, nodes: int) -> Array:
        """Every pair of different nodes with an edge once, [2, links]."""
        what = "the two nodes of an edge"
        edges, path = self._rows("edge", 2, what, self._count("num-edge-list", "edges"))
        _check_below(edges, nodes, path, "node", f"{nodes}, the number of nodes")
        low, high = edges.min(1), edges.max(1)
        codes = np.unique((low * nodes + high)[low != high])
        return np.stack([codes // nodes, codes % nodes])

    def graph(self, width: int, classes: int | None) -> LabelledGraph:
        """The graph.

        Args:
            width: Features of a node.
            classes: Number of classes; None for any.

        Raises:
            DataError: A file is missing or wrong, or nodes have other features or more classes.
        """
        require_folder(self.path, _LAYOUT)
        nodes = self._count("num-node-list", "nodes")
        labels, path = self._rows("node-label", 1, "the class of a node", nodes)
        if classes is not None:
            more = int(labels.max()) + 1
            _check_below(labels, classes, path, "class", f"{classes}, the graph's classes (--set classes={more})")
        links = self._links(nodes)
        features, path = self._rows("node-feat", None, "the features of a node", nodes, "float32")
        if features.shape[1] != width:
            raise DataError(
                f"'{path}' has {features.shape[1]} features of a node, and the graph {width}",
                f"give it as many (--set features={features.shape[1]})",
            )
        return LabelledGraph(features, labels[:, 0], links)

    def part(self, names: tuple[str, ...], nodes: int) -> Array:
        """The nodes of some parts, sorted.

        Raises:
            DataError: A file is missing or wrong, or parts share a node.
        """
        folder = require_folder(self.path / "split", _LAYOUT)
        splits = [entry for entry in folder_entries(folder) if what_is(entry) == "folder"]
        if len(splits) != 1:
            raise DataError(f"folder '{folder}' has {len(splits)} folders", f"expected one way to split: {_LAYOUT}")
        found: dict[str, Array] = {}
        for name in _ALL_PARTS:
            path = _file(splits[0], name)
            found[name] = numbers_of(path, 1, "a node of the part", "int64")[:, 0]
            _check_below(found[name], nodes, path, "node", f"{nodes}, the number of nodes")
            for other in found.keys() - {name}:
                shared = np.flatnonzero(np.isin(found[name], found[other]))
                if len(shared):
                    told = f"'{path}', line {shared[0] + 1} has node {found[name][shared[0]]}, which part '{other}' has"
                    raise DataError(told, "expected parts that share no node")
        return np.unique(np.concatenate([found[name] for name in names]))


def _check_room(asked: GraphRequest, graph: LabelledGraph, source: str) -> None:
    """Check that a graph has room for the whole of another.

    Raises:
        DataError: It has not.
    """
    nodes, edges = len(graph.classes), 2 * graph.links.shape[1]
    if nodes > asked.rows or edges > asked.edges - asked.rows:
        raise DataError(
            f"'{source}' has {nodes} nodes and {edges} edges, and the graph room for {asked.rows} and "
            f"{asked.edges - asked.rows}",
            f"give it as much (--set batch={nodes} --set edges={edges}), or sample neighbours (--preset paper)",
        )


def open_ogb(request: BatchRequest, path: str) -> Iterator[Batch]:
    """Endless batches, as :func:`~fathom_onnx.data.records.neighbours.graph_request` says.

    Every node of the part is a seed once, in a random order, before any is one again; its neighbours are of all parts.
    Where the whole graph is one batch, the nodes of the part have a label.

    Args:
        request: The request.
        path: The folder.

    Raises:
        DataError: A file is missing or wrong, or the request cannot be filled.
    """
    source = f"ogb:{path}"
    asked = graph_request(request, source)
    folder = OgbFolder(Path(path))
    graph = folder.graph(asked.width, asked.classes)
    part = folder.part(_PARTS.get(request.split, _ALL_PARTS), len(graph.classes))
    if asked.edges:
        _check_room(asked, graph, source)
        return asked.whole(graph, np.isin(np.arange(len(graph.classes)), part))
    rng = generator(request.seed, "ogb")
    return asked.sampled(graph, graph.neighbours(rng), (int(part[i]) for i in endless_shuffle(len(part), rng)), rng)
