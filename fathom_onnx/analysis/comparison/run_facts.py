"""The facts in which two runs' manifests differ, and which of them can cause a difference in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CAUSES", "FACTS", "FactDifference", "causes", "differences"]

FACTS: dict[str, tuple[str, ...]] = {
    "graph": (
        "graph_sha256",
        "graph",
        "workload",
        "mode",
        "framework",
        "framework_version",
        "preset",
        "config",
        "noise",
        "lowering",
        "opset",
        "graph_nodes",
        "inputs",
    ),
    "onnxruntime": ("onnxruntime",),
    "provider": ("provider", "execution_provider", "provider_options", "allow_fallback", "node_times"),
    "threads": ("threads",),
    "optimization": ("optimization",),
    "machine": ("cpu", "cpu_cores", "os", "gpu"),
    "data": ("data", "seed"),
    "measurement": ("warmup", "steps", "fathom_onnx"),
    "libraries": ("onnx", "numpy", "python"),
}
"""Kind of fact to its keys in a manifest."""

CAUSES = ("graph", "onnxruntime", "provider", "threads", "optimization", "machine")
"""Kinds of facts that can each change the time of a step."""


@dataclass(frozen=True)
class FactDifference:
    """A fact with its different values in run A and run B; None if a manifest does not have it."""

    kind: str
    name: str
    a: Any
    b: Any


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[FactDifference, ...]:
    """The facts of :data:`FACTS` in which two manifests differ, in that order.

    Args:
        a: Manifest of run A.
        b: Manifest of run B.
    """
    return tuple(
        FactDifference(kind, name, a.get(name), b.get(name))
        for kind, names in FACTS.items()
        for name in names
        if a.get(name) != b.get(name)
    )


def causes(differing: Sequence[FactDifference]) -> tuple[str, ...]:
    """The kinds of :data:`CAUSES` in which two runs differ; the effects of two or more cannot be separated."""
    kinds = {difference.kind for difference in differing}
    return tuple(kind for kind in CAUSES if kind in kinds)
