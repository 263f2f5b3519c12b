"""ZigZag's latency and energy of a graph on the TPU-like accelerator that comes with it.

Layers that are alike (op, shapes, attributes) are simulated once and counted as often as they are there; layers run one
after the other.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from answer import Answer, answer

LAYERS = ("Conv", "Gemm", "MatMul")


def distinct(model: Any) -> tuple[Any, Counter[str]]:
    """A model with one layer of each kind, and how often each, by name, is there."""
    import onnx

    graph = model.graph
    infos = {i.name: i for i in (*graph.value_info, *graph.input, *graph.output)}
    made = {name for node in graph.node for name in node.output}

    def shape(name: str) -> str:
        return str([d.dim_value for d in infos[name].type.tensor_type.shape.dim]) if name in infos else ""

    first: dict[tuple[str, ...], Any] = {}
    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type not in LAYERS:
            continue
        attributes = sorted(str(attribute) for attribute in node.attribute)
        operands = [f"{shape(name)}{name in made}" for name in node.input]
        key = (node.op_type, shape(node.output[0]), *operands, *attributes)
        counts[first.setdefault(key, node).name] += 1
    given = {name for node in first.values() for name in node.input if name in made}
    # what a node gave is still given by one, which ZigZag has no layer for
    nodes = [onnx.helper.make_node("Identity", [f"{name}/given"], [name], name=f"{name}/given") for name in given]
    reduced = onnx.helper.make_graph(
        [*nodes, *first.values()], "distinct", list(graph.input), list(graph.output), value_info=list(infos.values())
    )
    return onnx.helper.make_model(reduced, opset_imports=model.opset_import), counts


def look(path: str) -> Answer:
    """Simulate every kind of layer; cycles, and energy in picojoules."""
    import onnx
    import zigzag
    from zigzag.api import get_hardware_performance_zigzag

    inputs = Path(zigzag.__file__).parent / "inputs"
    model, counts = distinct(onnx.load(path))
    with tempfile.TemporaryDirectory() as folder:
        found = get_hardware_performance_zigzag(
            model,
            str(inputs / "hardware/tpu_like.yaml"),
            str(inputs / "mapping/tpu_like.yaml"),
            opt="latency",
            dump_folder=folder,
            lpf_limit=3,
            nb_spatial_mappings_generated=1,
            loma_show_progress_bar=False,
        )
    layers = []
    for evaluation, _ in found[-1][0][1]:
        name = evaluation.layer.name
        layers.append(
            {
                "name": name,
                "times": counts[name],
                "macs": int(evaluation.layer.total_mac_count),
                "cycles": float(evaluation.latency_total2),
                "energy_pj": float(evaluation.energy_total),
            }
        )
    total = {key: sum(row["times"] * row[key] for row in layers) for key in ("macs", "cycles", "energy_pj")}
    return {**total, "layers": layers}


if __name__ == "__main__":
    sys.exit(answer(look, importlib.metadata.version("zigzag-dse")))
