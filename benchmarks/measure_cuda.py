"""Measure on a CUDA device what ``docs/reference/cuda.md`` lacks, and write the tables there.

    python benchmarks/measure_cuda.py                       # everything, at most an hour
    python benchmarks/measure_cuda.py --only residual       # the graphs and workloads with this in their name
    python benchmarks/measure_cuda.py --tables              # no measurement: the tables of what is there

Every graph in ``graphs/`` is profiled on the device and its outputs are compared with the CPU's; each workload's
training step is run in the form for CUDA and by PyTorch eager on the same device, and its graphs are verified
there in float64. Each job is a process of its own with a limit of time; what is done is kept in a folder, and a second
call goes on where the first stopped. Needs the extras ``cuda`` and ``torch`` (PyTorch's build for CUDA).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import put, table

from fathom_onnx.errors import FathomError
from fathom_onnx.graph.files import write_text
from fathom_onnx.runtime.providers.gpu import gpu_facts
from fathom_onnx.runtime.providers.names import check_provider, onnxruntime
from fathom_onnx.workloads import SUITES, USUAL_SUITE

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reference" / "cuda.md"
MARKS = "<!-- measured -->\n", "<!-- end of measured -->"
UNKNOWN = ""

Results = Mapping[str, Mapping[str, Any]]
"""Job to its result; a job that failed has ``error``."""

WORKLOADS = tuple(definition.name for definition in SUITES[USUAL_SUITE])
"""The workloads whose graphs are in git."""


def jobs(only: str = "") -> list[str]:
    """All jobs, those of short graphs first."""
    paths = sorted((ROOT / "graphs").rglob("*.onnx"), key=lambda p: p.stat().st_size)
    graphs = [p.relative_to(ROOT).as_posix() for p in paths]
    of_graphs = [f"{kind} {graph}" for graph in graphs for kind in ("run", "difference")]
    of_workloads = [f"{kind} {name}" for name in WORKLOADS for kind in ("verify", "eager", "lowered")]
    return [job for job in (*of_graphs, *of_workloads) if only in job]


def _file(folder: Path, job: str) -> Path:
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', job.lower()).strip('-')}.json"


def stored(folder: Path, identity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The results in a folder that were measured with these steps on this device."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        held = json.loads(path.read_text())
        if held["identity"] == identity:
            found[held["job"]] = held["result"]
    return found


def carry_out(
    wanted: Sequence[str], folder: Path, identity: Mapping[str, Any], limit_s: float, budget_s: float
) -> None:
    """Do the jobs that are not done, until the time is up."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + budget_s
    done = stored(folder, identity)
    for number, job in enumerate(wanted, 1):
        if job in done and "error" not in done[job]:
            continue
        left = end - time.monotonic()
        if left < 1:
            print(f"the time is up: {len(wanted) - number + 1} jobs are left for another call", file=sys.stderr)
            return
        print(f"{number} of {len(wanted)}: {job}", file=sys.stderr, flush=True)
        made = _file(folder, job)
        raw = made.with_suffix(".raw")
        command = [sys.executable, str(ROOT / "benchmarks" / "cuda_jobs.py"), job, str(raw)]
        command += ["--steps", str(identity["steps"])]
        try:
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=min(limit_s, left))
            lines = ran.stderr.strip().splitlines() or ["no message"]
            result = json.loads(raw.read_text()) if ran.returncode == 0 else {"error": lines[-1][:300]}
        except subprocess.TimeoutExpired:
            result = {"error": f"not done within {min(limit_s, left):.0f} s"}
        write_text(made, json.dumps({"job": job, "identity": identity, "result": result}))
        raw.unlink(missing_ok=True)


def _ms(us: float | None) -> str:
    return UNKNOWN if us is None else f"{us / 1e3:,.3f}"


def _share(part: float | None, whole: float | None) -> str:
    return UNKNOWN if part is None or not whole else f"{part / whole:.2%}"


def attributed_share(summary: Mapping[str, Any]) -> float | None:
    """Device time of nodes that are attributed or charged to original nodes, of all device time of the step."""
    device = summary.get("device_time")
    if not device or device.get("outside_nodes_us") is None:
        return None
    whole = summary["node_time_us"] + device["outside_nodes_us"]
    return (summary["attributed_us"] + summary["charged_us"]) / whole if whole else None


def graph_rows(results: Results) -> list[list[str]]:
    """One row a graph that was run."""
    rows = []
    for job in sorted(results):
        kind, _, graph = job.partition(" ")
        if kind != "run":
            continue
        s, other = results[job], results.get(f"difference {graph}", {})
        name = graph.removeprefix("graphs/").removesuffix(".onnx")
        if "error" in s:
            rows.append([name, s["error"], *[UNKNOWN] * 10])
            continue
        device = s.get("device_time") or {}
        span = device.get("span_us")
        # with the recorder alone: its cost is not mixed with the profiler's
        alone = device.get("unprofiled") or {}
        share = attributed_share(s)
        error = other.get("error")
        rows.append(
            [
                name,
                f"{s['executed_nodes']:,}",
                _ms(s["control_us"]),
                _ms(span),
                _ms(device.get("kernel_us")),
                _share(device.get("idle_us"), span),
                UNKNOWN if share is None else f"{share:.2%}",
                _share(alone.get("recording_overhead_us"), s["control_us"]),
                f"{s['step_us'] / s['control_us'] - 1:.2%}",
                str(len(s["device_copies"])),
                str(len(s["elsewhere"])),
                error if isinstance(error, str) else UNKNOWN if error is None else f"{error:.1e} ({other['worst']})",
            ]
        )
    return rows


def step_rows(results: Results) -> list[list[str]]:
    """One row a workload whose training step was run in both."""
    rows = []
    for name in WORKLOADS:
        theirs = results.get(f"eager {name}")
        plain, lowered = results.get(f"run graphs/{name}-train.onnx"), results.get(f"lowered {name}")
        if not (theirs and plain and lowered):
            continue
        spans = [(r.get("device_time") or {}).get("span_us") for r in (plain, lowered)]
        walls = [r.get("control_us") for r in (plain, lowered)]
        errors = [f"{what}: {r['error']}" for what, r in (("eager", theirs), ("set", lowered)) if "error" in r]
        eager = theirs.get("step_us")
        rows.append(
            [
                name,
                _ms(eager),
                _ms(theirs.get("span_us")),
                *(text for wall, span in zip(walls, spans, strict=True) for text in (_ms(wall), _ms(span))),
                UNKNOWN if not walls[1] or not eager else f"{eager / walls[1]:.2f}",
                "; ".join(errors),
            ]
        )
    return rows


def check_rows(results: Results) -> list[list[str]]:
    """One row a graph that was verified on the device."""
    rows = []
    for name in WORKLOADS:
        found = results.get(f"verify {name}", {})
        if "error" in found:
            rows.append([name, UNKNOWN, found["error"], *[UNKNOWN] * 4])
        for check in found.get("checks", ()):
            training = check["mode"] == "training"
            rows.append(
                [
                    name,
                    check["mode"],
                    "passed" if check["passed"] else "; ".join(check["faults"]),
                    f"{check['loss']:.1e}" if training else UNKNOWN,
                    f"{check['gradient']['error']:.1e}" if training else UNKNOWN,
                    f"{check['state']['error']:.1e}",
                    f"{check['single']['error']:.1f}",
                ]
            )
    return rows


def section(results: Results, gpu: Mapping[str, Any], ort: str, steps: int) -> str:
    """What goes between the marks of the document."""
    wanted = jobs()
    done = sum("error" not in results.get(job, {"error": ""}) for job in wanted)
    memory = gpu["memory_bytes"]
    card = f"{gpu['name'] or 'unknown device'} ({'unknown' if memory is None else f'{memory / 2**30:.0f} GiB'})"
    parts = [
        f"Measured on {card}, driver {gpu['driver'] or 'unknown'}, CUDA {gpu['cuda'] or 'unknown'}, "
        f"cuDNN {gpu['cudnn'] or 'unknown'}, onnxruntime {ort}, {steps} steps, TensorFloat-32 off, with "
        f"`python benchmarks/measure_cuda.py`: {done} of {len(wanted)} jobs. An empty cell was not measured.\n"
    ]
    for title, columns, rows in (
        (
            "The graphs in `graphs/`, milliseconds a step",
            "graph | nodes: | unprofiled: | device span: | kernels: | idle: | attributed: | recording adds: | "
            "profiling adds: | copies: | nodes elsewhere: | largest difference from the CPU:",
            graph_rows(results),
        ),
        (
            "The training step, milliseconds: PyTorch eager, the graph in `graphs/`, the form for CUDA",
            "workload | eager: | on the device: | graph: | on the device: | set: | on the device: | "
            "eager / set: | note",
            step_rows(results),
        ),
        (
            "Graphs on the device against PyTorch's step in float64, tiny preset",
            "workload | mode | result | loss: | gradient: | state: | float32, times the framework's own:",
            check_rows(results),
        ),
    ):
        parts.append(
            f"### {title}\n\n{table(columns.split(' | '), rows)}" if rows else f"### {title}\n\nNot measured.\n"
        )
    return "\n".join(parts)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="jobs with this in their name")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--limit-s", type=float, default=300, help="of one job")
    parser.add_argument("--budget-s", type=float, default=3600, help="of all together")
    parser.add_argument("--results", type=Path, default=ROOT / "cuda-results")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    given = parser.parse_args()
    try:
        check_provider("cuda")
    except FathomError as error:
        print(f"error: there is nothing to measure on: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    gpu, ort = gpu_facts(), onnxruntime("cuda").__version__
    identity = {"device": gpu["name"], "driver": gpu["driver"], "onnxruntime": ort, "steps": given.steps}
    if not given.tables:
        carry_out(jobs(given.only), given.results, identity, given.limit_s, given.budget_s)
    put(DOCUMENT, MARKS, section(stored(given.results, identity), gpu, ort, given.steps))


if __name__ == "__main__":
    main()
