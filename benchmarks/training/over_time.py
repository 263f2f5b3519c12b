"""Whether op times change as training goes on: the same graph with starting and with trained weights, in turns."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fathom_onnx.data import batches_for
from fathom_onnx.exporting import ExportRequest, export_graph
from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import profile
from fathom_onnx.runtime.evaluate import Evaluator
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.training import CheckpointFolder, CheckpointPlan, train
from fathom_onnx.training.noise import take_noise_out
from fathom_onnx.workloads import workload

__all__ = ["columns", "flush_subnormals", "measure", "row_cells"]

STEPS = {
    "seq2seq": 150,
    "memnet": 3800,
    "speech": 120,
    "autoenc": 1500,
    "residual": 60,
    "vgg": 60,
    "alexnet": 140,
    "deepq": 600,
}
"""Workload to the steps that it is trained for, which take some twenty seconds."""


def flush_subnormals() -> None:
    """Have every session of this process take numbers below the normal range for zero.

    To be called before the first session is opened: the one that a thread opens first decides for it.
    """

    class Flushing(onnxruntime.SessionOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.add_session_config_entry("session.set_denormal_as_zero", "1")

    onnxruntime.SessionOptions = Flushing


def measure(name: str, rounds: int) -> dict[str, Any]:
    """A workload at the small preset, PyTorch's graph, one thread: before and after training."""
    spec = workload(name, "small")
    graph = export_graph("torch", ExportRequest(spec, "training", purpose="onnxruntime"))
    settings = SessionSettings(threads=1)
    few = list(itertools.islice(batches_for(spec, "training", 0), 1))
    steps = STEPS[name]
    with tempfile.TemporaryDirectory() as place:
        folder = CheckpointFolder(Path(place))
        run = train(graph, batches_for(spec, "training", 0), steps, settings, kept=CheckpointPlan(folder))
        (checkpoint,) = folder.paths()
        weights = {"before": None, "after": checkpoint}
        pairs = [
            {when: profile(graph, threads=1, steps=5, values=path) for when, path in weights.items()}
            for _ in range(rounds)
        ]
    ratios = [pair["after"].node_time_us / pair["before"].node_time_us for pair in pairs]
    shares = {
        when: {c: statistics.median(_share(pair[when], c) for pair in pairs) for c in "ABCDEFG"} for when in weights
    }
    # from one round to another of the same weights: what a difference has to exceed
    floor = max(
        max(_share(p[when], c) for p in pairs) - min(_share(p[when], c) for p in pairs)
        for when in weights
        for c in "ABCDEFG"
    )
    start = variable_values(graph, 0)
    return {
        "section": "values",
        "workload": name,
        "steps": steps,
        "losses": [run.losses[0], run.losses[-1]],
        "ratios": ratios,
        "shares": shares,
        "floor": floor,
        "numbers": {
            "before": _numbers(graph, few[0], start),
            "after": _numbers(graph, few[0], {**start, **run.values}),
        },
    }


def _share(run: Any, letter: str) -> float:
    table = run.by_class()
    return float(table[table["name"].str.startswith(letter)]["share"].sum())


def _numbers(graph: Graph, batch: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, float | None]:
    """Zeros among what ReLUs give and among gradients of parameters; subnormal numbers among gradients and state."""
    fed, noise, _ = take_noise_out(graph)
    model = onnx.ModelProto()
    model.CopyFrom(fed.model)
    rectified = [n.output[0] for n in model.graph.node if n.op_type == "Relu"]
    given = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in rectified if n not in given)
    step = Evaluator(from_model(model, graph.name), SessionSettings(threads=1)).step(
        {**values, **batch, **{n.name: n.sampler(0)(1) for n in noise}}
    )
    gradients = np.concatenate([np.asarray(g).ravel() for g in step.gradients.values()])
    next_state = [step.outputs[t.name] for t in graph.outputs if t.name.endswith(".next") and t.dtype == "float32"]
    state = np.concatenate([value.ravel() for value in next_state])
    shown = np.concatenate([step.outputs[n].ravel() for n in rectified]) if rectified else None
    return {
        "zeros after ReLU": None if shown is None else float((shown == 0).mean()),
        "zero gradients": float((gradients == 0).mean()),
        "subnormal gradients": _subnormal(gradients),
        "subnormal state": _subnormal(state),
    }


def _subnormal(values: Any) -> float:
    size = np.abs(values)
    return float(((size > 0) & (size < np.finfo("float32").tiny)).mean())


def columns() -> list[str]:
    """Heads of the table."""
    numbers = [
        "subnormal numbers",
        "steps",
        "loss",
        "node time, after over before",
        "spread",
        "largest change of a class's share",
        "largest change between rounds",
        "zeros after ReLU",
        "zero gradients",
        "subnormal gradients",
        "subnormal state",
    ]
    return ["workload", *(f"{name}:" for name in numbers)]


def row_cells(row: dict[str, Any]) -> list[str]:
    """The line of a workload."""
    before, after = row["shares"]["before"], row["shares"]["after"]
    most = max(before, key=lambda c: abs(after[c] - before[c]))
    ratios = row["ratios"]
    return [
        row["workload"],
        "taken for zero" if row.get("flushed") else "kept",
        f"{row['steps']:,}",
        f"{row['losses'][0]:.3g} to {row['losses'][1]:z.3g}",
        f"{statistics.median(ratios):.3f}",
        f"{min(ratios):.3f} to {max(ratios):.3f}",
        f"{most} {100 * (after[most] - before[most]):+.1f} points",
        f"{100 * row['floor']:.1f} points",
        *(_change(row["numbers"], key) for key in row["numbers"]["before"]),
    ]


def _change(numbers: Mapping[str, Mapping[str, float | None]], key: str) -> str:
    before, after = numbers["before"][key], numbers["after"][key]
    return "none" if before is None or after is None else f"{100 * before:.2g} to {100 * after:.2g} %"
