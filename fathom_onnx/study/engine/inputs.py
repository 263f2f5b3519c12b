"""What the result of each stage depends on: graphs, versions, source, options, machine.

Results are stored under a hash of these (see :mod:`.store`); anything left out is taken to make no difference.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fathom_onnx.study.cells.plan import Job
from fathom_onnx.versions import package_version

from .providers import device_inputs
from .sources import SOURCES, exporter_facts, source_hash
from .store import sha256

__all__ = [
    "ceilings_inputs",
    "explain_inputs",
    "export_inputs",
    "native_inputs",
    "pool_inputs",
    "profile_inputs",
    "structure_inputs",
    "verify_inputs",
]

Inputs = dict[str, Any]

_CEILINGS_FACTS = ("ep", "threads", "onnxruntime", "machine", "gpu")
_NATIVE_FACTS = ("data", "threads", "warmup", "steps", "seed", "python", "machine")


def export_inputs(job: Job) -> Inputs:
    """Configuration, purpose and source of a cell's graph, the framework and what else makes it; or the file itself.

    Of a model of the user's own, the files that it was built from take the place of the configuration.
    """
    if job.source is not None:
        return {"graph": sha256(job.source), "sources": source_hash(SOURCES["export"])}
    if job.own is not None:
        configuration: Inputs = {"target": job.own.target.text, "built_from": job.own.digest}
    else:
        configuration = {"preset": job.options.preset, "config": asdict(job.workload.config)}
    return {
        "workload": job.cell.workload,
        "mode": job.cell.mode,
        "framework": job.cell.framework,
        **configuration,
        "lowering": job.options.purpose,
        "package": package_version("fathom-onnx"),
        "sources": source_hash(SOURCES["export"]),
        **exporter_facts(job.cell.framework),
    }


def verify_inputs(job: Job) -> Inputs:
    """The inputs of the graphs themselves, and the code that feeds and judges them."""
    graphs = [export_inputs(replace(job, cell=cell, others=())) for cell in (job.cell, *job.others)]
    return {
        "graphs": graphs,
        "data": _data(job),
        "steps": job.options.checked_steps,
        "seed": job.options.seed,
        "onnxruntime": _onnxruntime(),
        "sources": source_hash(SOURCES["verify"]),
    }


def structure_inputs(job: Job) -> Inputs:
    """The graph file and the code that models its cost."""
    return {
        "graph": sha256(job.graph()),
        "onnx": package_version("onnx"),
        "package": package_version("fathom-onnx"),
        "sources": source_hash(SOURCES["structure"]),
    }


def profile_inputs(job: Job) -> Inputs:
    """The graph file, its data, options, versions, machine, and the code that runs and attributes."""
    from fathom_onnx.runtime.environment import cpu_cores, cpu_model

    options = asdict(job.options)
    return {
        "graph": sha256(job.graph()),
        "data": [*_data(job), *(sha256(Path(name)) for name in job.options.inputs)],
        **({"dimensions": dict(job.options.dimensions)} if job.options.dimensions else {}),
        **({"values": sha256(job.values)} if job.values else {}),
        **{name: options[name] for name in ("ep", "threads", "optimization", "warmup", "steps", "seed")},
        "onnxruntime": _onnxruntime(),
        "python": platform.python_version(),
        "machine": [platform.machine(), cpu_model(), cpu_cores()],
        **device_inputs(job.options),
        "package": package_version("fathom-onnx"),
        "sources": source_hash(SOURCES["profile"]),
    }


def native_inputs(job: Job) -> Inputs:
    """The model, the framework, and options and machine as for a run of the graph."""
    model = {name: value for name, value in export_inputs(job).items() if name not in ("lowering", "sources")}
    run = {name: value for name, value in profile_inputs(job).items() if name in _NATIVE_FACTS}
    return {**model, **run, "sources": source_hash(SOURCES["native"])}


def ceilings_inputs(job: Job) -> Inputs:
    """Provider, threads, onnxruntime and machine as for a run, and the code that measures."""
    facts = {name: value for name, value in profile_inputs(job).items() if name in _CEILINGS_FACTS}
    return {**facts, "sources": source_hash(SOURCES["ceilings"])}


def explain_inputs(job: Job) -> Inputs:
    """The rounds as they were measured, the graph that they ran, and the code that attributes."""
    rounds = [sha256(job.folder / folder / "round.json") for folder in job.rounds]
    run = profile_inputs(job)
    return {"rounds": rounds, "graph": run["graph"], "data": run["data"], "sources": source_hash(SOURCES["profile"])}


def pool_inputs(job: Job) -> Inputs:
    """The runs of each round, and the code that makes one run of them."""
    rounds = [sha256(job.folder / folder / "manifest.json") for folder in job.rounds]
    return {"rounds": rounds, "sources": source_hash(SOURCES["pool"])}


def _onnxruntime() -> dict[str, str]:
    packages = ("onnxruntime", "onnxruntime-gpu")
    return {name: version for name in packages if (version := package_version(name))}


def _data(job: Job) -> list[str]:
    """Name of the data source that feeds a cell with the packages installed, and the version of the one it needs.

    Of a graph file, whose own hash decides the source: the versions of all packages that sources need.
    """
    from fathom_onnx.data import EXAMPLE, usual_source
    from fathom_onnx.data import SOURCES as DATA_SOURCES

    if job.own is not None:
        return [EXAMPLE]  # which the graph's values hold
    if job.source is not None:
        return [package_version(source.needs) for source in DATA_SOURCES.values() if source.needs]
    source = usual_source(job.workload.data)
    return [source.name, package_version(source.needs) if source.needs else ""]
