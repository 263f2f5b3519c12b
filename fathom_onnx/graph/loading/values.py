"""The file of stored values beside a graph: what its variables start from where no formula says it, and its batch.

It is a safetensors file; its header names the graph that it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fathom_onnx.errors import GraphError, one_line
from fathom_onnx.graph.files import write_bytes
from fathom_onnx.workloads.contract import Array

__all__ = ["VALUES_FILE", "pack_values", "read_values", "values_path", "write_values"]

VALUES_FILE = "values.safetensors"
"""Usual name of the file."""

_GRAPH = "graph"
"""Key of the header under which the graph file's name stands."""


def _owner(path: Path) -> str:
    """Name of the graph file that a file of values belongs to.

    Raises:
        GraphError: The file cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return str((file.metadata() or {}).get(_GRAPH, ""))
    except (SafetensorError, OSError) as error:
        raise GraphError(f"'{path}' is no file of values ({one_line(error)})", "export the graph again") from error


def values_path(graph: Path) -> Path:
    """Where the values of a graph file go: beside it, under a name of its own where another graph's are there."""
    usual = graph.parent / VALUES_FILE
    try:
        taken = usual.exists() and _owner(usual) != graph.name
    except GraphError:
        taken = True
    return graph.parent / f"{graph.stem}.{VALUES_FILE}" if taken else usual


def pack_values(graph: str, values: Mapping[str, Array]) -> tuple[bytes, str]:
    """The content of a file of values for the graph file of a name, and its SHA-256."""
    data = save({name: np.asarray(value, order="C") for name, value in values.items()}, {_GRAPH: graph})
    return data, hashlib.sha256(data).hexdigest()


def write_values(path: Path, graph: str, values: Mapping[str, Array]) -> str:
    """Write a file of values, whole or not at all.

    Args:
        path: The file.
        graph: Name of the graph file that it is made for.
        values: Arrays by name.

    Returns:
        SHA-256 of the file, which the graph's metadata keep.

    Raises:
        OutputError: It cannot be written.
    """
    data, digest = pack_values(graph, values)
    write_bytes(path, data)
    return digest


def read_values(path: Path, sha256: str) -> dict[str, Array]:
    """Read a file of values.

    Args:
        path: The file.
        sha256: What the graph's metadata say its SHA-256 is.

    Raises:
        GraphError: It is missing, damaged, or holds other values than the graph was exported with.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise GraphError(f"'{path}' does not hold the values of this graph", "export the graph again")
        with safe_open(path, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise GraphError(f"the graph's values are not beside it ('{path}')", "copy that file too") from None
    except (SafetensorError, OSError) as error:
        raise GraphError(f"'{path}' is no file of values ({one_line(error)})", "export the graph again") from error
