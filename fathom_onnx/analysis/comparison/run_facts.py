"""What two runs differ in, by their manifests, and whether a difference in time can be put down to one cause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CAUSES", "FACTS", "Difference", "causes", "differences"]

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
"""Kind of fact to the manifest's keys."""

CAUSES = ("graph", "onnxruntime", "provider", "threads", "optimization", "machine")
"""Kinds of which each can make a step slower on its own."""


@dataclass(frozen=True)
class Difference:
    """One fact that two runs do not share; None where a run does not tell."""

    kind: str
    name: str
    a: Any
    b: Any


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The facts of :data:`FACTS` in which two manifests differ, in that order.

    Args:
        a: Manifest of the first run.
        b: Manifest of the second.
    """
    return tuple(
        Difference(kind, name, a.get(name), b.get(name))
        for kind, names in FACTS.items()
        for name in names
        if a.get(name) != b.get(name)
    )


def causes(found: Sequence[Difference]) -> tuple[str, ...]:
    """The kinds in which two runs differ and that change times; two or more cannot be told apart."""
    kinds = {difference.kind for difference in found}
    return tuple(kind for kind in CAUSES if kind in kinds)
