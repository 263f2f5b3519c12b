"""Facts that the numbers of a run depend on: versions, machine, graph, settings."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path
from typing import Any

from fathom_onnx.graph import Graph
from fathom_onnx.runtime.providers.gpu import gpu_facts
from fathom_onnx.runtime.providers.names import PROVIDERS, onnxruntime
from fathom_onnx.versions import package_version

from .settings import LEVELS, SessionSettings

__all__ = ["cpu_cores", "cpu_model", "environment", "graph_facts", "process_facts"]


def cpu_model() -> str:
    """The CPU's model name, or the machine type where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Hardware", "cpu model") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def graph_facts(graph: Graph) -> dict[str, Any]:
    """What identifies a graph: hash, opset and, for one of ours, workload, mode, framework and preset."""
    facts: dict[str, Any] = {
        "graph": graph.name,
        "graph_sha256": graph.sha256,
        "graph_file": str(graph.path.resolve()) if graph.path else None,
        "graph_nodes": len(graph.model.graph.node),
        "ir_version": graph.model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in graph.model.opset_import},
        "producer": f"{graph.model.producer_name} {graph.model.producer_version}".strip(),
    }
    # one file can be run at several sizes of its dynamic dimensions
    facts["inputs"] = {t.name: None if t.shape is None else list(t.shape) for t in graph.batch_inputs}
    held = graph.metadata
    for name in ("workload", "mode", "framework", "framework_version", "preset", "config", "noise"):
        facts[name] = getattr(held, name) if held else None
    facts["lowering"] = held.purpose if held else None
    return facts


def environment(settings: SessionSettings, seed: int, provider_options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Versions, machine and settings of a run, with its command line and UTC time."""
    ort = onnxruntime(PROVIDERS[settings.ep].extra)
    return {
        "provider": settings.ep,
        "execution_provider": PROVIDERS[settings.ep].full_name,
        "provider_options": provider_options or {},
        "threads": settings.threads,
        "optimization": settings.optimization,
        "optimization_level": LEVELS[settings.optimization],
        "allow_fallback": settings.allow_fallback,
        "tf32": settings.tf32 if settings.ep == "cuda" else None,
        "gpu": gpu_facts() if settings.ep == "cuda" else None,
        "serialize": settings.serialize,
        "seed": seed,
        "onnxruntime": ort.__version__,
        "onnx": package_version("onnx"),
        **process_facts(),
    }


def process_facts() -> dict[str, Any]:
    """What any run's manifest says of its process: versions, machine, command line and UTC time."""
    return {
        "fathom_onnx": package_version("fathom-onnx"),
        "numpy": package_version("numpy"),
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": cpu_model(),
        "cpu_cores": cpu_cores(),
        "command": " ".join(sys.argv),
        "time_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
