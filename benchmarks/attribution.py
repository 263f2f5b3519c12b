"""Measure how much of the node time of third-party graphs and of ours is attributed, at every optimization level.

    python benchmarks/attribution.py                     # every graph and level; Markdown tables
    python benchmarks/attribution.py --only bert resnet  # graphs whose name holds one of these
    python benchmarks/attribution.py --only scaling      # how the time of mapping grows with the graph
    python benchmarks/attribution.py --traces            # traces of ordinary sessions, without their optimized models

Third-party graphs are exported here (``third_party/attribution_models.py``), which needs torch, tensorflow, tf2onnx and
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

import documents
import numpy as np
from third_party.attribution_models import MODELS

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
TOLERANCE = 0.02
"""Relative difference up to which values count as equal: a little more than a step of 8 bits."""

STEPS, WARMUP, THREADS = 5, 1, 2
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
    from fathom_onnx.analysis.runs.run import build_run
    from fathom_onnx.graph import load
    from fathom_onnx.profiling import FedGraph, attribute
    from fathom_onnx.runtime.profiler import read_rounds, record
    from fathom_onnx.runtime.settings import SessionSettings
    from fathom_onnx.runtime.stepper import open_stepper

    graph = load(path)
    fed = FedGraph(graph, 0, 1)
    batch, prepared = fed.batches[0], fed.prepared
    _seed(prepared.model)
    settings = SessionSettings(threads=THREADS, optimization=level)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        one = record(prepared, settings, [batch], Path(folder), warmup=WARMUP, steps=STEPS)
        measured = read_rounds([one], settings)
        started = time.process_time()
        attribution = attribute(fed, measured, settings)
        seconds = time.process_time() - started
        agree, compared = _agreement(graph, prepared, one, batch)
        renamed = open_stepper(prepared, settings, model=Path(folder, "model", "renamed.onnx"))
        equal = _same(renamed, open_stepper(prepared, settings), batch)
    manifest = {"control_steps_us": list(one.control_us), "warmup": WARMUP, "steps": STEPS}
    run = build_run(attribution, measured.times, measured.step_us, manifest)
    total = run.node_time_us
    rest = run.unattributed()
    reasons: Counter[str] = Counter()
    for kind, us, reason in zip(rest["op_type"], rest["us"], rest["reason"], strict=True):
        reasons[f"{kind}: {reason}"] += us / total
    nodes = run.nodes
    charged = nodes[nodes["kind"] == "charged"].groupby("op_type")["median_us"].sum() / total
    several = nodes["split"] & (nodes["reason"] != "")
    return {
        "originals": len(attribution.originals),
        "states": dict(Counter(attribution.state_of(e.index) for e in attribution.originals)),
        "executed": len(nodes),
        **{kind: run.kind_us(kind) / total for kind in ("attributed", "charged", "unattributed")},
        "split": float(nodes.loc[nodes["split"], "median_us"].sum()) / total,
        "several": float(nodes.loc[several, "median_us"].sum()) / total,
        "reasons": dict(reasons.most_common(2)),
        "charged_ops": dict(charged.nlargest(2)),
        "agree": agree,
        "compared": compared,
        "equal": equal,
        "seconds": seconds,
    }


def measure_trace(path: Path) -> dict[str, Any]:
    """Attribute the trace of an ordinary session with and without its optimized model, in this process.

    The result has the number of executed nodes, the share of node time with the same original nodes, and the share that
    is unattributed without the model.
    """
    import onnx
    import onnxruntime

    from fathom_onnx.analysis.attribution.traced_attribution import attribute_trace, attribute_trace_of
    from fathom_onnx.data import batches_for_graph
    from fathom_onnx.graph import load
    from fathom_onnx.runtime.traces.foreign import read_foreign
    from fathom_onnx.runtime.traces.steps import step_times

    graph, options = load(path), onnxruntime.SessionOptions()
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        batch = dict(next(iter(batches_for_graph(graph, 0))))
        for _ in range(WARMUP + STEPS):
            session.run(None, batch)
        trace = read_foreign(Path(session.end_profiling()))
        times = step_times(trace.read_runs())
        ran = onnx.load(options.optimized_model_filepath, load_external_data=False)
    us = dict(zip(times.names, times.self_us[WARMUP:].sum(axis=0).tolist(), strict=True))
    told = [attribute_trace(graph, trace.nodes, "trace"), attribute_trace_of(graph, trace.nodes, ran, "trace")]
    same = unattributed = 0.0
    for number in range(len(trace.nodes)):
        by_names, by_model = (found.attribution.nodes[found.numbers[number]] for found in told)
        shares = [(node.kind, {share.original for share in node.shares}) for node in (by_names, by_model)]
        same += us[str(number)] * (shares[0] == shares[1])
        unattributed += us[str(number)] * (by_names.kind == "unattributed")
    total = sum(us.values())
    return {"nodes": len(trace.nodes), "same": same / total, "unattributed": unattributed / total}


def _agreement(graph: Any, prepared: Any, measured: Any, batch: Mapping[str, Any]) -> tuple[int, int]:
    """Of the tensors that the mapping holds to be the same in both models: how many have equal values, of how many.

    Values are compared but for their order and zeros; 8-bit ones may differ by a step of their range.
    """
    from fathom_onnx.analysis.attribution.attribution import Matching
    from fathom_onnx.graph.tensors import tensors_of
    from fathom_onnx.runtime.fingerprint import fingerprints, perturbed

    pairs = Matching(graph, measured.optimized).anchored()
    feeds = {**batch, **perturbed(prepared.initial)}
    sizes = {
        name: tensor.size_bytes
        for name, tensor in {**tensors_of(measured.optimized.graph), **graph.tensors}.items()
        if tensor.size_bytes is not None
    }
    mine = fingerprints(measured.optimized, list(pairs), feeds, sizes=sizes, folder=measured.model_folder)
    wanted = list(dict.fromkeys(pairs.values()))
    theirs = fingerprints(prepared.model, wanted, feeds, values=prepared.values, sizes=sizes)
    both = [(mine[a], theirs[b]) for a, b in pairs.items() if a in mine and b in theirs]
    filled = [(a, b) for a, b in both if a.count and b.count]
    return sum(a.matches(b, TOLERANCE) for a, b in filled), len(filled)


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
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return found


def chain(nodes: int) -> Any:
    """A residual chain of about that many nodes, most of which onnxruntime fuses; tensors of 16 elements.

    Every tenth block is computed twice, so that duplicates are merged, and every block transposes there and back.
    """
    import onnx
    from onnx import helper, numpy_helper

    made: list[Any] = []

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        made.append(helper.make_node(kind, inputs, [name], name=f"/{name.replace('.', '/')}", **attributes))
        return name

    last = "x"
    while len(made) < nodes - 1:
        at = f"block{len(made)}"
        hidden = add("Add", [add("MatMul", [last, "w"], f"{at}.product"), "b"], f"{at}.bias")
        moved = add("Transpose", [add("Relu", [hidden], f"{at}.relu")], f"{at}.there", perm=[1, 0])
        moved = add("Transpose", [moved], f"{at}.back", perm=[1, 0])
        gate = add("Sigmoid", [moved], f"{at}.gate")
        if len(made) % 100 < 10:
            gate = add("Sigmoid", [moved], f"{at}.again")
        mixed = add("MatMul", [add("Mul", [gate, moved], f"{at}.mixed"), "w"], f"{at}.output")
        last = add("LayerNormalization", [add("Add", [mixed, last], f"{at}.skip"), "g", "b"], f"{at}.norm", axis=-1)
    made.append(helper.make_node("Identity", [last], ["y"], name="/end"))
    constants = {"w": np.eye(4) * 0.5 + 0.1, "b": np.full(4, 0.1), "g": np.ones(4)}
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4, 4])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def scale_one(nodes: int) -> dict[str, Any]:
    """Map a chain of that many nodes through full optimization; nothing is run."""
    from fathom_onnx.analysis.attribution.attribution import Matching
    from fathom_onnx.graph import from_model
    from fathom_onnx.runtime.optimized import load_optimized
    from fathom_onnx.runtime.prepare import prepare
    from fathom_onnx.runtime.session import open_session
    from fathom_onnx.runtime.settings import SessionSettings

    graph = from_model(chain(nodes), "chain")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        open_session(prepare(graph), SessionSettings(), optimized_to=path)
        executed = load_optimized(path)
    started = time.process_time()
    matching = Matching(graph, executed)
    asked, found = matching.questions, matching.attribution()
    return {
        "nodes": len(found.originals),
        "executed": len(found.executed),
        "seconds": time.process_time() - started,
        "questions": len(asked),
        "unattributed": sum(node.kind == "unattributed" for node in found.nodes),
    }


def percent(part: float) -> str:
    """A share as text."""
    return f"{part:.2%}"


def line(cells: list[object]) -> None:
    """Print a row of a Markdown table."""
    print(documents.line(cells), flush=True)


def header(names: list[str]) -> None:
    """Print the head of a Markdown table; all columns but the first hold numbers."""
    first, *rest = names
    print(documents.head([first, *(f"{name}:" for name in rest)]), flush=True)


def scaling() -> None:
    """Print how the time of mapping grows."""
    header(["nodes", "executed", "unattributed", "CPU seconds", "us a node"])
    for size in SIZES:
        row = child("scale", size, "-", "-")
        each = row["seconds"] / row["nodes"] * 1e6
        line([row["nodes"], row["executed"], row["unattributed"], f"{row['seconds']:.1f}", f"{each:.0f}"])


COLUMNS = ["graph, level", "nodes", "executed", "attributed", "charged", "unattributed", "split", "several"]
COLUMNS += ["values agree", "outputs equal", "mapping, CPU s", "most charged", "most unattributed"]


def main() -> None:
    """Measure what is asked for and print it."""
    if sys.argv[1:2] == ["one"]:
        what, name, path, level = sys.argv[2:]
        if what == "export":
            export(name, Path(path))
        else:
            jobs = {"scale": lambda: scale_one(int(name)), "trace": lambda: measure_trace(Path(path))}
            print(json.dumps(jobs.get(what, lambda: measure_one(Path(path), level))()))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="graphs whose name holds one of these, or scaling")
    parser.add_argument("--keep", type=Path, help="folder of exported graphs, kept and used again")
    parser.add_argument("--traces", action="store_true", help="traces alone, instead of profiles")
    parser.add_argument("--level", nargs="+", default=["none", "basic", "extended", "all"])
    arguments = parser.parse_args()
    names = [n for n in [*MODELS, *map(" ".join, OURS)] if any(part in n for part in arguments.only)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if names:
            header(["graph", "executed nodes", "the same", "unattributed"] if arguments.traces else COLUMNS)
        for name in names:
            path = folder / (name.replace(",", "").replace(" ", "-") + ".onnx")
            if not path.exists():
                child("export", name, path, "-")
            if arguments.traces:
                row = child("trace", name, path, "-")
                line([name, row["nodes"], percent(row["same"]), percent(row["unattributed"])])
                continue
            for level in arguments.level:
                row = child("run", name, path, level)
                shares = [row[k] for k in ("attributed", "charged", "unattributed", "split", "several")]
                most = (
                    ", ".join(f"{k} {percent(v)}" for k, v in row[what].items()) for what in ("charged_ops", "reasons")
                )
                line(
                    [
                        f"{name}, {level}",
                        row["originals"],
                        row["executed"],
                        *map(percent, shares),
                        f"{row['agree']} of {row['compared']}",
                        "yes" if row["equal"] else "NO",
                        f"{row['seconds']:.2f}",
                        *most,
                    ]
                )
    if any(part in "scaling" for part in arguments.only):
        print()
        scaling()


if __name__ == "__main__":
    main()
