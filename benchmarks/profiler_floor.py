"""What onnxruntime's profiler costs at each node, and where: inside the nodes' durations or outside them.

    python benchmarks/profiler_floor.py

Chains of a thousand small nodes are profiled on one thread. Of all steps of several profiles the fastest one is shown,
and the fastest unprofiled one: other work on the machine slows a step down and never speeds one up. Microseconds a
node.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

from fathom_onnx.graph import Graph, from_model
from fathom_onnx.profiling import profile

NODES = 1000
CHAINS = {
    "Neg of 1 float": ("Neg", 1, 1),
    "Add of 1 float": ("Add", 2, 1),
    "Sum of 4 x 1 float": ("Sum", 4, 1),
    "Add of 1,000 floats": ("Add", 2, 1000),
}
"""Title to op type, inputs, elements."""


def chain(op_type: str, inputs: int, width: int) -> Graph:
    """A chain of nodes: each takes what the one before it gave, and the graph's input as often as it must."""
    nodes = []
    for index in range(NODES):
        before = f"t{index - 1}" if index else "x"
        nodes.append(helper.make_node(op_type, [before] + ["x"] * (inputs - 1), [f"t{index}"], f"n{index}"))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [width]) for n in ("x", f"t{NODES - 1}"))
    graph = helper.make_graph(nodes, "chain", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return from_model(onnx.shape_inference.infer_shapes(made), "chain")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=8)
    repeats = parser.parse_args().repeats
    print("| 1,000 nodes | unprofiled | profiled | in nodes | outside nodes | cost inside | cost outside |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for title, (op_type, inputs, width) in CHAINS.items():
        feeds = {"x": np.full(width, 1e-3, np.float32)}
        graph = chain(op_type, inputs, width)
        runs = [profile(graph, threads=1, warmup=3, steps=20, optimization="none", feeds=feeds) for _ in range(repeats)]
        control = min(min(run.manifest["control_steps_us"]) for run in runs)
        step = pd.concat([run.steps for run in runs]).nsmallest(1, "wall_us").iloc[0]
        told = [control, step["wall_us"], step["node_us"], step["outside_us"]]
        inside = told[2] - control
        cells = " | ".join(f"{us / NODES:.2f}" for us in (*told, inside, step["wall_us"] - control - inside))
        print(f"| {title} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
