"""Measure how much of the node time of third-party graphs and of ours is attributed, at every optimization level.

    python benchmarks/attribution.py                     # every graph and level; Markdown tables
    python benchmarks/attribution.py --only bert resnet  # graphs whose name holds one of these
    python benchmarks/attribution.py --only scaling      # how the time of mapping grows with the graph

Third-party graphs are exported here (``attribution_models.py``), which needs torch, tensorflow, tf2onnx and
onnxruntime. Each graph and level is profiled in a process of its own. ``outputs equal`` compares, bit for bit, one
step of the model that was profiled with one of an ordinary session, state included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attribution_models import MODELS

OURS = (
    ("residual", "torch", "training", "small"),
    ("residual", "tensorflow", "inference", "small"),
    ("autoenc", "torch", "training", "small"),
    ("memnet", "tensorflow", "training", "small"),
    ("seq2seq", "torch", "training", "tiny"),
    ("speech", "tensorflow", "training", "tiny"),
)
"""Workload, framework, mode and preset of our own graphs that are measured beside the others."""

RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
STEPS, WARMUP, THREADS = 7, 2, 2
SIZES = (5_000, 10_000, 20_000, 50_000)


def _ours(name: str) -> tuple[str, ...]:
    return next(row for row in OURS if " ".join(row) == name)


def export(name: str, path: Path) -> None:
    """Write the graph of that name."""
    if name in MODELS:
        MODELS[name](path)
        return
    from fathom_onnx.exporting import ExportRequest, export_file
    from fathom_onnx.workloads import workload

    work, framework, mode, preset = _ours(name)
    export_file(framework, ExportRequest(workload(work, preset=preset), mode), path)  # type: ignore[arg-type]


def measure_one(path: Path, level: str) -> dict[str, Any]:
    """Profile and attribute a graph at one level, in this process."""
    from fathom_onnx.analysis.run import build_run
    from fathom_onnx.data import batches_for_graph
    from fathom_onnx.graph import load
    from fathom_onnx.profiling import explain
    from fathom_onnx.runtime.prepare import prepare
    from fathom_onnx.runtime.profiler import measure
    from fathom_onnx.runtime.session import open_stepper
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.runtime.weights import variable_values

    graph = load(path)
    batch = next(iter(batches_for_graph(graph, 0)))
    prepared = prepare(graph, variable_values(graph, 0), 0)
    _seed(prepared.model)
    settings = SessionSettings(threads=THREADS, optimization=level)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(prepared, settings, [batch], Path(folder), warmup=WARMUP, steps=STEPS)
        started = time.perf_counter()
        attribution = explain(graph, prepared, measured, batch)
        seconds = time.perf_counter() - started
        renamed = open_stepper(prepared, settings, model=measured.model_folder / "renamed.onnx")
        equal = _same(renamed, open_stepper(prepared, settings), batch)
    manifest = {"control_steps_us": list(measured.control_us), "warmup": WARMUP, "steps": STEPS}
    run = build_run(attribution, measured.times, measured.step_us, manifest)
    total = run.node_time_us
    rest = run.unattributed()
    reasons: Counter[str] = Counter()
    for kind, us, reason in zip(rest["op_type"], rest["us"], rest["reason"], strict=True):
        reasons[f"{kind}: {reason}"] += us
    charged = run.nodes[run.nodes["kind"] == "charged"].groupby("op_type")["median_us"].sum()
    return {
        "originals": len(attribution.originals),
        "states": dict(Counter(attribution.state_of(e.index) for e in attribution.originals)),
        "executed": len(run.nodes),
        "node_us": total,
        **{kind: run.kind_us(kind) / total for kind in ("attributed", "charged", "unattributed")},
        "split": float(run.nodes.loc[run.nodes["split"], "median_us"].sum()) / total,
        "reasons": {why: us / total for why, us in reasons.most_common(3)},
        "charged_ops": {op: us / total for op, us in charged.nlargest(3).items()},
        "equal": equal,
        "seconds": seconds,
    }


def _seed(model: Any) -> None:
    """Give the graph's own random ops a seed: without one they draw by their place in the graph, which changes."""
    from onnx import helper

    for number, node in enumerate(model.graph.node):
        if node.op_type in RANDOM and not any(a.name == "seed" for a in node.attribute):
            node.attribute.append(helper.make_attribute("seed", float(number + 1)))


def _same(first: Any, second: Any, batch: Mapping[str, Any]) -> bool:
    """Whether one step of both gives the same bits."""
    values = []
    for stepper in (first, second):
        stepper.step(batch)
        values.append({**stepper.results(), **stepper.state()})
    here, there = values
    return here.keys() == there.keys() and all(
        v.dtype == there[n].dtype and np.asarray(v).tobytes() == np.asarray(there[n]).tobytes() for n, v in here.items()
    )


def child(*arguments: object) -> dict[str, Any]:
    """A job in a process of its own."""
    command = [sys.executable, __file__, "one", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure what is asked for and print it."""
    if sys.argv[1:2] == ["one"]:
        what, name, path, level = sys.argv[2:]
        print(json.dumps(measure_one(Path(path), level) if what == "run" else export(name, Path(path)) or {}))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="graphs whose name holds one of these")
    parser.add_argument("--keep", type=Path, help="folder of exported graphs, kept and used again")
    parser.add_argument("--level", nargs="+", default=["none", "basic", "extended", "all"])
    arguments = parser.parse_args()
    names = [n for n in [*MODELS, *map(" ".join, OURS)] if any(part in n for part in arguments.only)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if names:
            print("| graph | level | nodes | executed | node time, us | attributed | charged | unattributed | split |")
        for name in names:
            path = folder / (name.replace(",", "").replace(" ", "-") + ".onnx")
            if not path.exists():
                child("export", name, path, "-")
            for level in arguments.level:
                row = child("run", name, path, level)
                print(name, level, json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
