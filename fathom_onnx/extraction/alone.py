"""The time of a part alone, beside its time in the run that it is from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fathom_onnx.analysis.runs import Run
from fathom_onnx.errors import UsageError
from fathom_onnx.graph import load
from fathom_onnx.profiling import profile_graph
from fathom_onnx.runtime.environment import cpu_cores
from fathom_onnx.runtime.profiler import Progress
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.settings import OPTIMIZATIONS, SessionSettings

from .subjects import Subject

__all__ = ["Timing", "settings_of", "time_alone", "time_in_run"]


@dataclass(frozen=True)
class Timing:
    """Time of one execution, microseconds.

    Attributes:
        us: Median over the steps.
        q1_us: First quartile.
        q3_us: Third quartile.
        steps: Steps that count.
        calls: Executions in a step, over which its time is divided.
    """

    us: float
    q1_us: float
    q3_us: float
    steps: int
    calls: float


def _timing(samples: Any, calls: float) -> Timing:
    per_call = np.asarray(samples, float) / max(calls, 1.0)
    q1, median, q3 = np.percentile(per_call, [25, 50, 75])
    return Timing(float(median), float(q1), float(q3), len(per_call), calls)


def time_in_run(run: Run, subject: Subject) -> Timing:
    """What a subject took in its run, the nodes in its bodies included.

    Of an executed node its own time, of original nodes the time attributed to them.
    """
    if subject.rows:
        samples = run.samples[:, list(subject.rows)].sum(axis=1)
        return _timing(samples, float(run.nodes["calls"].iloc[subject.rows[0]]))
    table = run.attribution
    mine = table[(table["kind"] == "attributed") & table["original"].isin(subject.originals)]
    weights = np.zeros(len(run.nodes))
    np.add.at(weights, mine["executed"].to_numpy(int), mine["weight"].to_numpy(float))
    # nodes in bodies run more often than the subject
    own = mine[mine["original"].isin(subject.originals[: len(subject.nodes)])]["executed"].to_numpy(int)
    calls = run.nodes["calls"].to_numpy(float)[own]
    return _timing(run.samples @ weights, float(calls.max()) if len(calls) else 0.0)


def settings_of(run: Run, subject: Subject, custom_ops: tuple[Path, ...] = ()) -> SessionSettings:
    """The settings under which a subject is run alone: those of its run, but that an executed node is left as it is.

    Args:
        run: The run.
        subject: What is run.
        custom_ops: Libraries of operators of someone's own.

    Raises:
        UsageError: The run is of a provider that is not one of ours.
    """
    manifest = run.manifest
    if manifest["provider"] not in PROVIDERS:
        raise UsageError(f"a graph cannot be run on '{manifest['provider']}' here", "write it with --no-run")
    level = manifest.get("optimization") if manifest.get("optimization") in OPTIMIZATIONS else "all"
    return SessionSettings(
        manifest["provider"],
        manifest.get("threads") or cpu_cores(),
        "none" if subject.kind == "executed" else level,  # type: ignore[arg-type]  # one of them
        tf32=bool(manifest.get("tf32")),
        serialize=bool(manifest.get("serialize")),
        custom_ops=custom_ops,
    )


def time_alone(
    path: Path,
    settings: SessionSettings,
    *,
    warmup: int = 3,
    steps: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Timing, Run]:
    """Profile a part that was cut out; its nodes' time together, and the whole run.

    Args:
        path: The file of the part.
        settings: How it runs.
        warmup: Steps to run and not to count.
        steps: Steps to count.
        seed: Of the values of its inputs.
        progress: Told how far it is.
    """
    run = profile_graph(load(path), settings, warmup=warmup, steps=steps, seed=seed, progress=progress)
    attributed = (run.nodes["kind"] == "attributed").to_numpy()
    return _timing(run.samples[:, attributed].sum(axis=1), 1.0), run
