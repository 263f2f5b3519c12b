"""The graph of a step as files, for other processes that run the same step: tracing it takes longer than its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson
import tensorflow as tf

from fathom_exporters.lowering import Tag
from fathom_onnx.graph.files import ensure_folder, write_bytes

from .graph import NativeGraph

__all__ = ["kept_graph"]

_GRAPH, _NAMES = "step.pb", "step.json"


def kept_graph(folder: Path | None, make: Callable[[], NativeGraph]) -> NativeGraph:
    """The graph that a folder keeps, made and kept where it keeps none.

    It is read back even by the process that made it, so that all of them run the same.

    Args:
        folder: The folder, which belongs to this very step; None where nothing is kept.
        make: Makes the graph.

    Raises:
        OutputError: The folder cannot be written.
    """
    if folder is None:
        return make()
    if not (folder / _NAMES).is_file():  # which is written last
        _write(folder, make())
    return _read(folder)


def _write(folder: Path, step: NativeGraph) -> None:
    names: dict[str, Any] = {
        "loads": {name: [feed.name, load.name] for name, (feed, load) in step.loads.items()},
        "zeroed": [operation.name for operation in step.zeroed],
        "feeds": {name: tensor.name for name, tensor in step.feeds.items()},
        "results": {name: tensor.name for name, tensor in step.results.items()},
        "updates": [operation.name for operation in step.updates],
        "tags": {name: astuple(tag) for name, tag in step.tags.items()},
        "permuted": step.permuted,
    }
    ensure_folder(folder)
    write_bytes(folder / _GRAPH, step.graph.as_graph_def().SerializeToString())
    write_bytes(folder / _NAMES, orjson.dumps(names))


def _read(folder: Path) -> NativeGraph:
    stored = tf.compat.v1.GraphDef.FromString((folder / _GRAPH).read_bytes())
    names = orjson.loads((folder / _NAMES).read_bytes())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(stored, name="")

    def tensors(of: dict[str, str]) -> dict[str, tf.Tensor]:
        return {name: graph.get_tensor_by_name(tensor) for name, tensor in of.items()}

    def operations(of: list[str]) -> tuple[tf.Operation, ...]:
        return tuple(graph.get_operation_by_name(name) for name in of)

    return NativeGraph(
        graph=graph,
        loads={
            name: (graph.get_tensor_by_name(feed), graph.get_operation_by_name(load))
            for name, (feed, load) in names["loads"].items()
        },
        zeroed=operations(names["zeroed"]),
        feeds=tensors(names["feeds"]),
        results=tensors(names["results"]),
        updates=operations(names["updates"]),
        tags={name: Tag(*parts) for name, parts in names["tags"].items()},
        permuted={name: tuple(axes) for name, axes in names["permuted"].items()},
    )
