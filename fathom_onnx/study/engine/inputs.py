"""What the result of each stage depends on: graphs, versions, source, options, machine.

Stored results are found again under a hash of these (see :mod:`.store`); what is left out here is taken to make no
difference.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, replace
from typing import Any

from fathom_onnx.study.cells.plan import Job
from fathom_onnx.versions import package_version

from .providers import device_inputs
from .store import exporter_facts, sha256, source_hash

__all__ = ["ceilings_inputs", "export_inputs", "native_inputs", "profile_inputs", "structure_inputs", "verify_inputs"]

Inputs = dict[str, Any]

_EXPORT_SOURCES = ("graph", "workloads", "vocabulary.py", "exporting.py")
_STRUCTURE_SOURCES = ("graph", "vocabulary.py", "analysis")
_SHOWING = (
    *("__init__.py", "__main__.py", "api.py", "cli", "compat", "convert", "native.py", "native_profiling.py", "study"),
    *("analysis/claims.py", "analysis/clusters.py", "analysis/comparison.py", "analysis/distances.py"),
    *("analysis/drawing.py", "analysis/evidence.py", "analysis/figures.py", "analysis/findings.py"),
    *("analysis/inspect.py", "analysis/mix_judgements.py", "analysis/model_explorer.py", "analysis/native_run.py"),
    *("analysis/netron.py", "analysis/overlays.py", "analysis/paper.py", "analysis/paper_figures.py"),
    *("analysis/placement.py", "analysis/profiles.py", "analysis/report.py", "analysis/report_parts.py"),
    *("analysis/resampling.py", "analysis/roofline.py", "analysis/roofline_figure.py", "analysis/run_facts.py"),
    *("analysis/significance.py", "analysis/similarity.py", "analysis/time_judgements.py", "analysis/verdicts.py"),
    *("analysis/provider_comparison.py", "analysis/provider_figures.py", "analysis/workload_figures.py"),
    *("runtime/ceilings.py", "runtime/usable.py"),
)
"""What only shows results, or orders the work: a change there makes no result wrong."""

_CEILING_FACTS = ("ep", "threads", "onnxruntime", "machine", "gpu")
_CEILING_SOURCES = tuple(f"runtime/{name}.py" for name in ("ceilings", "prepare", "providers", "session", "settings"))
_NATIVE_FACTS = ("data", "threads", "warmup", "steps", "seed", "python", "machine")
_NATIVE_SOURCES = (
    *("data", "workloads", "vocabulary.py", "native.py", "native_profiling.py"),
    *("analysis/native_run.py", "analysis/optable.py"),
)


def _onnxruntime() -> dict[str, str]:
    return {name: found for name in ("onnxruntime", "onnxruntime-gpu") if (found := package_version(name))}


def export_inputs(job: Job) -> Inputs:
    """What a cell's graph is made from: configuration, purpose, source, the framework and what else makes it."""
    return {
        "workload": job.cell.workload,
        "mode": job.cell.mode,
        "framework": job.cell.framework,
        "preset": job.options.preset,
        "config": asdict(job.workload.config),
        "lowering": job.options.purpose,
        "package": package_version("fathom-onnx"),
        "sources": source_hash(_EXPORT_SOURCES),
        **exporter_facts(job.cell.framework),
    }


def _data(job: Job) -> list[str]:
    """The data source that feeds a cell, which depends on what is installed, and the version of what it needs."""
    from fathom_onnx.data import usual_source

    used = usual_source(job.workload.data)
    return [used.name, package_version(used.needs) if used.needs else ""]


def verify_inputs(job: Job) -> Inputs:
    """The graphs' own inputs, and all code but that which only shows results: it judges, and feeds the graphs."""
    made = [export_inputs(replace(job, cell=cell, others=())) for cell in (job.cell, *job.others)]
    return {
        "graphs": made,
        "data": _data(job),
        "steps": job.options.checked_steps,
        "seed": job.options.seed,
        "threads": job.options.threads,
        "onnxruntime": _onnxruntime(),
        "sources": source_hash(without=_SHOWING),
    }


def structure_inputs(job: Job) -> Inputs:
    """The graph file and the code that models its cost."""
    return {
        "graph": sha256(job.graph()),
        "onnx": package_version("onnx"),
        "package": package_version("fathom-onnx"),
        "sources": source_hash(_STRUCTURE_SOURCES),
    }


def profile_inputs(job: Job) -> Inputs:
    """The graph file, what feeds it, options, versions, machine, and all code but that which only shows results."""
    from fathom_onnx.runtime.environment import cpu_cores, cpu_model

    options = asdict(job.options)
    return {
        "graph": sha256(job.graph()),
        "data": _data(job),
        **{name: options[name] for name in ("ep", "threads", "optimization", "warmup", "steps", "seed")},
        "onnxruntime": _onnxruntime(),
        "python": platform.python_version(),
        "machine": [platform.machine(), cpu_model(), cpu_cores()],
        **device_inputs(job.options),
        "package": package_version("fathom-onnx"),
        "sources": source_hash(without=(*_SHOWING, "verification")),
    }


def native_inputs(job: Job) -> Inputs:
    """The model, the framework, and options and machine as for a run of the graph."""
    made = {name: value for name, value in export_inputs(job).items() if name not in ("lowering", "sources")}
    run = {name: value for name, value in profile_inputs(job).items() if name in _NATIVE_FACTS}
    return {**made, **run, "sources": source_hash(_NATIVE_SOURCES)}


def ceilings_inputs(job: Job) -> Inputs:
    """Provider, threads, onnxruntime and machine as for a run, and the code that measures."""
    facts = {name: value for name, value in profile_inputs(job).items() if name in _CEILING_FACTS}
    return {**facts, "sources": source_hash(_CEILING_SOURCES)}
