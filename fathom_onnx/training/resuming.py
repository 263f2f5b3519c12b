"""Whether a checkpoint is of the run that goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fathom_onnx.errors import UsageError, one_line
from fathom_onnx.graph import Graph
from fathom_onnx.runtime.providers.names import onnxruntime
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.versions import package_version

from .checkpoints import Checkpoint, CheckpointFolder

__all__ = ["checkpoint_to_resume", "run_facts"]

_MUST_MATCH = {"graph_sha256": "graph", "seed": "seed", "data": "data source", "schedule": "learning-rate schedule"}
_SHOULD_MATCH = ("provider", "threads", "optimization", "onnxruntime", "numpy")


def run_facts(
    graph: Graph, settings: SessionSettings, seed: int, data: str, schedule: str = "", drawing: str = ""
) -> dict[str, Any]:
    """What a run is: what must be, and what should be the same where it is resumed, and what it is called.

    Args:
        graph: Its training graph.
        settings: How its session runs.
        seed: Its seed.
        data: Name of its data.
        schedule: Name of its learning-rate schedule; empty for none.
        drawing: How its random tensors are drawn; empty where it has none.
    """
    held = graph.metadata
    return {
        "graph_sha256": graph.sha256,
        "seed": seed,
        "data": data,
        "schedule": schedule,
        "drawing": drawing,
        "provider": settings.ep,
        "threads": settings.threads,
        "optimization": settings.optimization,
        "onnxruntime": str(onnxruntime().__version__),
        "numpy": np.__version__,
        "fathom_onnx": package_version("fathom-onnx"),
        "graph": graph.name,
        **{name: getattr(held, name) if held else None for name in ("workload", "framework", "preset")},
    }


def checkpoint_to_resume(
    checkpoints: CheckpointFolder, facts: Mapping[str, Any]
) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint, None where there is none, and remarks on it.

    Raises:
        UsageError: It is of another run.
        DataError: None of those that are there can be read.
    """
    found, remarks = checkpoints.latest()
    if found is None:
        return None, remarks
    for key, words in _MUST_MATCH.items():
        held = found.manifest.get(key, "")  # a checkpoint of an earlier version names no schedule
        if held != facts[key]:
            told = one_line(str(found.manifest.get("graph") if key == "graph_sha256" else held or "none"), 80)
            raise UsageError(
                f"checkpoint '{found.path.name}' is of a run with another {words} ({told})",
                "give that one, or another folder",
            )
    remarks += [
        f"{key} was {found.manifest.get(key)} and is {facts[key]}: results may differ in their last digits"
        for key in _SHOULD_MATCH
        if found.manifest.get(key) != facts[key]
    ]
    if found.manifest.get("drawing", "") != facts["drawing"]:
        remarks.append("random tensors were drawn in another way: the run goes on with other ones than it would have")
    return found, remarks
