"""The jobs of ``benchmarks/measure_cuda.py``, each in a process of its own: a name and a file for its result.

python benchmarks/cuda_jobs.py "run graphs/autoenc.onnx" result.json --steps 20
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fathom_onnx.data import batches_for, batches_for_graph
from fathom_onnx.exporting import ExportRequest, find_exporter
from fathom_onnx.graph import Graph, from_model, load
from fathom_onnx.runtime.prepare import prepare
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.runtime.stepper import open_stepper
from fathom_onnx.runtime.weights import variable_values
from fathom_onnx.verification import verify
from fathom_onnx.verification.compare import relative_error
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import MODES, Array

WARMUP = 5
_RANDOM = frozenset({"RandomNormal", "RandomUniform"})


def with_noise_given(graph: Graph, seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """A graph whose random tensors are inputs, and values for them: providers draw different numbers."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    rng = np.random.default_rng(seed)
    values: dict[str, Array] = {}
    for node in [n for n in model.graph.node if n.op_type in _RANDOM]:
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "RandomNormal":
            drawn = rng.normal(given.get("mean", 0.0), given.get("scale", 1.0), given["shape"])
        else:
            drawn = rng.uniform(given.get("low", 0.0), given.get("high", 1.0), given["shape"])
        name = node.output[0]
        values[name] = drawn.astype(np.float32)
        shape = list(values[name].shape)
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        model.graph.node.remove(node)
        kept = [info for info in model.graph.value_info if info.name != name]
        del model.graph.value_info[:]
        model.graph.value_info.extend(kept)
    return from_model(model, graph.name), values


def difference(path: Path, ep: str = "cuda") -> dict[str, Any]:
    """The largest difference of a step's outputs from the CPU's, relative to each output's largest value."""
    graph, noise = with_noise_given(load(path))
    batch = {**next(iter(batches_for_graph(load(path), 0))), **noise}
    prepared = prepare(graph, variable_values(graph, 0))
    found = []
    for where in ("cpu", ep):
        stepper = open_stepper(prepared, SessionSettings(where, 2))
        stepper.step(batch)
        found.append({**stepper.results(), **stepper.state()})
        del stepper
    errors = {name: relative_error(found[1][name], value) for name, value in found[0].items()}
    worst = max(errors, key=lambda name: errors[name])
    return {"worst": worst, "error": errors[worst], "outputs": len(errors)}


def run(path: Path, steps: int) -> dict[str, Any]:
    """The summary of a profile."""
    from fathom_onnx.profiling import profile

    return profile(load(path), ep="cuda", steps=steps, warmup=WARMUP).summary()


def lowered(name: str, steps: int) -> dict[str, Any]:
    """The summary of a profile of a training step in the form for CUDA."""
    from fathom_onnx.profiling import profile

    request = ExportRequest(workload(name), "training", purpose="cuda")
    graph = from_model(find_exporter("torch").export(request), name)
    return profile(graph, ep="cuda", steps=steps, warmup=WARMUP).summary()


def checked(name: str) -> dict[str, Any]:
    """A workload's graphs on the device against its framework in float64, tiny preset."""
    made = [
        verify(workload(name, "tiny"), "torch", mode, steps=3, purpose="cuda", settings=SessionSettings("cuda"))
        for mode in MODES
    ]
    return {"checks": [check.json() for check in made]}


def eager(name: str, steps: int, device: str = "cuda") -> dict[str, Any]:
    """PyTorch's own training step, eager, with its values on the device: wall and device time of a step."""
    import torch

    from fathom_exporters.torch.built import built_subject
    from fathom_exporters.torch.stepping import make_step

    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this PyTorch sees no CUDA device; install its build for CUDA")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # as onnxruntime: every form of a convolution is tried first
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    made = workload(name)
    walls: list[float] = []
    spans: list[float] = []
    with torch.device(device):
        subject = built_subject(made, "training")
        subject.model.to(device)
        step = make_step(subject, "training", lambda _: contextlib.nullcontext(), recorded=False)
        state = {n: torch.from_numpy(v).to(device) for n, v in made.initial_values("training", 0).items()}
        drawn = itertools.islice(batches_for(made, "training", 0), 4)
        batches = [{n: torch.from_numpy(v).to(device) for n, v in batch.items()} for batch in drawn]
        carried = [(v.name, v.next.name) for v in made.carried("training")]
        for batch in itertools.islice(itertools.cycle(batches), WARMUP + steps):
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device == "cuda" else []
            wait()
            started = time.perf_counter()
            for mark in marks[:1]:
                mark.record()
            outputs = step({**batch, **state})
            for mark in marks[1:]:
                mark.record()
            wait()
            walls.append((time.perf_counter() - started) * 1e6)
            spans += [marks[0].elapsed_time(marks[1]) * 1e3] if marks else []
            state = {**state, **{n: outputs[new] for n, new in carried}}
    return {
        "step_us": statistics.median(walls[WARMUP:]),
        "span_us": statistics.median(spans[WARMUP:]) if spans else None,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
    }


def do(job: str, steps: int) -> dict[str, Any]:
    """Do a job by its name."""
    kind, _, what = job.partition(" ")
    match kind:
        case "run":
            return run(Path(what), steps)
        case "difference":
            return difference(Path(what))
        case "lowered":
            return lowered(what, steps)
        case "verify":
            return checked(what)
        case "eager":
            return eager(what, steps)
    raise SystemExit(f"unknown job '{job}'")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job")
    parser.add_argument("result", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    given.result.write_text(json.dumps(do(given.job, given.steps)))
