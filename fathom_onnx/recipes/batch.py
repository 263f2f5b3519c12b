"""The example batch as a structure and its leaves: how a nested batch becomes inputs of a graph, and back.

The rule, which exporters and :func:`fathom_onnx.run_step` share: tuples and lists are gone through in order, mappings
in the order of their entries, dataclasses in that of their fields; anything else is a leaf. A leaf's path is the
indices, keys and field names that lead to it, and is empty where the batch itself is a leaf. A leaf with a shape and an
element type is a tensor and becomes an input of the graph; other leaves (numbers, text, None) stay as they are.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["BatchPath", "flatten", "is_tensor", "path_name", "tensors", "unflatten"]

BatchPath = tuple[Any, ...]
"""Indices, keys and field names from the batch to one of its leaves."""


def flatten(batch: Any) -> dict[BatchPath, Any]:
    """The leaves of a batch by their paths, in the order of the rule.

    ``{"a": x, "b": (y, 2)}`` becomes ``{("a",): x, ("b", 0): y, ("b", 1): 2}``.
    """
    return dict(_leaves(batch, ()))


def unflatten(batch: Any, leaves: Mapping[BatchPath, Any]) -> Any:
    """A batch of the same structure with other leaves; ``batch`` itself is not changed.

    Args:
        batch: The batch whose structure it is to have.
        leaves: Leaves by path; those that are left out are the batch's own.
    """
    return _rebuilt(batch, (), leaves)


def is_tensor(leaf: Any) -> bool:
    """Whether a leaf is a tensor of any framework, or an array of NumPy; a NumPy scalar is a plain number."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not isinstance(leaf, np.generic)


def tensors(batch: Any) -> dict[BatchPath, Any]:
    """The tensors among the leaves of a batch, by their paths."""
    return {path: leaf for path, leaf in flatten(batch).items() if is_tensor(leaf)}


def path_name(path: BatchPath, first: str = "") -> str:
    """A path as a name: ``("b", 0)`` as ``b.0``.

    Args:
        path: The path.
        first: What stands for the first part of it, such as the name of the argument that takes it.
    """
    parts = [first or str(path[0]), *map(str, path[1:])] if path else [first]
    return ".".join(parts)


def _leaves(part: Any, path: BatchPath) -> Iterator[tuple[BatchPath, Any]]:
    parts = _parts(part)
    if parts is None:
        yield path, part
        return
    for key, value in parts.items():
        yield from _leaves(value, (*path, key))


def _parts(part: Any) -> dict[Any, Any] | None:
    """What a structure consists of; None for a leaf."""
    if isinstance(part, Mapping):
        return dict(part)
    if isinstance(part, (tuple, list)):
        return dict(enumerate(part))
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return None


def _rebuilt(part: Any, path: BatchPath, leaves: Mapping[BatchPath, Any]) -> Any:
    parts = _parts(part)
    if parts is None:
        return leaves.get(path, part)
    new = {key: _rebuilt(value, (*path, key), leaves) for key, value in parts.items()}
    if isinstance(part, Mapping):
        return _mapping_like(part, new)
    if isinstance(part, tuple):
        make = getattr(type(part), "_make", tuple)  # a named tuple has its fields as arguments
        return make(new.values())
    if isinstance(part, list):
        return list(new.values())
    copied = copy.copy(part)
    for name, value in new.items():
        object.__setattr__(copied, name, value)  # a frozen one as well
    return copied


def _mapping_like(mapping: Mapping[Any, Any], entries: dict[Any, Any]) -> Any:
    """A mapping of the same class, whose methods the user's loss may call; a plain dict of one that is read-only."""
    if type(mapping) is dict or not hasattr(mapping, "__setitem__"):
        return entries
    copied = copy.copy(mapping)
    for key, value in entries.items():
        copied[key] = value
    return copied
