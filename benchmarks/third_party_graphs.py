"""Inspect and profile graphs that other tools made, and compare every count with one that is not ours.

    python benchmarks/third_party_graphs.py                # every graph; a Markdown table
    python benchmarks/third_party_graphs.py --only bert    # graphs whose name holds one of these

The graphs are made here by torch's two exporters, transformers, Keras with tf2onnx, scikit-learn with skl2onnx,
onnxruntime's quantizers, its transformer optimizer and its graph optimizer (``third_party/``). Needs transformers and
skl2onnx beside the development packages. The command line is run as a user would. Compared are:

- MACs, before a run and after it, with PyTorch's FLOP counter or a formula by hand;
- parameters with the model's own;
- the bytes of each node with the shapes that onnxruntime recorded in an unoptimized run;
- what ran above the roof with 105 %.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

MAKERS = ("torch_models", "transformers_models", "keras_models", "sklearn_models", "rewritten_models")

BITS = {
    "float": 32,
    "double": 64,
    "float16": 16,
    "bfloat16": 16,
    "bool": 8,
    "int64": 64,
    "uint64": 64,
    "int32": 32,
    "uint32": 32,
    "int16": 16,
    "uint16": 16,
    "int8": 8,
    "uint8": 8,
    "int4": 4,
    "uint4": 4,
    "Int4x2": 4,
    "UInt4x2": 4,
}
"""onnxruntime's name of an element type to its bits."""

NOT_EVERY_BYTE = (
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Shape",
    "Size",
    "Constant",
    "Gather",
    "GatherElements",
    "GatherND",
    "Slice",
    "GatherBlockQuantized",
    "EmbedLayerNormalization",
    "If",
    "Loop",
    "Scan",
)
"""Ops that by our convention move nothing, or only what they take; of control flow the nodes in its bodies count."""


def makers() -> dict[str, Any]:
    """Name to what writes the graph."""
    return {
        name: make
        for module in MAKERS
        for name, make in importlib.import_module(f"third_party.{module}").MODELS.items()
    }


def command(*arguments: str) -> tuple[int, Any, str]:
    """Run the command line: exit code, the JSON it printed or None, what it said."""
    told = subprocess.run(
        [sys.executable, "-m", "fathom_onnx", *arguments], capture_output=True, text=True, check=False
    )
    try:
        return told.returncode, json.loads(told.stdout), told.stderr
    except ValueError:
        return told.returncode, None, told.stderr


def recorded_bytes(path: Path, feeds: dict[str, np.ndarray], folder: Path) -> dict[str, int]:
    """Bytes in and out of each node of an unoptimized run, by name, from onnxruntime's own trace."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # else weights are missing in the trace
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "recorded")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session.run(None, feeds)
    events = json.loads(Path(session.end_profiling()).read_text())
    moved: dict[str, int] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        facts = event["args"]
        if facts["op_name"] in NOT_EVERY_BYTE:
            continue
        shapes = [*facts.get("input_type_shape", []), *facts.get("output_type_shape", [])]
        sizes = [(BITS.get(kind), shape) for entry in shapes for kind, shape in entry.items()]
        if all(bits is not None for bits, _ in sizes):
            moved[event["name"].removesuffix("_kernel_time")] = sum(
                math.ceil(math.prod(shape) * bits / 8) for bits, shape in sizes
            )
    return moved


def named(path: Path) -> list[str]:
    """Give every node of a file a name of its own; the names that were in it once."""
    import onnx

    model = onnx.load(path)
    names: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}.{number}"
        names.add(node.name)
    onnx.save(model, path)
    return [node.name for node in model.graph.node]


def drawn(path: Path) -> dict[str, np.ndarray]:
    """Values for a graph's inputs, small and valid as indices."""
    import onnxruntime

    rng, kinds = (
        np.random.default_rng(0),
        {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16},
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {}
    for value in session.get_inputs():
        if value.type == "tensor(string)":
            feeds[value.name] = np.full(value.shape, "red cat", object)
        else:
            feeds[value.name] = (rng.random(value.shape) * 2).astype(kinds[value.type])
    return feeds


def one(name: str, make: Any, ceilings: Path) -> dict[str, Any]:
    """Make one graph and compare it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path, run = folder / "m.onnx", folder / "run"
        truth = make(path)
        nodes = named(path)
        row: dict[str, Any] = {"name": name, **asdict(truth), "wrong": []}
        try:
            recorded = recorded_bytes(path, drawn(path), folder)
        except Exception as error:  # a file that onnxruntime does not run is not one that we must
            return {**row, "refused_by_onnxruntime": " ".join(str(error).split())[:200]}
        code, inspected, told = command("inspect", str(path), "--json", "--by", "node")
        if code:
            row["wrong"].append(f"inspect: exit {code}: {told.strip()[-200:]}")
            return row
        totals = inspected["totals"]
        row["macs_before"], row["parameters_found"] = totals["macs"], totals["parameters"]
        expected = None if truth.parameters is None else truth.parameters + truth.exporter[0]
        if truth.macs is not None and totals["macs"] != truth.macs and not truth.unknown_before:
            row["wrong"].append(f"MACs {totals['macs']}, not {truth.macs}")
        if expected is not None and totals["parameters"] != expected:
            row["wrong"].append(f"parameters {totals['parameters']}, not {expected}")
        counted = {r["name"]: r["bytes"] for r in inspected["by_node"]}
        known = {n: b for n, b in recorded.items() if n in nodes and counted.get(n) is not None}
        if "float16" in name:
            known = {}  # the CPU computes it in float32, with casts around each node: what is recorded is not the file
        row["nodes"], row["nodes_compared"] = len(nodes), len(known)
        row["wrong"] += [f"bytes of {n}: {counted[n]}, not {b}" for n, b in known.items() if counted[n] != b]
        code, profiled, told = command("profile", str(path), "--json", "--threads", "2", "-o", str(run))
        if code:
            row["wrong"].append(f"profile: exit {code}: {told.strip()[-300:]}")
            return row
        parts = profiled["attributed_us"] + profiled["charged_us"] + profiled["unattributed_us"]
        if abs(parts - profiled["node_time_us"]) > 1e-6:
            row["wrong"].append(f"time {parts} of {profiled['node_time_us']}")
        row["attributed"] = (profiled["attributed_us"] + profiled["charged_us"]) / max(profiled["node_time_us"], 1)
        row["macs_after"] = after(run)
        if truth.macs is not None and row["macs_after"] != truth.macs:
            row["wrong"].append(f"MACs after the run {row['macs_after']}, not {truth.macs}")
        code, roof, told = command("roofline", str(run), "--json", "--by", "node", "--ceilings", str(ceilings))
        if code:
            row["wrong"].append(f"roofline: exit {code}: {told.strip()[-300:]}")
            return row
        row["above_roof"] = roof["above_roof"]
        row["left_out_share"] = roof["total"]["left_out_us"] / max(profiled["node_time_us"], 1)
        row["wrong"] += [
            f"above the roof: {r}" for r in roof["above_roof"] if r.get("explanation") in (None, "", "unexplained")
        ]
        code, _, told = command("compat", str(path), "--json")
        if "Traceback" in told:
            row["wrong"].append(f"compat: {told.strip()[-300:]}")
        return row


def after(run: Path) -> int | None:
    """MACs of the original nodes after a run; None where one is unknown."""
    import pandas as pd

    macs = pd.read_csv(run / "originals.csv")["macs"]
    return None if macs.isna().any() else int(macs.sum())


def compared(name: str, make: Any, ceilings: Path) -> dict[str, Any]:
    """Make one graph and compare it; what goes wrong in that is wrong."""
    try:
        return one(name, make, ceilings)
    except Exception as error:
        return {"name": name, "wrong": [f"the benchmark: {type(error).__name__}: {error}"[:300]]}


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args(arguments)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        ceilings = Path(temporary, "ceilings.json")
        code, measured, told = command("ceilings", "--threads", "2", "--json")
        if code:
            print(told, file=sys.stderr)
            return code
        ceilings.write_text(json.dumps(measured))
        rows = []
        for name, make in makers().items():
            if given.only and not any(part in name for part in given.only):
                continue
            row = compared(name, make, ceilings)
            rows.append(row)
            told = "; ".join(row["wrong"]) or row.get("refused_by_onnxruntime") or "right"
            print(f"{name}: {told}", file=sys.stderr, flush=True)
    report(rows)
    return int(any(row["wrong"] for row in rows))


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a Markdown table, and the sums."""
    print("| graph | MACs | before a run | parameters | nodes whose bytes were compared | attributed | wrong |")
    print("|---|---:|---|---:|---:|---:|---|")
    for row in rows:
        if "macs_after" not in row:
            print(f"| {row['name']} | | | | | | {'; '.join(row['wrong']) or 'onnxruntime refuses it'} |")
            continue
        before = "known" if row["macs_before"] is not None else row["unknown_before"]
        wrong = "; ".join(row["wrong"]) or "nothing"
        parameters = f"{row['parameters_found']:,}" if row["parameters"] is not None else ""
        print(
            f"| {row['name']} | {row['macs_after'] or 0:,} | {before} | {parameters} | "
            f"{row['nodes_compared']} of {row['nodes']} | {row['attributed']:.1%} | {wrong} |"
        )
    ran = [row for row in rows if "macs_after" in row]
    wrong = sum(bool(row["wrong"]) for row in rows)
    print(f"\n{len(rows)} graphs, {len(ran)} compared to the end, {wrong} with something wrong; ", end="")
    print(f"{sum(row['nodes_compared'] for row in ran)} nodes with recorded bytes.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
