"""Graph files in the place of exported graphs: which open dimensions of each a sweep gives which sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count, product
from pathlib import Path
from typing import NamedTuple

import onnx

from fathom_onnx.errors import UnknownNameError, UsageError
from fathom_onnx.graph import Graph, load_structure
from fathom_onnx.graph.dimensions import asked_names, command_line, fix_dimensions, open_dimensions

from .plan import Cell

__all__ = ["FRAMEWORK", "GraphFile", "Sizes", "graph_files"]

FRAMEWORK = "file"
"""What stands for the framework of a graph that none was asked to make."""


class Sizes(NamedTuple):
    """Sizes of a graph file's open dimensions by name, and the batch size that is one of them, where one was given."""

    dimensions: tuple[tuple[str, int], ...]
    batch: int | None


class GraphFile(NamedTuple):
    """A graph file that is run: its path, what stands for its cell, and the sizes of each of its runs."""

    path: Path
    cell: Cell
    sizes: tuple[Sizes, ...]


def graph_files(
    paths: Sequence[Path], dimensions: Mapping[str, Sequence[int]], batches: Sequence[int], *, all_sizes: bool
) -> tuple[GraphFile, ...]:
    """The graph files of a sweep.

    A name in ``dimensions`` is for the files that have it. Batch sizes are those of the one open dimension that comes
    first in the inputs; a file without one is run without.

    Args:
        paths: The files; one that is given twice counts once.
        dimensions: Sizes of open dimensions by name.
        batches: Batch sizes.
        all_sizes: Whether every open dimension must get a size here.

    Raises:
        GraphError: A file is not a graph that can be read, or leaves a dimension without a size.
        UnknownNameError: No file has a dimension of a name.
        UsageError: A size that cannot be, or a batch size for a graph that has several dimensions for it, or has it
            in ``dimensions``.
    """
    graphs = {path.absolute(): load_structure(path) for path in dict.fromkeys(paths)}
    owned = {path: [name for name in dimensions if _has(graph, name)] for path, graph in graphs.items()}
    for name in dimensions:
        if graphs and not any(name in own for own in owned.values()):
            known = dict.fromkeys(label for graph in graphs.values() for label in asked_names(_labels(graph)))
            raise UnknownNameError("dynamic dimension", name, known)
    names: set[str] = set()
    found = []
    for path, graph in graphs.items():
        axes = {name: dimensions[name] for name in owned[path]}
        batch = _batch_dimension(graph) if batches else ""
        if batch in axes:
            raise UsageError(
                f"the batch size of '{path.name}' is given twice", f"give it with --batch or --dim {batch}"
            )
        axes |= {batch: batches} if batch else {}
        sizes = []
        for values in product(*(dict.fromkeys(several) for several in axes.values())):
            given = dict(zip(axes, values, strict=True))
            fix_dimensions(_inputs_of(graph), given, graph.name, all_of_them=all_sizes)
            sizes.append(Sizes(tuple(given.items()), given.get(batch)))
        found.append(GraphFile(path, _cell(graph, names), tuple(sizes)))
    return tuple(found)


def _cell(graph: Graph, names: set[str]) -> Cell:
    """What stands for the cell of a file; its name is that of the file, with a number where others have it."""
    stem = re.sub(r"[^\w.-]", "_", graph.name) or "graph"
    numbered = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    name = next(name for name in numbered if name not in names)
    names.add(name)
    return Cell(name, FRAMEWORK, graph.metadata.mode if graph.metadata else "inference")


def _labels(graph: Graph) -> list[str]:
    return [dimension.label for dimension in open_dimensions(graph.model.graph)]


def _inputs_of(graph: Graph) -> onnx.ModelProto:
    """A model that has only the graph's inputs, to be given sizes."""
    made = onnx.ModelProto()
    made.graph.input.extend(value for value in graph.model.graph.input if value.name not in graph.initializers)
    return made


def _has(graph: Graph, name: str) -> bool:
    try:
        fix_dimensions(_inputs_of(graph), {name: 1}, graph.name, all_of_them=False)
    except UnknownNameError:
        return False
    except UsageError:
        return True  # 1 is a size that cannot be, of a name that there is
    return True


def _batch_dimension(graph: Graph) -> str:
    """The name of the one open dimension that comes first in the inputs; empty where none does.

    Raises:
        UsageError: There are several.
    """
    first = [dimension.label for dimension in open_dimensions(graph.model.graph) if dimension.axis == 0]
    names = asked_names(first)
    if len(names) > 1:
        raise UsageError(
            f"graph '{graph.name}' has no one batch dimension: {', '.join(names)} come first in its inputs",
            f"leave out --batch and give sizes with {command_line(names)}",
        )
    return names[0] if names else ""
