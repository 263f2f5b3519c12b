"""Measure what the form of the gradients costs in onnxruntime, and write it into ``docs/results/measurements.md``.

    python benchmarks/lowerings.py            # the workloads whose training graphs have two forms, small preset

Each workload's training graph is made in both forms; their steps are taken in turn in one process, so that whatever
else the machine does falls on both alike.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from documents import table
from measure import THREADS, write

from fathom_onnx.analysis.cost.node_costs import graph_costs
from fathom_onnx.data import batches_for_graph
from fathom_onnx.exporting import PURPOSES, ExportRequest, export_file
from fathom_onnx.graph import load
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.workloads import workload

WORKLOADS = ("residual", "vgg", "alexnet", "deepq")
STEPS, WARMUP = 15, 3


def main() -> None:
    """One row a workload."""
    rows = []
    for name in sys.argv[1:] or WORKLOADS:
        steppers, nodes, macs = {}, {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for purpose in PURPOSES:
                path = Path(folder) / f"{purpose}.onnx"
                export_file("torch", ExportRequest(workload(name, "small"), "training", purpose=purpose), path)
                graph = load(path)
                nodes[purpose] = len(graph.model.graph.node)
                macs[purpose] = sum(cost.macs or 0 for cost in graph_costs(graph))
                settings = SessionSettings("cpu", THREADS)
                steppers[purpose] = open_stepper(prepare(graph, variable_values(graph, 0)), settings)
                batch = next(iter(batches_for_graph(graph, 0)))
        times: dict[str, list[float]] = {purpose: [] for purpose in steppers}
        for _ in range(WARMUP + STEPS):
            for purpose, stepper in steppers.items():
                times[purpose].append(stepper.step(batch) * 1e3)
        plain, fast = (statistics.median(times[p][WARMUP:]) for p in ("simulators", "onnxruntime"))
        rows.append(
            [
                name,
                *(f"{nodes[p]:,}" for p in ("simulators", "onnxruntime")),
                *(f"{macs[p]:,}" for p in ("simulators", "onnxruntime")),
                *(f"{plain:.1f}", f"{fast:.1f}", f"{plain / fast - 1:+.1%}"),
            ]
        )
        print(rows[-1], file=sys.stderr, flush=True)
    columns = (
        "training step | nodes, simulators: | nodes, onnxruntime: | MACs, simulators: | MACs, onnxruntime: | "
        "ms, simulators: | ms, onnxruntime: | costs:"
    )
    write("lowerings", table(columns.split(" | "), rows), " ".join(["lowerings.py", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
