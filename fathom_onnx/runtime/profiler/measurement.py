"""What rounds say: the times of the steps of all of them, and where the nodes ran."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from fathom_onnx.errors import RunError
from fathom_onnx.graph.bodies import numbered
from fathom_onnx.runtime.devices.recorded import times_alone
from fathom_onnx.runtime.devices.times import DeviceTimes, RecordedSteps, device_times
from fathom_onnx.runtime.node_times import NodeTimes, host_node_times
from fathom_onnx.runtime.providers.names import PROVIDERS
from fathom_onnx.runtime.providers.placement import MEMCPY, Placement, placement, refuse_compute
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.traces.runs import KnownNodes, StepRun, read_session
from fathom_onnx.runtime.traces.steps import StepTimes, step_times

from .round import Round

__all__ = ["Measurement", "foreign_nodes", "profiled_runs", "read_rounds", "same_nodes"]

_BODIES = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
"""Types of attributes whose nodes are numbered themselves."""


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes:
        optimized: The model as it was run, nodes under their names before renaming; large weights not loaded.
        times: Times of the profiled steps of all rounds, by executed name ``k<number>``; the device's where it was
            recorded.
        node_times: What these times are.
        device: What was recorded of the device; None where nothing was.
        recorded: Steps that were recorded and not profiled; None where nothing was recorded.
        rounds: The rounds.
        foreign: Executed name to provider, for nodes that ran on another provider than the one asked for.
        copies: Copies between devices that onnxruntime inserted, per step.
        placed: Where the node time went, with nodes elsewhere and copies by name.
    """

    optimized: onnx.ModelProto
    times: StepTimes
    node_times: NodeTimes
    device: DeviceTimes | None
    recorded: RecordedSteps | None
    rounds: tuple[Round, ...]
    foreign: dict[str, str]
    copies: float
    placed: Placement

    @property
    def traces(self) -> tuple[Path, ...]:
        """The compressed raw traces of all rounds."""
        return tuple(trace for one in self.rounds for trace in one.traces)

    @property
    def session_steps(self) -> tuple[int, ...]:
        """Steps that were counted in each session, one a trace."""
        return tuple(steps for one in self.rounds for steps in one.session_steps)

    @property
    def step_us(self) -> tuple[float, ...]:
        """Wall time of the profiled steps."""
        return tuple(us for one in self.rounds for us in one.step_us)

    @property
    def warmup(self) -> int:
        """Runs at the start of each trace that are not counted."""
        return self.rounds[0].warmup


def profiled_runs(traces: Sequence[Path], warmup: Sequence[int]) -> Iterator[StepRun]:
    """The counted runs of some traces, without the first ``warmup`` runs of each."""
    known = KnownNodes()
    for path, skipped in zip(traces, warmup, strict=True):
        yield from itertools.islice(read_session(path, known), skipped, None)


def foreign_nodes(times: StepTimes, settings: SessionSettings) -> dict[str, str]:
    """Executed name to provider, for the nodes that did not run where they were asked to."""
    wanted = PROVIDERS[settings.ep].full_name
    return {name: ran_on for name, ran_on in zip(times.names, times.providers, strict=True) if ran_on != wanted}


def read_rounds(rounds: Sequence[Round], settings: SessionSettings) -> Measurement:
    """The times of some rounds of one graph.

    Args:
        rounds: One or more, with the same number of warm-up steps; a node's number means the same node in all of them.
        settings: How they ran.

    Raises:
        RunError: Rounds ran different models, nodes ran on another provider than the one asked for, or a trace is
            broken.
    """
    first = rounds[0]
    if any(not same_nodes(first.optimized, other.optimized) for other in rounds[1:]):
        raise RunError("onnxruntime made different models of the graph in different rounds", "measure it in one round")
    traces = [trace for one in rounds for trace in one.traces]
    warmup = [one.warmup for one in rounds for _ in one.traces]
    steps = sum(len(one.step_us) for one in rounds)
    times = step_times(profiled_runs(traces, warmup))
    if len(times.run_us) != steps:
        raise RunError(f"the traces hold {len(times.run_us)} of {steps} profiled steps", "profile again")
    foreign = foreign_nodes(times, settings)
    placed = placement(times, first.optimized, settings.ep, traces[0])
    if not settings.allow_fallback:
        refuse_compute(placed.elsewhere, settings.ep)
    recordings = [recording for one in rounds for recording in one.recordings]
    device = None
    if recordings:
        runs = [list(profiled_runs([trace], [skipped])) for trace, skipped in zip(traces, warmup, strict=True)]
        device = device_times(runs, recordings, PROVIDERS[settings.ep].full_name)
        times = device.times  # shares and copies are then of the device's time
        placed = placement(times, first.optimized, settings.ep, traces[0])
    alone = [one.alone for one in rounds if one.alone is not None]
    copied = [int(times.calls[:, i].sum()) for i, kind in enumerate(times.op_types) if kind in MEMCPY]
    return Measurement(
        optimized=first.optimized,
        times=times,
        node_times="device" if device else host_node_times(settings),
        device=device,
        recorded=times_alone(alone, PROVIDERS[settings.ep].full_name) if alone else None,
        rounds=tuple(rounds),
        foreign=foreign,
        copies=sum(copied) / steps,
        placed=placed,
    )


def same_nodes(model: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether the nodes of two models are the same ones in the same order, whatever they and their values are called.

    onnxruntime names what it inserts, such as changes of layout, anew in every session.
    """
    return model.graph.node == other.graph.node or _wiring(model) == _wiring(other)


def _wiring(model: onnx.ModelProto) -> list[tuple[object, ...]]:
    """Op, domain and attributes of each node, and its inputs and outputs numbered by their first use."""
    number: dict[str, int] = {"": -1}
    return [
        (
            entry.parent,
            entry.body,
            entry.node.op_type,
            entry.node.domain,
            tuple(a.SerializeToString(deterministic=True) for a in entry.node.attribute if a.type not in _BODIES),
            tuple(number.setdefault(name, len(number)) for name in entry.node.input),
            tuple(number.setdefault(name, len(number)) for name in entry.node.output),
        )
        for entry in numbered(model.graph)
    ]
