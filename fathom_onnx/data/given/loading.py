"""A graph file with files of its input values: the values give its open dimensions their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fathom_onnx.graph.model import Graph, load, load_structure

from .files import read_input_files
from .fitting import GivenBatches, fitted, sizes_in_files

__all__ = ["load_with_inputs", "read_inputs"]


def read_inputs(graph: Graph, paths: Sequence[Path]) -> GivenBatches:
    """Batches from ``.npz`` files, one a file, in the types and shapes of a graph's inputs.

    Raises:
        UnknownNameError: A file names an input that the graph does not have.
        DataError: A file cannot be read, or its values do not fit.
    """
    return fitted(graph, read_input_files(paths))


def load_with_inputs(
    path: str | Path, dimensions: Mapping[str, int] | None, inputs: Sequence[Path]
) -> tuple[Graph, GivenBatches | None]:
    """Read a graph file and files of its input values.

    Args:
        path: An ``.onnx`` file.
        dimensions: Sizes of open dimensions; the others are those of the values.
        inputs: ``.npz`` files, one a batch; none, for a graph that is fed otherwise.

    Returns:
        The graph, and the batches; None where no files are given.

    Raises:
        GraphError: The graph file cannot be read, or leaves a dimension open of which nothing tells the size.
        UnknownNameError: A name that the graph does not have.
        DataError: A file of values cannot be read, or its values do not fit.
    """
    if not inputs:
        return load(path, dimensions), None
    files = read_input_files(inputs)
    sizes = {**sizes_in_files(load_structure(path), files), **(dimensions or {})}
    graph = load(path, sizes)
    return graph, fitted(graph, files)
