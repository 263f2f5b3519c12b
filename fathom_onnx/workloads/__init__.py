"""Workload definitions: the table of the built-in ones, and those that other packages add by entry point."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from fathom_onnx.errors import MissingDependencyError, UnknownNameError, one_line

from .config import Definition
from .contract import Workload
from .suite2016 import alexnet, autoenc, deepq, memnet, residual, seq2seq, speech, vgg

__all__ = ["BUILT_IN", "ENTRY_POINT_GROUP", "definition", "names", "workload"]

ENTRY_POINT_GROUP = "fathom_onnx.workloads"
"""Another package adds a workload by an entry point of this group that names a :class:`Definition`."""

BUILT_IN: dict[str, Definition] = {
    d.name: d
    for d in (
        seq2seq.DEFINITION,
        memnet.DEFINITION,
        speech.DEFINITION,
        autoenc.DEFINITION,
        residual.DEFINITION,
        vgg.DEFINITION,
        alexnet.DEFINITION,
        deepq.DEFINITION,
    )
}
"""The workloads of this package, by name."""


def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def names() -> tuple[str, ...]:
    """All workload names, the built-in ones first."""
    return tuple(dict.fromkeys([*BUILT_IN, *sorted(_entry_points())]))


def definition(name: str) -> Definition:
    """The definition of a workload.

    Raises:
        UnknownNameError: No such workload.
        MissingDependencyError: Another package's entry point does not give one.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    points = _entry_points()
    if name not in points:
        raise UnknownNameError("workload", name, names())
    try:
        loaded = points[name].load()
    except Exception as error:  # whatever the other package does when it is imported
        raise MissingDependencyError(
            f"workload '{name}' of another package cannot be loaded ({type(error).__name__}: {one_line(error, 200)})",
            "install what that package needs, or remove it",
        ) from error
    if not isinstance(loaded, Definition):
        raise MissingDependencyError(
            f"entry point '{name}' of group '{ENTRY_POINT_GROUP}' is no Definition but of type {type(loaded).__name__}",
            "name the Definition itself, or remove that package",
        )
    return loaded


def workload(name: str, preset: str = "paper", changes: Mapping[str, Any] | None = None) -> Workload:
    """A workload at a preset, with some configuration fields changed (values, or text that is parsed by field type)."""
    return definition(name).configure(preset, changes)
