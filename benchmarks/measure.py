"""Measure what the README and ``docs/results/measurements.md`` state, and write the tables there.

    python benchmarks/measure.py paper    # export and run every graph at the paper preset
    python benchmarks/measure.py train    # the loss of 300 training steps of autoenc, small preset

Workload names after ``paper`` limit it to these.

Each graph is exported and run in a process of its own, whose peak memory is what the operating system says.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from documents import put, table

from fathom_onnx.exporting import ExportRequest, export_file, usual_frameworks
from fathom_onnx.graph import load
from fathom_onnx.runtime.environment import cpu_cores, cpu_model
from fathom_onnx.workloads import SUITES, USUAL_SUITE, workload
from fathom_onnx.workloads.contract import MODES

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "results" / "measurements.md"
THREADS = 2
STEPS_WARMUP = (5, 2)
FEWER_STEPS_WARMUP = {"speech": (2, 1)}
"""Of a workload whose training step takes many seconds."""


def one(what: str, name: str, framework: str, mode: str, path: Path) -> dict[str, Any]:
    """One job, in this process: ``export`` or ``run``."""
    if what == "export":
        started = time.perf_counter()
        made = export_file(framework, ExportRequest(workload(name), mode), path)  # type: ignore[arg-type]
        row = {"seconds": time.perf_counter() - started, "nodes": made.nodes, "size_bytes": made.size_bytes}
    else:
        from fathom_onnx.profiling import profile
        from fathom_onnx.runtime.prepare import prepare
        from fathom_onnx.runtime.session import open_session
        from fathom_onnx.runtime.settings import SessionSettings
        from fathom_onnx.runtime.weights import variable_values

        steps, warmup = FEWER_STEPS_WARMUP.get(name, STEPS_WARMUP)
        graph = load(path)
        prepared = prepare(graph, variable_values(graph, 0))
        started = time.perf_counter()
        open_session(prepared, SessionSettings("cpu", THREADS, "all", False))
        loading = time.perf_counter() - started
        del prepared
        started = time.perf_counter()
        row = profile(graph, threads=THREADS, warmup=warmup, steps=steps).summary()
        row["steps"], row["loading_s"], row["seconds"] = steps, loading, time.perf_counter() - started
    row["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return row


def child(*arguments: object) -> dict[str, Any]:
    """A job in a process of its own."""
    command = [sys.executable, __file__, "one", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def paper(names: list[str]) -> str:
    """Every graph at the paper preset: export, size, step time, memory, attribution."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        for name in names:
            for mode in MODES:
                for framework in usual_frameworks():
                    made = child("export", name, framework, mode, path)
                    run = child("run", name, framework, mode, path)
                    total = run["node_time_us"]
                    parts = run["attributed_us"] + run["charged_us"] + run["unattributed_us"]
                    rows.append(
                        [
                            f"{name} {mode}",
                            framework,
                            f"{made['seconds']:.1f}",
                            f"{made['peak_gb']:.1f}",
                            f"{made['nodes']:,}",
                            f"{made['size_bytes'] / 1e3:,.0f}",
                            f"{run['loading_s']:.1f}",
                            f"{run['seconds']:.0f}",
                            str(run["steps"]),
                            f"{run['control_us'] / 1e3:,.1f}",
                            f"{run['step_us'] / 1e3:,.1f}",
                            f"{run['outside_us'] / run['run_time_us']:.1%}",
                            f"{run['attributed_us'] / total:.2%}",
                            f"{run['charged_us'] / total:.2%}",
                            f"{run['unattributed_us'] / total:.2%}",
                            f"{abs(parts - total):.0e}",
                            f"{run['peak_gb']:.1f}",
                        ]
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    columns = (
        "graph | framework | export s: | export GB: | nodes: | kB: | load s: | run s: | steps: | step ms: | "
        "profiled ms: | outside: | attributed: | charged: | unattributed: | sum off us: | run GB:"
    )
    return table(columns.split(" | "), rows)


def train(names: list[str]) -> str:
    """The loss of autoenc over 300 steps on the digits, small preset."""
    command = [sys.executable, "-m", "fathom_onnx", "train", "autoenc", "--preset", "small", "--steps", "300", "--json"]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    losses = found["losses"]
    marks = [1, 10, 25, 50, 100, 150, 200, 250, 300]
    rows = [[str(m), f"{sum(losses[max(m - 10, 0) : m]) / min(m, 10):.1f}"] for m in marks]
    return table(["step:", "loss, mean of the last 10 steps:"], rows)


def write(section: str, text: str, command: str) -> None:
    """Put a section's table, and the command that made it, between its marks in the document."""
    stamp = (
        f"Measured on {cpu_model()}, {cpu_cores()} cores, Python {sys.version.split()[0]}, "
        f"onnxruntime {version('onnxruntime')}, torch {version('torch')}, tensorflow {version('tensorflow-cpu')}, with "
        f"`python benchmarks/{command}`.\n\n"
    )
    put(DOCUMENT, (f"<!-- {section} -->", f"<!-- end of {section} -->"), f"{stamp}{text}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=["paper", "train", "one"])
    parser.add_argument("job", nargs="*")
    given = parser.parse_args()
    if given.section == "one":
        what, name, framework, mode, path = given.job
        print(json.dumps(one(what, name, framework, mode, Path(path))))
    else:
        write(
            given.section,
            {"paper": paper, "train": train}[given.section](given.job or [d.name for d in SUITES[USUAL_SUITE]]),
            " ".join(["measure.py", given.section, *given.job]),
        )
