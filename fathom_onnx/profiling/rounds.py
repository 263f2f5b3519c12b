"""A run in two halves: rounds are measured, each in a process of its own, and then explained as one run.

Measuring takes the machine to itself; explaining does not, and can be done beside other work. Rounds of one graph under
the same settings are explained at once: their nodes are the same ones.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fathom_onnx.analysis.attribution.attribution import Attribution
from fathom_onnx.analysis.runs.control_flow import control_facts
from fathom_onnx.analysis.runs.executed import never_ran
from fathom_onnx.analysis.runs.kernels import device_facts
from fathom_onnx.analysis.runs.memory_use import memory_facts
from fathom_onnx.analysis.runs.pooled import pooled_gauge, round_entry
from fathom_onnx.analysis.runs.run import Run, build_run
from fathom_onnx.analysis.runs.steps import CountedSteps, count_steps
from fathom_onnx.analysis.runs.timeline import write_timeline
from fathom_onnx.dynamic_sizes import dynamic_facts
from fathom_onnx.errors import StepError
from fathom_onnx.runtime.devices.times import DeviceTimes
from fathom_onnx.runtime.environment import environment, graph_facts
from fathom_onnx.runtime.optimized import STRUCTURE
from fathom_onnx.runtime.profiler import (
    ROUND,
    Measurement,
    Progress,
    Round,
    profiled_runs,
    read_rounds,
    record,
)
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.speed.gauge import Gauge
from fathom_onnx.runtime.traces.memory import traced_memory
from fathom_onnx.runtime.traces.shapes import read_shapes

from .attributing import attribute
from .fed import FedGraph
from .output import run_output

__all__ = ["Explained", "explain", "explain_rounds", "measure", "measure_round"]

MOST_BLAMED = 4
"""Drawn inputs that are told, at most, when a step fails."""

Facts = dict[str, Any]


def measure(
    fed: FedGraph,
    settings: SessionSettings,
    place: Path,
    *,
    warmup: int,
    steps: int,
    progress: Progress | None = None,
) -> tuple[Round, Facts]:
    """Measure a graph in this process.

    Args:
        fed: The graph and what it is fed.
        settings: How it runs.
        place: An existing folder for the raw traces; the optimized model is left in ``model`` in it.
        warmup: Steps to run and not to count.
        steps: Steps to run after these, with the profiler and without.
        progress: Told how far it is.

    Returns:
        The round, and what the manifest says of the process: versions, machine, settings, speed.
    """
    gauge = Gauge()
    with _blamed_on(fed.data):
        found = record(
            fed.prepared,
            settings,
            fed.batches,
            place,
            warmup=warmup,
            steps=steps,
            progress=gauge.around(progress),
        )
    return found, {
        **environment(settings, fed.seed, dict(found.provider_options)),
        "data": fed.data,
        "values": str(fed.values) if fed.values else None,
        "gauge": gauge.facts(),
    }


def measure_round(fed: FedGraph, settings: SessionSettings, folder: Path, *, warmup: int, steps: int) -> Facts:
    """Measure a round into a folder, which :func:`explain_rounds` takes; it appears whole or not at all.

    Args:
        fed: The graph and what it is fed.
        settings: How it runs.
        folder: The folder to write; one of another round is replaced.
        warmup: Steps to run and not to count.
        steps: Steps to run after these, with the profiler and without.

    Returns:
        What the manifest will say of the process, the entry ``gauge`` among it.

    Raises:
        UsageError, GraphError, DataError, MissingDependencyError, RunError: As :func:`fathom_onnx.profile`.
        OutputError: The folder cannot be written.
    """
    with run_output(folder, (ROUND,), "a round's folder") as place:
        found, facts = measure(fed, settings, place, warmup=warmup, steps=steps)
        if settings.ep != "cpu":  # what ran elsewhere is refused before more rounds are measured
            read_rounds([found], settings)
        found.save(place, facts)
        shutil.rmtree(place / "model")
    return facts


def explain_rounds(fed: FedGraph, settings: SessionSettings, rounds: Sequence[Path], folder: Path) -> Run:
    """Make one run of the rounds of a graph, into a run folder; the rounds stay as they are.

    Args:
        fed: The graph and what it was fed.
        settings: How it ran.
        rounds: Folders that :func:`measure_round` wrote, in the order in which they were measured.
        folder: The run folder to write; its timeline is of the first round.

    Raises:
        DataError: A folder holds no round.
        RunError: A trace cannot be trusted, or rounds ran different models.
        OutputError: The run folder cannot be written.
    """
    loaded = [Round.load(path) for path in rounds]
    with run_output(folder) as place:
        found = explain(fed, settings, loaded)
        found.save(place)
        shutil.copyfile(rounds[0] / STRUCTURE, place / STRUCTURE)
    return found.run


@dataclass(frozen=True)
class Explained:
    """A run, and what its timeline is made of.

    Attributes:
        run: The run.
        attribution: The attribution of its executed nodes.
        device: Device times of its counted steps; None where no device was recorded.
        traces: The raw traces of its first round.
        skipped: Runs at the start of each of these that do not count.
    """

    run: Run
    attribution: Attribution
    device: DeviceTimes | None
    traces: Sequence[Path]
    skipped: Sequence[int]

    def save(self, folder: Path) -> None:
        """Write the run and the timeline of its first round into a folder."""
        self.run.save(folder)
        steps = profiled_runs(self.traces, self.skipped)
        write_timeline(folder / "timeline.json.gz", steps, self.attribution, self.device)


def explain(fed: FedGraph, settings: SessionSettings, rounds: Sequence[tuple[Round, Facts]]) -> Explained:
    """Attribute every microsecond of some rounds of a graph, and make one run of them.

    Args:
        fed: The graph and what it was fed.
        settings: How it ran.
        rounds: One or more, each with its facts.
    """
    graph = fed.graph
    measurement = read_rounds([one for one, _ in rounds], settings)
    first = measurement.rounds[0]
    attribution = attribute(fed, measurement, settings)
    counted = count_steps(
        measurement.times,
        measurement.step_us,
        [one.control_us for one in measurement.rounds],
        measurement.session_steps,
        measurement.warmup,
    )
    device = measurement.device.without(counted.dropped) if measurement.device else None
    manifest = {
        **graph_facts(graph),
        **rounds[0][1],
        **_measurement_facts(measurement, settings),
        **counted.facts(),
        "gauge": rounds[0][1]["gauge"] if len(rounds) == 1 else pooled_gauge([facts["gauge"] for _, facts in rounds]),
        "device_time": device_facts(device, measurement.recorded, counted.control_us)
        if device and measurement.recorded
        else None,
        "nodes_never_ran": never_ran(attribution, counted.times),
        "dynamic": dynamic_facts(graph, fed.prepared, measurement.optimized, settings, kept=fed.keep_dynamic)
        if graph.given_sizes
        else None,
        "control_flow": control_facts(attribution, counted.times),
        "memory": memory_facts(
            graph, measurement.optimized, attribution, counted.times.names, traced_memory(first.traces[0])
        ),
    }
    shapes = read_shapes(measurement.traces, counted.skipped)
    run = build_run(attribution, counted.times, counted.step_us, manifest, graph, device, measurement.optimized, shapes)
    if len(rounds) > 1:
        each = _each_round(run, measurement, counted, [facts for _, facts in rounds])
        run = replace(run, manifest={**run.manifest, "rounds": each})
    return Explained(run, attribution, device, first.traces, counted.skipped[: len(first.traces)])


def _measurement_facts(measurement: Measurement, settings: SessionSettings) -> Facts:
    return {
        "custom_ops": [library.name for library in settings.custom_ops],
        "node_times": measurement.node_times,
        "warmup": measurement.warmup,
        "steps_asked": len(measurement.step_us),
        "sessions": len(measurement.traces),
        "optimized_nodes": len(measurement.optimized.graph.node),
        "nodes_elsewhere": len(measurement.foreign),
        "device_copies_per_step": measurement.copies,
        **measurement.placed.facts(),
    }


def _each_round(
    run: Run, measurement: Measurement, counted: CountedSteps, facts: Sequence[Facts]
) -> list[dict[str, Any]]:
    """What each round says by itself: number of counted steps, start, gauge, medians of its times."""
    checks = iter(counted.profiled)  # one a session
    walls = run.steps["wall_us"].to_numpy(float)
    each, start = [], 0
    for one, said, control_us in zip(measurement.rounds, facts, counted.control_series, strict=True):
        steps = sum(taken - next(checks).steps for taken in one.session_steps)
        mine = slice(start, start + steps)
        times = {
            "control_us": float(np.median(control_us)),
            "step_us": float(np.median(walls[mine])),
            "node_time_us": float(np.median(run.samples[mine], axis=0).sum()),
        }
        each.append(round_entry(steps, said, times))
        start += steps
    return each


@contextlib.contextmanager
def _blamed_on(data: dict[str, Any]) -> Iterator[None]:
    """What onnxruntime says of a step that failed, with how the inputs were drawn that the graph may not take so.

    Values of floating-point inputs are no cause of a failure, unless they are used as whole numbers.
    """
    try:
        yield
    except StepError as error:
        plain = "drawn from a normal distribution"
        drawn = [f"{name} {said}" for name, said in data["inputs"].items() if "drawn" in said and plain not in said]
        if not drawn or "memory" in error.fix:  # which no other values would save
            raise
        shown = "; ".join(drawn[:MOST_BLAMED]) + (f"; and {len(drawn) - MOST_BLAMED} more" * (len(drawn) > MOST_BLAMED))
        raise StepError(f"{error.message}, fed with {shown}", "give real values with --inputs FILE.npz") from error
