"""One stage of the tool's work on a graph, in this process: what it took.

    python benchmarks/tool_speed/stages.py STAGE FOLDER '{"workload": "memnet", ...}'

prints a JSON object: a part of the stage to its seconds, processor seconds of all threads, and the process's peak
memory so far. Stages of one graph follow each other in one folder: the export writes the graph, the profile a run.
Before the clock starts the stage is gone through at the workload's tiny preset, so that imports, and tables that are
read once, are not counted.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fathom_onnx.exporting import ExportRequest, export_file, export_graph
from fathom_onnx.graph import load
from fathom_onnx.profiling import FedGraph, explain_rounds, measure_round
from fathom_onnx.runtime.settings import SessionSettings
from fathom_onnx.workloads import workload
from fathom_onnx.workloads.contract import Mode, Workload

__all__ = ["STAGES", "Case", "command"]

STEPS, WARMUP = 5, 2
SETTINGS = SessionSettings(threads=1)
Found = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A graph that is worked on.

    Attributes:
        workload: The workload.
        framework: The framework.
        mode: Inference or training.
        preset: The preset.
        changes: Fields of the configuration to change, as text.
    """

    workload: str
    framework: str
    mode: Mode
    preset: str
    changes: dict[str, str] = field(default_factory=dict)

    def made(self) -> Workload:
        """The workload."""
        return workload(self.workload, self.preset, self.changes)


@contextlib.contextmanager
def _clock(found: Found, part: str) -> Iterator[None]:
    """Note what a part takes."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    found[part] = {
        "s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - processor,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def _export(case: Case, folder: Path) -> Found:
    found: Found = {}
    with _clock(found, "export"):
        made = export_file(
            case.framework,
            ExportRequest(case.made(), case.mode, purpose="onnxruntime"),
            folder / "graph.onnx",
        )
    return {**found, "nodes": made.nodes}


def _verify(case: Case, folder: Path) -> Found:
    """A comparison of one step; the graph, whose noise is an input, is made before."""
    from fathom_onnx.verification import verify

    found: Found = {}
    request = ExportRequest(case.made(), case.mode, noise="input", purpose="onnxruntime")
    graph = export_graph(case.framework, request)
    with _clock(found, "verify"):
        check = verify(request.workload, case.framework, case.mode, steps=1, settings=SETTINGS, graph=graph)
    return {**found, "verified": check.passed}


def _profile(case: Case, folder: Path) -> Found:
    """The set-up, which is all before the first step, and the attribution, which is all after the last."""
    from fathom_onnx.runtime.stepper import open_stepper

    found: Found = {}
    with _clock(found, "set-up"):
        fed = FedGraph(load(folder / "graph.onnx"), 0, WARMUP + STEPS)
        stepper = open_stepper(fed.prepared, SETTINGS)
    del stepper
    measure_round(fed, SETTINGS, folder / "round", warmup=WARMUP, steps=STEPS)
    with _clock(found, "attribution"):
        explain_rounds(fed, SETTINGS, [folder / "round"], folder / "run")
    return found


def _report(case: Case, folder: Path) -> Found:
    from fathom_onnx.reporting import report

    found: Found = {}
    with _clock(found, "report"):
        report(folder / "run", folder / "report.html", measure=False)
    return found


STAGES: dict[str, Callable[[Case, Path], Found]] = {
    "export": _export,
    "verify": _verify,
    "profile": _profile,
    "report": _report,
}
"""Stage to what does it, in the order in which they follow each other."""


def command(stage: str, folder: Path, case: Case) -> list[str]:
    """The command that runs a stage in a process of its own."""
    return [sys.executable, __file__, stage, str(folder), json.dumps(asdict(case))]


if __name__ == "__main__":
    stage, place, text = sys.argv[1:]
    case, folder = Case(**json.loads(text)), Path(place)
    (folder / "tiny").mkdir(exist_ok=True)
    STAGES[stage](replace(case, preset="tiny", changes={}), folder / "tiny")
    print(json.dumps(STAGES[stage](case, folder)))
