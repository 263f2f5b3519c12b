"""Measure what the tool's own work costs, by workload and as graphs grow; see :mod:`tool_speed`.

    python benchmarks/tool_speed workloads --preset small            # export, verify, set-up, attribution, report
    python benchmarks/tool_speed workloads --preset paper --stage export --mode training inference
    python benchmarks/tool_speed growth                              # series that grow in batch, width, depth, length
    python benchmarks/tool_speed growth --only "llama depth" --repeat 3
    python benchmarks/tool_speed report                              # write the tables of docs/performance.md

Rows go to build/tool-speed.jsonl, one for a graph and a repetition; those that are there already are kept. Repetitions
go through all graphs in turn. Every stage is a process of its own. Steps of a series are measured by ``fathom-onnx
sweep``. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fathom_onnx.exporting import usual_frameworks
from fathom_onnx.runtime.environment import cpu_cores, cpu_model
from fathom_onnx.workloads import SUITES, USUAL_SUITE, names, workload
from fathom_onnx.workloads.contract import MODES
from tool_speed.series import SERIES
from tool_speed.stages import STAGES, Case, command
from tool_speed.tables import write_report

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / "build" / "tool-speed.jsonl"
SWEEPS = ROOT / "build" / "tool-speed-sweep"
Row = dict[str, Any]


def stored() -> list[Row]:
    """The rows that there are."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def output(arguments: Sequence[str]) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measured(case: Case, stages: Iterable[str]) -> Row:
    """The stages of a graph, one after the other: parts and their cost, and what else a stage tells."""
    row: Row = {"parts": {}}
    with tempfile.TemporaryDirectory() as place:
        for stage in stages:
            for key, value in output(command(stage, Path(place), case)).items():
                (row["parts"] if isinstance(value, dict) else row)[key] = value
    return row


def swept(case: Case) -> float:
    """Milliseconds of a training step without the profiler, by a sweep."""
    settings = [f"{name}={value}" for name, value in case.changes.items()]
    options = [part for setting in settings for part in ("--set", setting)]
    options += ["--framework", case.framework, "--preset", case.preset, "--threads", "1", "-o", str(SWEEPS), "--json"]
    (cell,) = output([sys.executable, "-m", "fathom_onnx", "sweep", case.workload, *options])["cells"]
    return float(cell["control_us"]) / 1e3


def workloads(given: argparse.Namespace) -> Iterator[tuple[Row, Case]]:
    """The graphs of the section ``workloads``: what a row says of one, and its case."""
    chosen = given.only or [definition.name for definition in SUITES[USUAL_SUITE]]
    for name, mode, framework in itertools.product(chosen, given.mode, given.framework):
        if mode in workload(name, given.preset).modes:
            yield {}, Case(name, framework, mode, given.preset)


def growth(given: argparse.Namespace) -> Iterator[tuple[Row, Case]]:
    """The graphs of the section ``growth``, training steps of the first framework that is given."""
    for name in given.only or SERIES:
        series = SERIES[name]
        for value in series.values:
            text = series.text(value)
            case = Case(series.workload, given.framework[0], "training", series.preset, {series.field: text})
            yield {"series": name, "value": text, "size": series.size(value)}, case


def measure(given: argparse.Namespace) -> None:
    """Measure the graphs of a section that have no row yet."""
    ROWS.parent.mkdir(exist_ok=True)
    graphs = list((workloads if given.section == "workloads" else growth)(given))
    for number in range(given.repeat):
        for said, case in graphs:
            key = {"section": given.section, **said, **asdict(case), "stages": given.stage, "repetition": number}
            if any(key.items() <= row.items() for row in stored()):
                continue
            row = measured(case, given.stage)
            if given.section == "growth" and number == 0:
                row["step_ms"] = swept(case)
            row |= {
                **key,
                "when": time.strftime("%Y-%m-%d"),
                "cpu": cpu_model(),
                "cpu_cores": cpu_cores(),
                "versions": {p: version(p) for p in ("torch", "tensorflow-cpu", "onnxruntime", "onnx-ir", "numpy")},
            }
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            seconds = {part: round(cost["s"], 2) for part, cost in row["parts"].items()}
            print(case.workload, case.framework, case.mode, case.changes, seconds, file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["workloads", "growth", "report"])
    parser.add_argument("--only", nargs="+", choices=[*names(), *SERIES], help="workloads, or series")
    parser.add_argument("--preset", default="small", help="of the workloads")
    parser.add_argument("--mode", nargs="+", choices=list(MODES), default=["training"], help="of the workloads")
    parser.add_argument("--framework", nargs="+", choices=usual_frameworks(), default=list(usual_frameworks()))
    parser.add_argument("--stage", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--repeat", type=int, default=1, help="repetitions")
    given = parser.parse_args()
    if given.section == "report":
        write_report(stored())
    else:
        measure(given)


if __name__ == "__main__":
    main()
